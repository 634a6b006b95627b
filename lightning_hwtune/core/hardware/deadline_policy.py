"""Devices chosen at each promotion so that the trial can still be fully trained before the study ends.

The principle is that of HyperSched: Liaw, Bhardwaj, Dunlap, Zou, Gonzalez, Stoica and Tumanov, "HyperSched: dynamic
resource reallocation for model development on a deadline", SoCC 2019 (arXiv 2001.02338), gives more devices to good
trials as the deadline comes closer. The rule here is our own.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.policy import GrowingPolicy, powers_of_two
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.forms import checked_class

__all__ = ["DeadlineAllocation"]

_SURE = 0.97  # the part of the time and money left in which the full training has to end
_EFFICIENT = 0.5  # least speed per device, relative to one device, where no number of devices is in time


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class DeadlineAllocation(GrowingPolicy):
    """A promoted trial gets the least number of devices with which it can be fully trained before the limits.

    New trials begin on one device. A trial gets only free devices. For the last part of its training, devices are
    drained, if it could not end in time without them. If no number of devices is enough, a
    trial gets the largest one on which each device still does half the work of a single one. Numbers that are not
    faster than a smaller one are never used. Without a limit of time or cost, a trial keeps its devices.

    Args:
        max_devices: maximum number of devices per trial; None for the whole pool.

    Examples:
        >>> space, pool = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 6)
        >>> hwt.DeadlineAllocation().counts(space, pool)
        (1, 2, 4)
    """

    name: ClassVar[str] = "deadline"
    is_for_deadlines: ClassVar[bool] = True
    max_devices: int | None = None

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the powers of two up to the most devices of a trial.

        Raises:
            ArgumentError: `max_devices` is more than the pool has.
        """
        return powers_of_two(self, self.max_devices, pool)

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices on which the trial continues; the present ones if they are enough and it is running."""
        present = moment.allocation
        if moment.left_s == moment.left_device_s == moment.left_usd == math.inf:
            return present
        faster = _faster(moment)
        free = [count for count in faster if count <= moment.free]
        if not free or (moment.is_running and _is_in_time(moment, present.devices)):
            return present
        able = faster if moment.target == moment.levels[-1] else free
        in_time = [count for count in able if _is_in_time(moment, count)]
        least = moment.paces[faster[0]].unit_s * faster[0]
        efficient = [count for count in free if least >= _EFFICIENT * moment.paces[count].unit_s * count]
        return dataclasses.replace(present, devices=in_time[0] if in_time else efficient[-1])


def _faster(moment: Moment) -> list[int]:
    """Returns the counts on which the trial is faster than on every smaller one; none if no pace is known."""
    found: list[int] = []
    for count in moment.counts:
        pace_s = moment.paces[count].unit_s
        if pace_s > 0 and (not found or pace_s < moment.paces[found[-1]].unit_s):
            found.append(count)
    return found


def _is_in_time(moment: Moment, count: int) -> bool:
    """Returns whether the full training ends within what is left, if every further rung costs one more start."""
    n_pauses = sum(moment.target <= level < moment.levels[-1] for level in moment.levels)
    seconds = moment.seconds(count, moment.levels[-1]) + n_pauses * moment.paces[count].start_s
    return seconds <= _SURE * moment.left_s and seconds * count <= _SURE * moment.left_device_s
