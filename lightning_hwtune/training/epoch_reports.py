"""The reports of a fit: they send the values logged in an epoch to the study, and carry out the verdict.

When a report is made:

- At the end of each epoch, after all other `on_train_epoch_end` hooks, so that values which the module or a callback
  logs there count. An epoch in which an objective was not logged is not reported. At a rung this is an error.
- A callback may add epochs after the horizon, as `StochasticWeightAveraging` does for batch norms. They count as part
  of the last epoch, and the report is made at their end.
- If the study counts steps or samples, also at the end of each validation inside an epoch. A trial can be stopped there
  at once. It cannot be paused there: after a resume the loader starts its epoch from the beginning, so Lightning would
  train on different batches. A pause therefore takes effect at the end of the epoch. If a report inside an epoch is the
  best so far, its checkpoint is saved at once. Only its weights are of use: no trial resumes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, final

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Unit
from lightning_hwtune.errors import MetricError
from lightning_hwtune.text import counted
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.across_ranks import CombinedValues
from lightning_hwtune.training.channel import Probe, VerdictMessage
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.import_times import import_times, library_times
from lightning_hwtune.training.logged_values import LoggedValues
from lightning_hwtune.training.loggers import runs as loggers
from lightning_hwtune.training.report_rhythm import check_rhythm, report_places, unvalidated_rungs, useless_save_every
from lightning_hwtune.training.reporting import combined_values, exchange, missing_objective
from lightning_hwtune.training.resource_count import ResourceCount

__all__ = ["EpochReports"]


@final
class EpochReports:
    """The reports of one fit of one segment, on one rank.

    Attributes:
        logged: the values that count for the next report.
        is_best: whether the study asked for a checkpoint of the last epoch.

    Args:
        segment: the segment that this rank trains.
        count: the resource count of this fit.
        own_limits: the Trainer's limits before a check lowered them.
        save: saves a checkpoint inside an epoch.
    """

    def __init__(
        self,
        segment: ActiveSegment,
        count: ResourceCount,
        own_limits: internals.OwnLimits,
        save: Callable[[Any], None],
    ) -> None:
        self._segment, self._count, self._own_limits, self._save = segment, count, own_limits, save
        self.logged = LoggedValues(segment.order.num_devices)
        self.is_best = False
        self._is_validated = False  # whether this epoch has had a validation
        self._seen = segment.order.resource  # rungs up to this resource are reported

    def training_begins(self, trainer: Any) -> None:
        """Refuses a horizon that comes before the first report; notes if `save_every` has no effect."""
        order = self._segment.order
        check_rhythm(trainer, order, self._own_limits)
        if text := useless_save_every(trainer, order, self._own_limits):
            self._segment.note(text, once_per="study", topic="save_every")

    def epoch_began(self, trainer: Any) -> None:
        """Resets the logged values at the start of a training epoch."""
        self.logged.epoch_began(trainer)
        self._is_validated = False

    def validation_ended(self, trainer: Any) -> None:
        """Reports a validation inside an epoch if the study counts steps or samples."""
        if trainer.sanity_checking:
            return
        self._is_validated = True
        self.logged.validation_ended(trainer)
        order = self._segment.order
        can_report = order.unit != Unit.EPOCHS and order.probe_batches is None and self._segment.verdict is None
        if trainer.is_last_batch or not can_report:
            return
        resource = self._count.after(trainer, trainer.current_epoch)
        combined = self._combined(trainer, since_report=True)
        if resource > self._seen and not self._missing(combined):
            verdict = self._report(trainer, resource, combined, is_inside=True)
            continues = verdict.kind == VerdictKind.CONTINUE and resource < order.max_resource  # the end saves anyway
            if verdict.save and continues:
                self._save(trainer)
            if verdict.kind != VerdictKind.PAUSE:
                self._obey(trainer, verdict, resource)

    def epoch_ended(self, trainer: Any) -> None:
        """Reports the epoch and carries out the verdict, or carries out a verdict from inside the epoch."""
        segment = self._segment
        self.is_best = False
        resource = self._count.after(trainer, trainer.current_epoch + 1)
        if segment.verdict is not None:
            self._obey(trainer, segment.verdict, resource)
            return
        if segment.order.unit == Unit.EPOCHS and internals.adds_epochs(trainer, segment.order.max_resource):
            return
        if segment.order.probe_batches is not None:
            self._check_validations(trainer)
        combined = self._combined(trainer)
        missing = self._missing(combined)
        if missing and self._must_report(trainer, resource):
            raise self._error(trainer, missing[0], combined, resource)
        if resource > self._seen and (not missing or segment.order.probe_batches is not None):
            self._obey(trainer, self._report(trainer, resource, combined), resource)
        elif segment.order.unit == Unit.EPOCHS or self._is_validated:
            self._seen = resource

    def ended(self, trainer: Any) -> None:
        """Releases the logged values when the fit is over."""
        self.logged.ended(trainer)

    def _combined(self, trainer: Any, *, since_report: bool = False) -> CombinedValues:
        """Returns the values that count now, combined over all ranks."""
        order = self._segment.order
        twice = sorted(self.logged.logged_again(trainer) & set(order.metrics)) if not since_report else []
        if twice:
            names, are = ", ".join(map(repr, twice)), "is" if len(twice) == 1 else "are"
            text = (
                f"{names} {are} logged in the validation, and again in the training epoch: the value of the training "
                "counts, because it is logged later. Use different names, such as 'train_error' and 'val_error'"
            )
            self._segment.note(text, once_per="study", topic="logged again")
        return combined_values(self._segment, self.logged.now(trainer, order.metrics, since_report=since_report))

    def _missing(self, combined: CombinedValues) -> list[str]:
        """Returns the objectives without a value."""
        return [name for name in self._segment.order.metrics if name not in combined.values]

    def _must_report(self, trainer: Any, resource: int) -> bool:
        """Return whether a rung lies between the last report and this epoch's end.

        With steps and samples, an epoch without validation is not reported; the next one with a validation is.
        """
        order = self._segment.order
        if order.unit != Unit.EPOCHS and trainer.enable_validation and not self._is_validated:
            return False
        return any(self._seen < level <= resource for level in order.levels)

    def _check_validations(self, trainer: Any) -> None:
        """Checks, in a check, that a full training validates in every rung if an objective comes from the validation.

        Raises:
            MetricError: it does not. The epochs of a check itself are shortened so that each of them is validated.
        """
        rungs = unvalidated_rungs(trainer, self._segment.order, self._own_limits)
        if rungs and self.logged.validated.intersection(self._segment.order.metrics):
            n = internals.batches_per_epoch(trainer, self._own_limits)
            raise _no_validation(f"epoch {rungs[0]}", n, self._own_limits.val_check_interval)

    def _error(self, trainer: Any, name: str, combined: CombinedValues, resource: int) -> MetricError:
        """Returns the error for a rung that cannot be reported."""
        unit = self._segment.order.unit
        where = f"epoch {resource}" if unit == Unit.EPOCHS else f"the epoch that ends at {counted(resource, unit)}"
        if trainer.enable_validation and not self._is_validated:
            return _no_validation(where, trainer.num_training_batches, trainer.val_check_interval)
        hint = "Log it at every rung, in the validation or in `on_train_epoch_end`."
        return missing_objective(name, combined, f"in {where}, which is a rung", hint)

    def _report(
        self, trainer: Any, resource: int, combined: CombinedValues, *, is_inside: bool = False
    ) -> VerdictMessage:
        """Reports, and logs the decision to the user's loggers; neither counts as training time."""
        segment = self._segment
        probe = self._probe(trainer, combined.names)
        verdict = exchange(segment, resource, combined.values, probe, is_inside=is_inside)
        self._seen, self.is_best = resource, verdict.save
        self.logged.reported()
        segment.clock.stop()
        loggers.log_decision(trainer, segment, verdict)
        loggers.hold_rows(trainer, segment)
        if verdict.kind == VerdictKind.CONTINUE or is_inside:
            segment.clock.start()
        return verdict

    def _obey(self, trainer: Any, verdict: VerdictMessage, resource: int) -> None:
        """Ends the training if the verdict says so, or if a study in steps or samples is at its horizon.

        A pause has no effect if the training ends here anyway, for example by its early stopping.
        """
        segment = self._segment
        if verdict.kind == VerdictKind.PAUSE and internals.ends_by_itself(trainer):
            segment.verdict = None  # nothing is left to train, so the trial is complete
        elif verdict.kind != VerdictKind.CONTINUE:
            segment.wants_end = bool(trainer.should_stop)
            lifted = internals.lift_minimums(trainer)
            if lifted:
                text = f"{lifted} of the Trainer has no effect, because trials may pause or stop at an earlier rung"
                segment.note(text, once_per="study", topic="minimums lifted")
            trainer.should_stop = True
        elif segment.order.unit != Unit.EPOCHS and resource >= segment.order.max_resource:
            trainer.should_stop = True

    def _probe(self, trainer: Any, names: Collection[str]) -> Probe | None:
        """Returns the measurements for a check; None in a real segment."""
        segment = self._segment
        if segment.order.probe_batches is None:
            return None
        segment.clock.stop()
        epoch_s = segment.clock.epoch_s(*internals.batches_left_out(trainer, self._own_limits))
        gpu_bytes, startup_s = internals.reserved_gpu_bytes(trainer), segment.startup_s
        places = report_places(trainer, segment.order, self._own_limits)
        return Probe(
            tuple(sorted(names)),
            epoch_s,
            gpu_bytes,
            places,
            startup_s,
            import_times(),
            library_times(),
            segment.clock.batches_s(),
            internals.samples_per_batch(trainer),
            int(trainer.accumulate_grad_batches),
            _monitors(trainer),
            internals.total_gpu_bytes(trainer),
        )


def _monitors(trainer: Any) -> tuple[tuple[str, str], ...]:
    """Returns the class and the metric of each callback that stops or saves by the best value of a metric."""
    callbacks = [*trainer.checkpoint_callbacks, *trainer.early_stopping_callbacks]
    followed = [(type(item).__name__, getattr(item, "monitor", None)) for item in callbacks]
    return tuple((name, metric) for name, metric in followed if isinstance(metric, str))


def _no_validation(where: str, n_batches: float, every: object) -> MetricError:
    return MetricError(
        f"{where} is a rung, but has no validation. An epoch has {counted(f'{n_batches:g}', 'batches')}, and "
        f"Trainer(val_check_interval=...) is {every}: validate at least once in every epoch that is a rung."
    )
