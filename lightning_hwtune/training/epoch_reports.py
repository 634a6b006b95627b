"""Reports of a fit: what was logged in an epoch goes to the study, and the verdict is obeyed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from lightning_hwtune.errors import MetricError
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training import loggers
from lightning_hwtune.training.channel import Probe, VerdictMessage
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.reporting import exchange
from lightning_hwtune.training.resource_count import ResourceCount

__all__ = ["EpochReports"]


@final
class EpochReports:
    """The reports of one fit of one segment, on one rank.

    Args:
        own_limits: of training and validation batches that the Trainer had before a check lowered them.
    """

    def __init__(
        self, segment: ActiveSegment, count: ResourceCount, own_limits: tuple[int | float, int | float]
    ) -> None:
        self._segment, self._count, self._own_limits = segment, count, own_limits
        self._is_fresh = False
        self._has_compared_ranks = False

    def epoch_began(self) -> None:
        """A training epoch began: nothing was validated in it yet."""
        self._is_fresh = False

    def validated(self, trainer: Any) -> None:
        """A validation ended: its metrics are those of this epoch."""
        self._is_fresh = not trainer.sanity_checking

    def epoch_ended(self, trainer: Any) -> None:
        """Reports the epoch, and obeys."""
        segment = self._segment
        resource = self._count.after(trainer, trainer.current_epoch + 1)
        if not (self._is_fresh or not trainer.enable_validation):
            if segment.order.unit == "epochs" and resource in segment.order.levels:
                raise MetricError(f"epoch {resource} is a rung, but nothing was validated in it")
            return
        # on every rank: reading a metric with sync_dist=True is what reduces it
        logged = internals.logged_metrics(trainer)
        self._compare_ranks(trainer, logged)
        verdict = exchange(segment, resource, logged, trainer.strategy.broadcast, self._probe(trainer, logged))
        self._log(trainer, verdict)
        if verdict.kind != "continue":
            lifted = internals.lift_minimums(trainer)
            if lifted:
                text = f"{lifted} of the Trainer was lifted, so that trials can pause or stop at a rung before it"
                segment.note(text, once_per="study", topic="minimums lifted")
            trainer.should_stop = True
        elif segment.order.unit != "epochs" and resource >= segment.order.max_resource:
            trainer.should_stop = True

    def _probe(self, trainer: Any, logged: Mapping[str, float]) -> Probe | None:
        """Returns what a check asks for; None in a real segment."""
        segment = self._segment
        if segment.order.probe_batches is None:
            return None
        segment.clock.stop()
        epoch_s = segment.clock.seconds * internals.share_of_epoch(trainer, self._own_limits)
        return Probe(tuple(sorted(logged)), epoch_s, internals.reserved_gpu_bytes(trainer))

    def _log(self, trainer: Any, verdict: VerdictMessage) -> None:
        """Shows the user's loggers what was decided; on nobody's time."""
        segment = self._segment
        segment.clock.stop()
        loggers.log_decision(trainer, segment, verdict)
        loggers.hold_rows(trainer, segment)
        if verdict.kind == "continue":
            segment.clock.start()

    def _compare_ranks(self, trainer: Any, logged: Mapping[str, float]) -> None:
        """Notes once if an objective has another value on each rank: rank 0's would stand for all."""
        segment = self._segment
        if self._has_compared_ranks or segment.order.num_devices == 1:
            return
        self._has_compared_ranks = True
        mine = [repr(logged.get(name)) for name in segment.order.metrics]
        is_same = mine == trainer.strategy.broadcast(mine)
        if not trainer.strategy.reduce_boolean_decision(is_same, all=True):
            names = ", ".join(segment.order.metrics)
            segment.note(f"the ranks have different values of {names}, and rank 0's counts: log with sync_dist=True")
