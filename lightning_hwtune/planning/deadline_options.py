"""The way to run a study in a pool until a deadline, as an option of `hwtune plan`; see `deadline_choice`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from lightning_hwtune.core.allocation import powers_up_to
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY, FixedAllocation
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.planning.advisor import Prediction, planned_spec
from lightning_hwtune.planning.comparison import DEADLINE, Option
from lightning_hwtune.planning.deadline_choice import WIDER, AtSpeeds, LikelyStudy, Way, WayChoice, best_way
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.text import counted

__all__ = ["DeadlineAdvice", "deadline_advice"]

_MOST_UNITS, _MOST_STUDIES = 40_000, 6  # of resource in all simulated studies of one way; their number


@final
@dataclass(frozen=True, slots=True)
class DeadlineAdvice:
    """What the simulations say.

    Attributes:
        choice: the best way that can be run, and the gain of every way.
        wider: the best way on more devices than there are, if it is better than that; otherwise None.
        policy: the allocation policy of the way.
        devices: the number of devices of the way: those of the pool, or more of them for a shorter time.
    """

    choice: WayChoice
    wider: Way | None
    policy: AllocationPolicy
    devices: int

    def deadline_s(self, pool: Pool, deadline_s: float) -> float:
        """Returns for how long the devices of the way are paid with the money of the pool until the deadline."""
        return deadline_s * pool.size / self.devices

    def option(self, pool: Pool, deadline_s: float, trials: int) -> Option:
        """Returns the row of the table. The study uses all of the time; `trials` is the number that was asked for."""
        usd = None if pool.usd_per_device_hour is None else usd_of(pool, pool.size * deadline_s)
        own_s = self.deadline_s(pool, deadline_s)
        whole = Prediction(Fraction(1), own_s, own_s, own_s, 1.0)
        return Option(DEADLINE, own_s, usd, whole, trials, self.devices)

    @property
    def training(self) -> Mapping[str, Any]:
        """What the file of a plan keeps: the settings of the policy, and the devices if there are more than planned."""
        more = {"devices": self.devices} if self.choice.way.width > 1 else {}
        return {"allocation": POLICY_REGISTRY.stored(self.policy), **more}

    @property
    def notes(self) -> list[str]:
        """The gains in words."""
        parts = [
            f"{name} {100 * mean:+.0f} +- {100 * error:.0f} %" for name, (mean, error) in self.choice.gains.items()
        ]
        text = "by simulations, the best value at the deadline compared with training that ignores the deadline"
        found = [f"{text}, as a part of the way from the median to the best value: {', '.join(parts)}"]
        with_more = f" on {counted(self.devices, 'devices')}, for less time" if self.choice.way.width > 1 else ""
        found.append(f"the study runs with {self.policy!r}{with_more}, the best of the ways that this pool allows")
        if self.wider is not None:
            found.append(f"for the same money, {self.wider.width:g} times as many devices would be better")
        return found


def deadline_advice(
    scheduler: Scheduler,
    pool: Pool,
    speeds: Mapping[int, float],
    unit_s: float,
    start_s: float,
    deadline_s: float,
    most: int | None = None,
) -> DeadlineAdvice:
    """Returns which way finds the best value by a deadline, by simulations on `SyntheticCurves`.

    Args:
        speeds: number of devices per trial -> speed of a trial.
        unit_s: seconds of one unit of the scheduler's resource on one device. start_s: seconds to start a segment.
        most: how many devices the pool can have, for the same money; None for those that it has.
    """
    counts = powers_up_to(pool.size)
    known = [count for number, count in enumerate(counts) if set(counts[: number + 1]) <= speeds.keys()]
    fitting = [way for way in WIDER if pool.size < way.n_devices(pool.size) <= (most or pool.size)]
    ways = (
        *fitting,
        Way("fixed", FixedAllocation(), is_timed=True),
        Way("deadline", DeadlineAllocation(max_devices=max(known)), is_timed=True),
    )
    n_units = max(pool.size * deadline_s / unit_s, 1.0)
    n_studies = int(min(max(_MOST_UNITS // n_units, 2), _MOST_STUDIES))
    studies = []
    for seed in range(n_studies):
        spec = planned_spec(scheduler, pool.size, seed=seed)
        curves = SyntheticCurves(spec.space, scheduler.max_resource, seed=seed, unit_s=unit_s)
        studies.append(LikelyStudy(spec, AtSpeeds(curves, speeds), deadline_s, start_s))
    found = best_way(studies, (*ways, *(way for way in WIDER if way not in fitting)))
    best = max(ways, key=lambda way: found.gains[way.name][0])
    if found.gains[best.name][0] <= 0:
        best = next(way for way in ways if way.name == "fixed")
    is_wider = found.way.width > best.width and found.gains[found.way.name][0] > max(found.gains[best.name][0], 0.0)
    choice = WayChoice(best, found.gains)
    return DeadlineAdvice(choice, found.way if is_wider else None, best.allocation, best.n_devices(pool.size))
