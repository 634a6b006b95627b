"""The number of devices that the advisor recommends, by what a running study has measured.

Aach, Sarma, Inanc, Riedel and Lintermann (AutoML 2023, PMLR 224:12) show that the number of devices per trial decides
how long a study in a fixed pool takes. `planning.advisor` predicts this time for each number. It needs to know how much
faster a trial is on more devices, so the policy measures that first, by probes. The rules are our own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from dataclasses import dataclass
from typing import ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.policy import GrowingPolicy, powers_of_two
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import scheduler_from_settings
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.forms import checked_class
from lightning_hwtune.planning.advisor import PoolStudy, advise

__all__ = ["AdvisedAllocation"]

_EFFICIENT = 0.5  # least speed per device, relative to one device, at which twice as many are still probed
_MOST_TRIALS = 100  # the advisor simulates at most so many trials, or 8 per device: with more, the answer is the same
_SEEDS = 2


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class AdvisedAllocation(GrowingPolicy):
    """Every trial gets the number of devices with which the whole study is predicted to end first.

    The first trials begin on one device. The first one that is promoted, or passes a rung, continues on two, the next
    one on four, and so on, one at a time, as long as each device still does half the work of a single one. Devices are
    drained for such a probe if they are at most a quarter of the pool, or two; others must be free. Without rungs, new
    trials begin on these numbers. Meanwhile, new and promoted trials get the number that the advisor recommends of
    those that are measured. It simulates the study's scheduler and its number of trials on the whole pool. A running
    trial moves at a rung if it reaches the next one earlier, or with fewer device-seconds. Without a
    limit of trials, trials get one device each, which trains the most of them per hour.

    Seconds and costs are given at one device.

    Args:
        max_devices: maximum number of devices per trial; None for the whole pool.

    Examples:
        >>> space, pool = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 6)
        >>> hwt.AdvisedAllocation().counts(space, pool)
        (1, 2, 4)
    """

    name: ClassVar[str] = "advised"
    reference: ClassVar[int | None] = 1
    max_devices: int | None = None

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the powers of two up to the most devices of a trial.

        Raises:
            ArgumentError: `max_devices` is more than the pool has.
        """
        return powers_of_two(self, self.max_devices, pool)

    def begin(self, moment: Moment) -> Allocation:
        """Returns the recommended devices of a new trial; without rungs, those of a probe if one is due."""
        probe = _probe(moment) if len(moment.levels) == 1 else None
        return _on(moment, probe or _advised(moment))

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices of a probe if one is due, otherwise the recommended ones."""
        present = moment.allocation.devices
        if moment.n_new is None:
            return moment.allocation
        probe = _probe(moment)
        if probe is not None:
            return _on(moment, probe)
        advised = _advised(moment)
        if moment.is_running and not _is_worth(moment, present, advised):
            return moment.allocation
        return _on(moment, advised)


def _on(moment: Moment, devices: int) -> Allocation:
    return dataclasses.replace(moment.allocation, devices=devices)


def _is_worth(moment: Moment, present: int, other: int) -> bool:
    """Returns whether a running trial reaches its next rung earlier on more devices, or cheaper on fewer."""
    if other > present:
        return moment.seconds(other) < moment.seconds(present)
    return moment.seconds(other) * other < moment.seconds(present) * present


def _probe(moment: Moment) -> int | None:
    """Returns the smallest count that is not measured; None if no probe is due now."""
    if not moment.n_new:
        return None
    for smaller, count in itertools.pairwise(moment.counts):
        if moment.speeds[count].is_measured:
            continue
        is_efficient = moment.speeds[smaller].factor >= _EFFICIENT * smaller
        is_under_way = count in (*moment.others, moment.allocation.devices)
        is_cheap = count <= max(moment.free, moment.pool.size // 4, 2)
        return count if is_efficient and is_cheap and not is_under_way else None
    return None


def _advised(moment: Moment) -> int:
    """Returns the recommended count, of those that are measured."""
    known = {count: moment.speeds[count].factor for count in moment.counts if moment.speeds[count].is_measured}
    if moment.n_new is None or len(known) < 2:
        return 1
    size, pace = moment.pool.size, moment.paces[1]
    return _best_count(
        json.dumps(dict(moment.scheduler), sort_keys=True),
        min(moment.n_begun + moment.n_new, max(_MOST_TRIALS, 8 * size)),
        size,
        _rounded(pace.start_s / pace.unit_s, 1.5) if pace.start_s > 0 and pace.unit_s > 0 else 0.0,
        tuple((count, _rounded(speed, 1.1)) for count, speed in known.items()),
    )


def _rounded(value: float, step: float) -> float:
    """Returns the nearest power of `step`."""
    return float(step ** round(math.log(value, step)))


@functools.lru_cache(maxsize=1000)
def _best_count(
    scheduler: str, trials: int, devices: int, start_units: float, speeds: tuple[tuple[int, float], ...]
) -> int:
    """Returns the recommended number of devices; the arguments are rounded, so that few studies are simulated."""
    ladder = scheduler_from_settings(json.loads(scheduler))
    study = PoolStudy(ladder, trials, devices, 1.0, start_units, seeds=_SEEDS)
    return int(advise(study, dict(speeds)).best.devices)
