"""What an allocation policy is asked with while a study runs: a trial that continues, and the state of its study.

Everything in a moment follows from the study's log and the present time. So a controller that is started again from the
log asks with the same moment, and a policy whose answers depend only on the moment decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.space import SearchSpace

__all__ = ["ExpectedPace", "ExpectedSpeed", "Moment"]


@final
@dataclass(frozen=True, slots=True)
class ExpectedPace:
    """How fast a trial is expected to train on a number of devices.

    Attributes:
        unit_s: seconds per unit of the scheduler's resource, e.g. per epoch; 0 if nothing is known yet.
        is_measured: whether the trial itself, or the scaling model within its measurements, supports this value.
            Otherwise it is extrapolated or a guess.
        start_s: seconds to start a segment from a checkpoint; 0 if nothing is known yet.

    Examples:
        >>> hwt.ExpectedPace(unit_s=1.5, is_measured=True, start_s=4.0).unit_s
        1.5
    """

    unit_s: float
    is_measured: bool
    start_s: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class ExpectedSpeed:
    """How many times faster a trial trains on a number of devices than on the smallest one of `Moment.counts`.

    Attributes:
        factor: the speed-up.
        is_measured: whether the scaling model of the study supports it within its measurements.

    Examples:
        >>> hwt.ExpectedSpeed(1.8, is_measured=True).factor
        1.8
    """

    factor: float
    is_measured: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A new trial is about to begin, or a trial to continue: it is promoted, finishes, or passes a rung while it runs.

    Attributes:
        trial_id: the number of the trial. config: its configuration.
        allocation: the devices of its newest segment, or those that it has moved to since. A policy that returns them
            changes nothing. For a new trial, what the policy's `first` returns.
        first: the devices at which its seconds are given: those of its first segment, or the policy's `reference`.
        resource: how far it has trained. target: how far it trains now.
        levels: the rungs, ascending; the last one is the full training.
        rule: why it continues, e.g. "promotion", "front" or "finisher"; see `decisions.Rule`.
        is_running: whether it passes a rung while it runs. Then other devices mean a pause, and a new segment at once.
        space, pool: of the study.
        counts: the policy's counts that divide the batch sizes of the configuration, ascending.
        free: the number of devices that it can have without waiting, its present ones included.
        paces: number of devices -> how fast the trial is expected to train, for all `counts` and the present devices. A
            pace is computed when it is looked up.
        speeds: number of devices -> how much faster than on the smallest of `counts`, by the whole study; computed when
            it is looked up.
        scheduler: the settings of the scheduler, as in the log.
        left_s: seconds until the limit of time; infinity without one. This and the money left of a new trial are as of
            the newest event.
        left_usd: money until the limit of cost; infinity without one.
        left_device_s: device-seconds that this money pays for; infinity without a limit, and on a pool that is paid as
            a whole.
        n_running: how many other trials are running.
        n_waiting: how many other trials wait for devices.
        others: how many devices each of these other trials has, or waits for, or moves to.
        n_begun: how many trials of the search have begun.
        stage: the plan of the present stage; None if the policy plans none.
        n_new: how many new trials may still begin; None without a limit.

    Examples:
        >>> class TwoAtTheEnd(hwt.AllocationPolicy):
        ...     def counts(self, space, pool):
        ...         return (1, 2)
        ...     def first(self, space, pool, config):
        ...         return hwt.Allocation(1)
        ...     def next(self, moment: hwt.Moment):
        ...         is_last = moment.target == moment.levels[-1] and 2 in moment.counts
        ...         return hwt.Allocation(2) if is_last else moment.allocation
    """

    trial_id: int
    config: Mapping[str, Any]
    allocation: Allocation
    first: Allocation
    resource: int
    target: int
    levels: tuple[int, ...]
    rule: str
    is_running: bool
    space: SearchSpace
    pool: Pool
    counts: tuple[int, ...]
    free: int
    paces: Mapping[int, ExpectedPace]
    left_s: float
    left_usd: float
    left_device_s: float
    n_running: int
    n_waiting: int
    n_new: int | None
    n_begun: int = 0
    others: tuple[int, ...] = ()
    speeds: Mapping[int, ExpectedSpeed] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    stage: StagePlan | None = None

    @property
    def n_rungs(self) -> int:
        """The number of rungs that the trial has reached."""
        return sum(level <= self.resource for level in self.levels)

    def seconds(self, devices: int, target: int | None = None) -> float:
        """Returns the expected seconds up to a resource on a number of devices, the start of a new segment included.

        Args:
            devices: one of `counts`, or the present number.
            target: the resource; None for the target of this moment.
        """
        end = self.target if target is None else target
        pace, starts = self.paces[devices], not self.is_running or devices != self.allocation.devices
        return max(end - self.resource, 0) * pace.unit_s + (pace.start_s if starts else 0.0)
