"""What `RungCallback` does, in both class trees of Lightning: reports rungs, obeys verdicts, saves, resumes exactly.

Outside a study, and in every stage but the first `fit` of a segment, all hooks return at once.

Where things happen, and why there:

- The report is made in `on_train_epoch_end`: validation metrics are there, and `current_epoch + 1` epochs are done.
- The checkpoint is saved in `on_train_end`, as the first callback: by then plateau schedulers have stepped, and no
  averaging callback has swapped the weights yet. Saved earlier, a resumed trial would differ. Between epochs it is
  saved in the next `on_train_epoch_start`, where the state is the same but for a counter that has already moved.
- Random streams are put back in the first `on_train_epoch_start`, after everything that resuming itself has drawn, and
  the loader's iterator is made anew then, as it would have been at the start of any other epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.errors import ArgumentError, CheckpointError, MetricError
from lightning_hwtune.names import refuse_unknown
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training import loggers, rng
from lightning_hwtune.training.channel import Probe, Started, VerdictMessage
from lightning_hwtune.training.checkpointing import save_together
from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.reporting import exchange

__all__ = ["STATE_KEY", "RungHooks"]

STATE_KEY = "lightning_hwtune"
"""Where our own state lies in a checkpoint; not under a callback's key, which users' callbacks could share."""


class RungHooks:
    """The hooks. Mixed into a `Callback` of one class tree; see `lightning_tree` and `pytorch_lightning_tree`.

    Args:
        attached: True for the one that Lightning's entry point adds; it gives way to one that the user added.
    """

    def __init__(self, *, attached: bool = False, **wrong_habits: object) -> None:
        refuse_unknown("RungCallback", wrong_habits)
        super().__init__()
        self.attached = attached
        self._segment: ActiveSegment | None = None
        self._has_begun = False
        self._is_fresh = False
        self._is_between_epochs = False
        self._has_compared_ranks = False
        self._n_samples = 0  # of this rank in this segment
        self._restored: Mapping[str, Any] = {}
        self._own_limits: tuple[int | float, int | float] = (1.0, 1.0)  # the Trainer's, before a check lowered them

    # ------------------------------------------------------------------ before training

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Takes part if this is the fit that reports; checks that the Trainer fits the study."""
        self._segment = None
        segment = current_segment()
        if segment is None or _chosen(trainer) is not self:
            return
        if segment.order.num_devices > 1:
            internals.leave_sigterm_alone(trainer)
        if stage != "fit":
            if segment.is_over:
                internals.skip_evaluation(trainer)
                _note_skipped(segment, str(getattr(stage, "value", stage)))
            return
        if segment.is_over:
            internals.skip_training(trainer)
            segment.note("a fit after the trial was paused or stopped was skipped", once_per="study")
            return
        if segment.reporter is not None:
            if isinstance(segment.reporter, RungHooks):
                text = "only the first fit of a segment reports; a later one trained without reports"
                segment.note(text, once_per="study")
            return
        _check_trainer(trainer, segment)
        if segment.order.probe_batches is None:
            loggers.continue_runs(trainer, segment)
        else:
            self._own_limits = internals.limit_batches(trainer, segment.order.probe_batches)
        trainer.callbacks = [self, *(other for other in trainer.callbacks if other is not self)]
        self._segment, self._has_begun, self._is_fresh, self._n_samples = segment, False, False, 0
        self._restored = {}
        if segment.order.checkpoint is not None and not segment.resumes_by_argument:
            internals.preload_checkpoint(trainer, segment.order.checkpoint)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks that the process group is as large as the allocation; tells its real size."""
        if (segment := self._segment) is None:
            return
        real = internals.group_size()
        if not real == trainer.world_size == segment.order.num_devices:
            raise ArgumentError(
                "Trainer(devices=...)", f"{trainer.world_size} of a process group of {real}",
                f"{segment.order.num_devices}, the devices of this segment",
                hint=segment.hints.devices,
            )  # fmt: skip
        segment.send(Started(segment.rank, os.getpid(), real))
        loggers.log_configuration(trainer, segment)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Mapping[str, Any]) -> None:
        """Notes what was saved beside Lightning's own state."""
        self._restored = checkpoint.get(STATE_KEY, {})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks that training goes on where the trial stands, and starts the clock."""
        if (segment := self._segment) is None:
            return
        if not segment.claim(self):
            self._segment = None
            return
        _check_resumed(segment, self._restored, self._resource(trainer, trainer.current_epoch))
        _note_foreign_checkpoints(trainer, segment)
        internals.finish_epochs(trainer)
        loggers.mark_restarts(trainer, segment)
        segment.clock.start()

    # ------------------------------------------------------------------ training

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Puts the random streams where an uninterrupted run has them here."""
        if (segment := self._segment) is None:
            return
        self._is_fresh = False
        if self._has_begun:
            self._save_between_epochs(trainer, segment)
        elif segment.order.checkpoint is not None:
            internals.renew_iterator(trainer)
        if segment.order.num_devices > 1:
            rng.seed_streams(segment.order.seed, trainer.current_epoch, rank=None)
        elif not self._has_begun and "rng" in self._restored:
            rng.set_rng_state(self._restored["rng"])
            internals.restore_generators(trainer, self._restored["generators"])
        self._has_begun, self._restored = True, {}
        segment.advance()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Gives the rank a stream of its own, now that the samplers of all ranks have drawn from the shared one."""
        if (segment := self._segment) is None:
            return
        if batch_idx == 0 and segment.order.num_devices > 1:
            rng.seed_streams(segment.order.seed, trainer.current_epoch, segment.rank)
        if segment.order.unit == "samples":
            self._n_samples += internals.batch_size(trainer, batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts progress."""
        if self._segment is not None:
            self._segment.advance()

    def on_validation_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Counts progress."""
        if self._segment is not None:
            self._segment.advance()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Notes that this epoch's validation metrics are fresh."""
        self._is_fresh = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports the epoch, and obeys."""
        if (segment := self._segment) is None:
            return
        resource = self._resource(trainer, trainer.current_epoch + 1)
        if not (self._is_fresh or not trainer.enable_validation):
            if segment.order.unit == "epochs" and resource in segment.order.levels:
                raise MetricError(f"epoch {resource} is a rung, but nothing was validated in it")
            return
        # on every rank: reading a metric with sync_dist=True is what reduces it
        logged = internals.logged_metrics(trainer)
        self._compare_ranks(trainer, segment, logged)
        probe = self._probe(trainer, segment, logged)
        verdict = exchange(segment, resource, logged, trainer.strategy.broadcast, probe)
        self._log(trainer, segment, verdict)
        if verdict.kind != "continue":
            lifted = internals.lift_minimums(trainer)
            if lifted:
                text = f"{lifted} of the Trainer was lifted, so that trials can pause or stop at a rung before it"
                segment.note(text, once_per="study", topic="minimums lifted")
            trainer.should_stop = True
        elif segment.order.unit != "epochs" and resource >= segment.order.max_resource:
            trainer.should_stop = True

    def _probe(self, trainer: Any, segment: ActiveSegment, logged: Mapping[str, float]) -> Probe | None:
        """Returns what a check asks for; None in a real segment."""
        if segment.order.probe_batches is None:
            return None
        segment.clock.stop()
        epoch_s = segment.clock.seconds * internals.share_of_epoch(trainer, self._own_limits)
        return Probe(tuple(sorted(logged)), epoch_s, internals.reserved_gpu_bytes(trainer))

    def _log(self, trainer: Any, segment: ActiveSegment, verdict: VerdictMessage) -> None:
        """Tells the user's loggers what was decided; on nobody's time."""
        segment.clock.stop()
        loggers.log_decision(trainer, segment, verdict)
        loggers.hold_rows(trainer, segment)
        if verdict.kind == "continue":
            segment.clock.start()

    def _compare_ranks(self, trainer: Any, segment: ActiveSegment, logged: Mapping[str, float]) -> None:
        """Tells once if an objective has another value on each rank: rank 0's would stand for all."""
        if self._has_compared_ranks or segment.order.num_devices == 1:
            return
        self._has_compared_ranks = True
        mine = [repr(logged.get(name)) for name in segment.order.metrics]
        is_same = mine == trainer.strategy.broadcast(mine)
        if not trainer.strategy.reduce_boolean_decision(is_same, all=True):
            names = ", ".join(segment.order.metrics)
            segment.note(f"the ranks have different values of {names}, and rank 0's counts: log with sync_dist=True")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Saves, unless the trial was stopped for good before its horizon."""
        if (segment := self._segment) is None:
            return
        segment.clock.stop()
        segment.resource = self._resource(trainer, trainer.current_epoch)
        if segment.verdict is None or segment.verdict.kind == "pause" or not segment.is_over:
            self.save(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps what ended the fit, in case the code around it swallows it."""
        if self._segment is not None:
            self._segment.failure = exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lets go of the segment."""
        if self._segment is not None:
            self._segment.clock.stop()
            self._segment.is_trained = True
            loggers.hold_rows(trainer, self._segment)
        self._segment = None

    # ------------------------------------------------------------------ checkpoints

    def _save_between_epochs(self, trainer: Any, segment: ActiveSegment) -> None:
        """Saves at the interval that the order asks for, so that less is lost when the process is."""
        every = segment.order.save_every
        if not every or trainer.current_epoch % every:
            return
        segment.clock.stop()
        segment.resource = self._resource(trainer, trainer.current_epoch)
        self._is_between_epochs = True
        try:
            self.save(trainer)
        finally:
            self._is_between_epochs = False
        segment.clock.start()

    def save(self, trainer: Any) -> None:
        """Saves a checkpoint of this moment and confirms it to the engine; on all ranks."""
        segment = self._segment
        if segment is None or segment.resource <= segment.order.resource:
            return
        meet, broadcast = trainer.strategy.barrier, trainer.strategy.broadcast
        save_together(segment, segment.resource, segment.clock.seconds, trainer.save_checkpoint, meet, broadcast)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds the resource and the random streams."""
        if self._segment is None:
            return
        generators = internals.generator_states(trainer)
        checkpoint[STATE_KEY] = {"resource": self._segment.resource, "rng": rng.rng_state(), "generators": generators}
        if self._is_between_epochs:
            internals.rewind_to_epoch_end(checkpoint)

    def _resource(self, trainer: Any, n_epochs: int) -> int:
        """Returns the cumulative resource, in the study's unit, after so many whole epochs."""
        unit = self._segment.order.unit if self._segment is not None else "epochs"
        if unit == "steps":
            return int(trainer.global_step)
        if unit == "samples":
            base = self._segment.order.resource if self._segment is not None else 0
            return base + internals.sum_over_ranks(trainer, self._n_samples)
        return n_epochs


def _chosen(trainer: Any) -> RungHooks:
    """Returns the one of the Trainer's rung callbacks that acts: the user's own before the attached one."""
    candidates: list[RungHooks] = [callback for callback in trainer.callbacks if isinstance(callback, RungHooks)]
    return min(candidates, key=lambda callback: callback.attached)


def _check_trainer(trainer: Any, segment: ActiveSegment) -> None:
    """Refuses a Trainer that would train to another horizon, or would not validate at the rungs."""
    order = segment.order
    _check_horizon(trainer, segment)
    every = trainer.check_val_every_n_epoch if order.unit == "epochs" else None
    missed = [level for level in order.levels if every and level % every]
    if missed and trainer.enable_validation:
        raise ArgumentError(
            "Trainer(check_val_every_n_epoch=...)", every, f"a divisor of every rung; {missed} are no multiples of it"
        )


def _check_horizon(trainer: Any, segment: ActiveSegment) -> None:
    """Refuses an end of training that is not the study's: its horizon in its own unit, and none in another."""
    order = segment.order
    in_epochs, in_steps = order.unit == "epochs", order.unit == "steps"
    if trainer.max_epochs != (order.max_resource if in_epochs else -1):
        raise ArgumentError(
            "Trainer(max_epochs=...)", trainer.max_epochs,
            f"{order.max_resource}, the study's horizon" if in_epochs else f"-1: the study counts {order.unit}",
            hint="Every segment keeps the full horizon, because schedules read it; verdicts end training earlier. "
            f"{segment.hints.horizon}" if in_epochs else "The study's verdicts end training.",
        )  # fmt: skip
    if trainer.max_steps not in ((-1, order.max_resource) if in_steps else (-1,)):
        raise ArgumentError(
            "Trainer(max_steps=...)", trainer.max_steps,
            f"{order.max_resource}, the study's horizon, or -1" if in_steps else f"-1: the study counts {order.unit}",
            hint="The study's verdicts end training.",
        )  # fmt: skip


def _check_resumed(segment: ActiveSegment, restored: Mapping[str, Any], resource: int) -> None:
    """Refuses to train on from another point than the one the trial stands at."""
    order = segment.order
    if order.unit == "samples":  # Lightning does not count them: our own note in the checkpoint does
        resource = int(restored.get("resource", 0))
    if resource == order.resource:
        return
    if order.checkpoint is None:
        raise ArgumentError(
            "fit(ckpt_path=...)", f"a checkpoint at {resource} {order.unit}", "none: this trial starts from scratch",
            hint=segment.hints.checkpoint,
        )  # fmt: skip
    raise CheckpointError(
        f"the trial stands at {order.resource} {order.unit}, but training resumed at {resource}. "
        f"{segment.hints.checkpoint}"
    )


def _note_skipped(segment: ActiveSegment, stage: str) -> None:
    """Notes that user code evaluates after a pause or stop, and that nothing comes of it."""
    segment.note(f"the code's own {stage} is skipped after a segment that was paused or stopped", once_per="study")


def _note_foreign_checkpoints(trainer: Any, segment: ActiveSegment) -> None:
    """Notes checkpoints that the disk budget does not see; not in a check, whose files go anyway."""
    if segment.order.probe_batches is not None:
        return
    for number, callback in enumerate(trainer.checkpoint_callbacks):
        folder = getattr(callback, "dirpath", None)
        if folder:
            text = f"{type(callback).__name__} writes to {folder}; its files are not counted in disk_budget"
            segment.note(text, once_per="study", topic=f"checkpoint callback {number}")
