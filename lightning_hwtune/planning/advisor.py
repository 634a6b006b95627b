"""How many devices each trial of a study deserves: the study is simulated with each number, and the shortest is chosen.

Aach, Sarma, Inanc, Riedel and Lintermann study this question for a fixed pool and schedulers that stop early (AutoML
2023, PMLR 224:12). They compare fixed numbers. The advisor is our own: it runs the study's own scheduler and controller
on a virtual clock, with `SyntheticCurves` in place of the unknown learning curves, once per seed.

A fraction such as 1/2 means that two trials share a device. A trial then has the speed that is given for the fraction.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, final

from lightning_hwtune.core.hardware.policies import FixedAllocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, checked_class, entries, plain, reading
from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

__all__ = ["Advice", "PoolStudy", "Prediction", "advise", "device_share", "planned_spec"]

_SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))
_MOST_SHARES = 16  # trials on one device


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """A study with a fixed number of devices per trial.

    Attributes:
        devices: devices per trial; 1/2 if two trials share one.
        seconds: from the start of the first trial to the end of the last one, the mean over the simulations.
        least_s: the shortest simulation.
        most_s: the longest simulation.
        used: the part of the pool's device-seconds in which a trial occupies the device.
    """

    devices: Fraction
    seconds: float
    least_s: float
    most_s: float
    used: float


@final
@dataclass(frozen=True, slots=True)
class Advice:
    """Predictions for each number of devices per trial, ascending."""

    predictions: tuple[Prediction, ...]

    @property
    def best(self) -> Prediction:
        """The shortest study; of several, the one with the fewest devices per trial."""
        return min(self.predictions, key=lambda found: (found.seconds, found.devices))


@final
@dataclass(frozen=True, slots=True)
class _Curves:
    """Synthetic curves; the seconds per unit vary between `unit_s / variation` and `unit_s * variation`."""

    curves: SyntheticCurves
    unit_s: float
    variation: float
    metrics: ClassVar[tuple[str, ...]] = SyntheticCurves.metrics

    @property
    def max_resource(self) -> int:
        return self.curves.max_resource

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return self.curves.values(config, resource)

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        slowness = math.log(self.curves.traits(config)[3] / self.curves.unit_s, 4)  # from -1 to 1
        return float(resource * self.unit_s * self.variation**slowness)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class PoolStudy:
    """A study in a fixed pool, as the advisor sees it.

    Args:
        scheduler: the scheduler of the study.
        trials: the number of trials.
        devices: the number of devices in the pool.
        unit_s: median seconds of one unit of the scheduler's resource on one device.
        start_s: seconds to start a trial.
        restore_s: additional seconds to resume it.
        variation: a trial takes between 1 / variation and variation times the median; 1 if all trials are equally fast.
        seeds: the number of simulations for each number of devices.
        first_seed: the seed of the first one.
    """

    scheduler: Scheduler
    trials: int
    devices: int
    unit_s: float
    start_s: float = 0.0
    restore_s: float = 0.0
    variation: float = 1.5
    seeds: int = 3
    first_seed: int = 0

    def predicted(self, count: Fraction, speed: float) -> Prediction:
        """Returns what the study takes with this number of devices per trial, and this speed relative to one device."""
        states = []
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            curves = SyntheticCurves(_SPACE, self.scheduler.max_resource, seed=seed)
            timed = _Curves(curves, self.unit_s / speed, self.variation)
            spec, limits = planned_spec(self.scheduler, self.devices, count, seed), Limits(max_trials=self.trials)
            states.append(simulate(spec, timed, limits, start_s=self.start_s, restore_s=self.restore_s))
        times = [state.last_at for state in states]
        occupied_s = math.fsum(item.wall_s for state in states for item in state.segments) * float(count)
        used = occupied_s / (self.devices * math.fsum(times))
        return Prediction(count, statistics.fmean(times), min(times), max(times), used)


def advise(study: PoolStudy, speeds: Mapping[Any, float]) -> Advice:
    """Returns how long a study takes with each number of devices per trial that fits into the pool.

    Args:
        study: the study and its pool.
        speeds: number of devices per trial -> speed of a trial; see `Job`. A fraction such as 0.5 or "1/2" is the speed
            of one of two trials that share a device. Numbers that are not faster than a smaller one are left out.

    Raises:
        ArgumentError: a speed or a number of devices is not allowed.
    """
    able = {count: speed for count, speed in _useful_speeds(speeds).items() if count <= study.devices}
    return Advice(tuple(itertools.starmap(study.predicted, able.items())))


def planned_spec(scheduler: Scheduler, devices: int = 1, count: Fraction = Fraction(1), seed: int = 0) -> StudySpec:
    """Returns the study to simulate. Where trials share devices, each share is a device of the simulation."""
    return StudySpec(
        name="advisor",
        space=_SPACE,
        objectives=Objectives([Metric("error", "min")]),
        scheduler=scheduler,
        searcher=Random(),
        pool=Pool("cpu", devices * count.denominator),
        allocation=FixedAllocation(count.numerator),
        seed=seed,
    )


def _useful_speeds(speeds: Mapping[Any, float]) -> dict[Fraction, float]:
    """Returns speeds relative to one device, without the numbers of devices that are not faster than smaller ones."""
    with reading("speeds", speeds, "a mapping"):
        given = {device_share(key): value for key, value in entries(speeds).items()}
    shares = {count: value for count, value in given.items() if count < 1}
    job = Job((Stage(1, 1),), 1.0, {int(count): value for count, value in given.items() if count >= 1})
    one = given[Fraction(1)]
    shared = {count: FORMS["Job"]["unit_s"].read(f"speeds[{count}]", shares[count]) / one for count in sorted(shares)}
    return shared | {Fraction(count): job.speeds[count] for count in job.counts}


def device_share(key: Any) -> Fraction:
    """Returns a number of devices: an integer, or one part of a device, such as 0.5 or "1/3"."""
    try:
        count = Fraction(str(plain(key)))
    except (ValueError, ZeroDivisionError):
        count = Fraction(0)
    if count <= 0 or (count.denominator != 1 and count.numerator != 1) or count < Fraction(1, _MOST_SHARES):
        allowed = f"a positive integer, or 1/2, 1/3, ..., 1/{_MOST_SHARES}"
        raise ArgumentError("number of devices in speeds", key, allowed, hint="Write 1/3 as text: '1/3'.")
    return count
