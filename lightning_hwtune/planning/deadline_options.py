"""The way to run a study in a pool until a deadline, as an option of `hwtune plan`; see `deadline_choice`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

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

__all__ = ["DeadlineAdvice", "deadline_advice"]

_MOST_UNITS, _MOST_STUDIES = 40_000, 6  # of resource in all simulated studies of one way; their number


@final
@dataclass(frozen=True, slots=True)
class DeadlineAdvice:
    """What the simulations say.

    Attributes:
        choice: the best way that the pool allows, and the gain of every way.
        wider: the best way on more devices than the pool has, if it is better than that; otherwise None.
        policy: the allocation policy of the way.
    """

    choice: WayChoice
    wider: Way | None
    policy: AllocationPolicy

    def option(self, pool: Pool, deadline_s: float, trials: int) -> Option:
        """Returns the row of the table. The study uses all of the time; `trials` is the number that was asked for."""
        usd = None if pool.usd_per_device_hour is None else usd_of(pool, pool.size * deadline_s)
        whole = Prediction(Fraction(1), deadline_s, deadline_s, deadline_s, 1.0)
        return Option(DEADLINE, deadline_s, usd, whole, trials, pool.size)

    @property
    def allocation(self) -> Mapping[str, Any]:
        """The settings of the policy."""
        return POLICY_REGISTRY.stored(self.policy)

    @property
    def notes(self) -> list[str]:
        """The gains in words."""
        parts = [
            f"{name} {100 * mean:+.0f} +- {100 * error:.0f} %" for name, (mean, error) in self.choice.gains.items()
        ]
        text = "by simulations, the best value at the deadline compared with training that ignores the deadline"
        found = [f"{text}, as a part of the way from the median to the best value: {', '.join(parts)}"]
        found.append(f"the study runs with {self.policy!r}, the best of the ways that this pool allows")
        if self.wider is not None:
            found.append(f"for the same money, {self.wider.width:g} times as many devices would be better")
        return found


def deadline_advice(
    scheduler: Scheduler, pool: Pool, speeds: Mapping[int, float], unit_s: float, start_s: float, deadline_s: float
) -> DeadlineAdvice:
    """Returns which way finds the best value by a deadline, by simulations on `SyntheticCurves`.

    Args:
        speeds: number of devices per trial -> speed of a trial.
        unit_s: seconds of one unit of the scheduler's resource on one device. start_s: seconds to start a segment.
    """
    counts = [2**power for power in range(pool.size.bit_length()) if 2**power <= pool.size]
    known = [count for number, count in enumerate(counts) if set(counts[: number + 1]) <= speeds.keys()]
    ways = (
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
    found = best_way(studies, (*ways, *WIDER))
    best = max(ways, key=lambda way: found.gains[way.name][0])
    is_wider = found.way.width > 1 and found.gains[found.way.name][0] > max(found.gains[best.name][0], 0.0)
    choice = WayChoice(best, found.gains)
    policy = FixedAllocation() if found.gains[best.name][0] <= 0 else best.allocation
    return DeadlineAdvice(choice, found.way if is_wider else None, policy)
