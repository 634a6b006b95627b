"""The behaviour of `RungCallback` in both class trees of Lightning: it reports, obeys verdicts, saves and resumes.

Outside a study, and in every stage but the first `fit` of a segment, all hooks return at once.

What happens in which hook, and why:

- The report is made in `on_train_epoch_end` by a separate callback, `LastRound`, which Lightning calls after all
  others. So values that the module and the callbacks log in this hook count, and `current_epoch + 1` epochs are done.
- The checkpoint is saved in `on_train_end`, where this callback is called first. At that time plateau schedulers have
  stepped, and no averaging callback has swapped the weights yet. If it were saved earlier, a resumed trial would
  differ. Between epochs the checkpoint is saved in the next `on_train_epoch_start`. The state there is the same, except
  for one counter that has already been increased.
- The state that Lightning's checkpoints lack (see `resume`) is restored in the first `on_train_epoch_start`, where this
  callback is called first. That is after everything that resuming itself draws or resets, and before other callbacks
  use the epoch. The loader's iterator is created again at that point, as at the start of any other epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training import trainer_checks as checks
from lightning_hwtune.training.channel import Started
from lightning_hwtune.training.checkpointing import save_together
from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.epoch_reports import EpochReports
from lightning_hwtune.training.loggers import runs as loggers
from lightning_hwtune.training.resource_count import ResourceCount
from lightning_hwtune.training.resume.finders import only_tunes
from lightning_hwtune.training.resume.lightning_state import rewind_to_epoch_end
from lightning_hwtune.training.resume.state import STATE_KEY, ResumeState
from lightning_hwtune.training.shared_models import ModelShares
from lightning_hwtune.training.trial_fit import Weights, late_fit, note_pretraining, unmarked_fits
from lightning_hwtune.training.untraced import redirect_checkpoints
from lightning_hwtune.training.value_digest import value_digest

__all__ = ["RungHooks"]


class RungHooks:
    """The hooks. Mixed into a `Callback` of one class tree; see `lightning_tree` and `pytorch_lightning_tree`.

    Args:
        reports: False for a Trainer whose fits do not belong to the trial, such as a pretraining. Its fits run without
            reports, checkpoints and verdicts.
        attached: True for the callback that Lightning's entry point adds. If the user has added one, only that acts.
    """

    @checked_call("RungCallback")
    def __init__(self, *, reports: bool = True, attached: bool = False) -> None:
        super().__init__()
        self.reports, self.attached = reports, attached
        self._segment: ActiveSegment | None = None
        self._reports: EpochReports | None = None  # set for a fit that reports
        self._last_round: object = None  # the callback that makes the reports, during the fit
        self._resume: ResumeState | None = None  # set for the same fit
        self._count = ResourceCount()
        self._has_begun, self._weight = False, 1.0
        self._is_between_epochs = False
        self._weights: Weights | None = None  # what the fit that reports has trained

    # ------------------------------------------------------------------ before training

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Becomes active if this is the fit that reports; checks that the Trainer matches the study."""
        self._leave(trainer)  # Lightning calls no teardown after a failed fit
        segment = current_segment()
        if segment is None or segment.order.is_test or _chosen(trainer) is not self:
            return
        if segment.order.num_devices > 1:
            internals.leave_sigterm_alone(trainer)
        if stage != "fit":
            if segment.is_over and segment.skips_evaluation:
                internals.skip_evaluation(trainer)
                segment.skipped = segment.skipped or str(getattr(stage, "value", stage))
            return
        if only_tunes(trainer):
            return
        if self._is_late(segment):
            if segment.order.probe_batches is not None:
                note_pretraining(segment)  # the check then trains again
            error = late_fit()
            segment.fail(error)  # this error counts even if the segment is already paused or complete
            raise error
        if segment.order.probe_batches is not None and self._is_unmarked_second(segment, pl_module):
            error = unmarked_fits()
            segment.fail(error)
            raise error
        if segment.is_over or segment.failure is not None:
            internals.skip_training(trainer)
            segment.skipped = segment.skipped or "fit"
            return
        if segment.reporter is not None:
            if segment.shortens_fits and segment.order.probe_batches is not None:
                self._shorten(trainer, segment.order.probe_batches)
                segment.has_shortened = True
            if isinstance(segment.reporter, RungHooks):
                text = (
                    "only the first fit of a segment reports; a later fit trained without reports. If the first one is "
                    "a pretraining, give its Trainer callbacks=[RungCallback(reports=False)]"
                )
                segment.note(text, once_per="study")
            return
        if self._is_pretraining(segment):
            if self.reports:
                segment.has_pretrained = True
                note_pretraining(segment)
            if segment.order.probe_batches is not None:
                self._shorten(trainer, segment.order.probe_batches)
            return
        try:
            checks.check_trainer(trainer, segment)
        except ArgumentError:
            if self.attached and segment.order.probe_batches is not None:
                note_pretraining(segment)  # it may be a pretraining, so the check trains again with this assumption
            raise
        own_limits = internals.own_limits(trainer)
        if segment.order.probe_batches is None:
            loggers.continue_runs(trainer, segment)
        else:
            internals.limit_batches(trainer, segment.order.probe_batches)
            redirect_checkpoints(trainer, Path(segment.order.trial_dir))
        self._shares = ModelShares(pl_module, segment)
        self._segment, self._has_begun, self._resume = segment, False, ResumeState(segment)
        self._weights = Weights(pl_module)
        self._count = ResourceCount(segment.order.unit, segment.order.resource, segment.order.max_resource)
        self._reports = EpochReports(segment, self._count, own_limits, self._save_inside)
        self._last_round = internals.last_round(trainer, lambda: self._reports)
        others = [other for other in trainer.callbacks if other is not self]
        trainer.callbacks = [self, *others, self._last_round]
        if segment.order.weights is not None:
            internals.load_weights(pl_module, segment.order.weights)
        if segment.order.checkpoint is not None:
            if not segment.resumes_by_argument:
                internals.preload_checkpoint(trainer, segment.order.checkpoint)
            internals.trust_checkpoint(trainer, segment.order.checkpoint)
        self._resume.setup(trainer, pl_module)

    @staticmethod
    def _shorten(trainer: Any, n_batches: int) -> None:
        """Shortens a fit that does not report to one short epoch, in a check."""
        internals.limit_batches(trainer, n_batches)
        internals.limit_epochs(trainer, 1)

    def _is_pretraining(self, segment: ActiveSegment) -> bool:
        """Return whether this fit does not belong to the trial, such as a pretraining."""
        if not self.reports:
            return True
        return segment.only_marked_fits and self.attached

    def _is_late(self, segment: ActiveSegment) -> bool:
        """Return whether this fit is marked as the trial's, but an unmarked one has already reported."""
        first = segment.reporter
        return self.reports and not self.attached and isinstance(first, RungHooks) and first.attached

    def _is_unmarked_second(self, segment: ActiveSegment, pl_module: Any) -> bool:
        """Return whether an unmarked fit has reported, and this unmarked fit trains the same weights again."""
        first = segment.reporter
        if not (isinstance(first, RungHooks) and first.attached and self.attached and self.reports):
            return False
        return first._weights is not None and first._weights.are_in(pl_module)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks that the process group is as large as the allocation, and sends its real size to the engine."""
        if (segment := self._segment) is None:
            return
        real = internals.group_size()
        if not real == trainer.world_size == segment.order.num_devices:
            raise ArgumentError(
                "Trainer(devices=...)", f"{trainer.world_size} in a process group of {real}",
                f"{segment.order.num_devices}, the number of devices of this segment",
                hint=segment.hints.devices,
            )  # fmt: skip
        segment.send(Started(segment.rank, os.getpid(), real))
        loggers.log_configuration(trainer, segment)
        if self._resume is not None:
            self._resume.on_fit_start(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Mapping[str, Any]) -> None:
        """Refuses a checkpoint of another trial, and keeps the state that was saved in addition to Lightning's."""
        if self._resume is not None:
            self._resume.on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        """Skips the check in a resumed segment, because it would change the restored state."""
        if self._resume is not None:
            self._resume.on_sanity_check_start(trainer)

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        """Notes what the check has changed."""
        if self._resume is not None:
            self._resume.on_sanity_check_end()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks that training continues at the trial's resource, and starts the clock."""
        if (segment := self._segment) is None:
            return
        if not segment.claim(self):
            self._segment, self._reports, self._resume = None, None, None
            return
        if self._resume is not None:
            self._resume.on_train_start(trainer, pl_module, self._count.after(trainer, trainer.current_epoch))
        checks.note_foreign_checkpoints(trainer, segment)
        if self._reports is not None:
            self._reports.training_begins(trainer)
        internals.finish_epochs(trainer)
        loggers.mark_restarts(trainer, segment)
        if segment.order.checkpoint is None:  # a resumed segment first restores the rest of its state
            segment.clock.start()

    # ------------------------------------------------------------------ training

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Restores the state that an uninterrupted run has at this point; saves a checkpoint if one is due."""
        if (segment := self._segment) is None:
            return
        if self._reports is not None:
            self._reports.epoch_began(trainer)
        if self._has_begun:
            self._save_between_epochs(trainer, segment)
        if self._resume is not None:
            self._resume.on_train_epoch_start(trainer, pl_module)
        self._has_begun = True
        segment.clock.start()
        segment.clock.epoch_began()
        segment.advance()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Gives each rank its own random stream, and counts the samples."""
        if self._segment is None:
            return
        self._segment.clock.step_began()
        if self._resume is not None:
            self._resume.on_train_batch_start(trainer, batch_idx)
        self._count.add(trainer, batch)
        self._weight = self._segment.batches.weight(trainer, batch_idx)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Gives batches that are accumulated for lack of memory the weight that they have in one batch."""
        if self._segment is not None and self._weight != 1.0:
            loss.mul_(self._weight)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts progress."""
        if (segment := self._segment) is not None:
            segment.advance(is_training=True)
            if segment.order.probe_batches is not None:
                internals.wait_for_device(trainer)  # otherwise the time of a step would be that of its launch
            segment.clock.step_ended()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Resets the sample count for this validation, and notes what a sanity check may change."""
        if self._resume is not None:
            self._resume.on_validation_start(trainer, pl_module)
        if self._segment is not None:
            self._segment.clock.validation_began()
        if self._reports is not None:
            self._reports.logged.validation_began()

    def on_validation_batch_start(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Notifies the clock."""
        if self._segment is not None:
            self._segment.clock.validation_step_began()

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Counts progress, and the samples from which this rank's values come."""
        if self._segment is not None and self._reports is not None:
            self._segment.advance()
            self._segment.clock.validation_step_ended()
            self._reports.logged.validated_batch(trainer, batch)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Notifies the clock."""
        if self._segment is not None:
            self._segment.clock.between()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Updates the resource for checkpoints that other callbacks save now; `LastRound` makes the report later."""
        if self._segment is not None:
            self._segment.clock.between()
            self._segment.resource = self._count.after(trainer, trainer.current_epoch + 1)
        if self._resume is not None:
            self._resume.on_train_epoch_end(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Saves a checkpoint, unless the trial was stopped before its horizon."""
        if (segment := self._segment) is None:
            return
        segment.clock.stop()
        segment.resource = self._count.after(trainer, trainer.current_epoch)
        if segment.verdict is None or segment.verdict.kind == VerdictKind.PAUSE or not segment.is_over:
            self.save(trainer, is_end=segment.verdict is None)
        segment.is_trained = True
        self._shares.ended(pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stores the error that ended the fit, in case user code swallows it."""
        if self._segment is not None and not self._segment.is_settled:
            self._segment.fail(exception)
            self._shares.ended(pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Ends the reports of this fit and becomes inactive."""
        if self._segment is not None:
            self._segment.clock.stop()
            loggers.hold_rows(trainer, self._segment)
        if self._reports is not None:
            self._reports.ended(trainer)
        self._leave(trainer)

    def _leave(self, trainer: Any) -> None:
        """Makes this callback inactive and removes `LastRound` from the Trainer."""
        if self._last_round is not None:
            trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self._last_round]
        self._segment, self._reports, self._resume, self._last_round = None, None, None, None

    # ------------------------------------------------------------------ checkpoints

    def _save_between_epochs(self, trainer: Any, segment: ActiveSegment) -> None:
        """Saves a checkpoint if the last report was the best so far, or if the order's `save_every` is reached."""
        every = segment.order.save_every
        is_due = bool(every) and trainer.current_epoch % every == 0
        if not (is_due or (self._reports is not None and self._reports.is_best)):
            return
        resource = self._count.after(trainer, trainer.current_epoch)
        if resource >= segment.order.max_resource:  # epochs that a callback adds after the horizon: saved at the end
            return
        segment.clock.stop()
        segment.resource = resource
        self._is_between_epochs = True
        try:
            self.save(trainer)
        finally:
            self._is_between_epochs = False
        segment.clock.start()

    def _save_inside(self, trainer: Any) -> None:
        """Saves a checkpoint of the best report so far, inside an epoch."""
        if (segment := self._segment) is not None:
            with segment.clock.paused():
                self.save(trainer, is_inside=True)

    def save(self, trainer: Any, *, is_inside: bool = False, is_end: bool = False) -> None:
        """Saves a checkpoint of the current state and confirms it to the engine; for all ranks. See `save_file`."""
        segment = self._segment
        if segment is None or segment.resource <= segment.order.resource:
            return
        meet, broadcast = trainer.strategy.barrier, trainer.strategy.broadcast
        write, train_s = partial(trainer.save_checkpoint, weights_only=False), segment.clock.seconds
        inside_or_end = {"is_inside": is_inside, "is_end": is_end}
        save_together(segment, segment.resource, train_s, write, meet, broadcast, **inside_or_end)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds the state that Lightning's checkpoint lacks."""
        if self._resume is None:
            return
        checkpoint[STATE_KEY] = self._resume.save(trainer, pl_module)
        if self._segment is not None and self._segment.order.probe_batches is not None:
            self._segment.weights = value_digest(checkpoint.get("state_dict"))
        if self._is_between_epochs:
            rewind_to_epoch_end(checkpoint)


def _chosen(trainer: Any) -> RungHooks:
    """Returns the active one of the Trainer's rung callbacks: the user's, otherwise the attached one."""
    candidates: list[RungHooks] = [callback for callback in trainer.callbacks if isinstance(callback, RungHooks)]
    return min(candidates, key=lambda callback: callback.attached)
