"""The work of a study, as a plan sees it: stages of trials that train side by side, and how fast they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from lightning_hwtune.core.schedulers.rungs import DEFAULT_ETA, exact_eta, quota, rung_levels
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, checked_class, entries, integer, reading

__all__ = ["Job", "Stage", "halving_stages", "relative_speeds"]

_MAX_STAGES = 64
_SPEEDS = "positive numbers by numbers of devices, such as {1: 1, 2: 1.9, 4: 3.4}"
_COUNT = FORMS["NodeKind"]["devices"]


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class Stage:
    """Trials that train the same amount. The next stage begins when all of them have ended.

    Args:
        trials: the number of trials.
        units: how much each of them trains, e.g. epochs.
    """

    trials: int
    units: float


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class Job:
    """Stages that follow each other, and the speed of their trials.

    Args:
        stages: at least one stage.
        unit_s: seconds of one unit on one device.
        speeds: number of devices per trial -> speed of a trial, in any unit, e.g. steps per second. Only the ratios to
            the speed on one device count.
        start_s: seconds that each trial needs at the beginning of each stage, to start its processes and to load its
            checkpoint.

    Attributes:
        counts: the numbers of devices that are faster than every smaller number. No plan uses the others.
    """

    stages: tuple[Stage, ...]
    unit_s: float
    speeds: Mapping[int, float]
    start_s: float = 0.0
    counts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        stages = tuple(self.stages)
        if not 1 <= len(stages) <= _MAX_STAGES or not all(isinstance(stage, Stage) for stage in stages):
            raise ArgumentError("Job.stages", self.stages, f"1 to {_MAX_STAGES} stages, such as Stage(27, 1)")
        found = relative_speeds(self.speeds)
        faster: list[int] = []
        for count, speed in found.items():
            if not faster or speed > found[faster[-1]]:
                faster.append(count)
        object.__setattr__(self, "stages", stages)
        object.__setattr__(self, "speeds", found)
        object.__setattr__(self, "counts", tuple(faster))

    @property
    def useless(self) -> tuple[int, ...]:
        """The numbers of devices that no plan uses, because a smaller number is at least as fast."""
        return tuple(count for count in self.speeds if count not in self.counts)

    def trial_s(self, stage: Stage, devices: int) -> float:
        """Returns how long one trial of a stage occupies its devices."""
        return self.start_s + stage.units * self.unit_s / self.speeds[devices]


def relative_speeds(speeds: Mapping[int, float]) -> dict[int, float]:
    """Returns the speed on each number of devices divided by that on one device, by ascending number.

    Raises:
        ArgumentError: it is not a mapping from numbers of devices to positive numbers, or one device is missing.
    """
    with reading("speeds", speeds, _SPEEDS):
        given = entries(speeds)
    found: dict[int, float] = {}
    for key, value in given.items():
        count = _COUNT.read("number of devices in speeds", key)
        found[count] = FORMS["Job"]["unit_s"].read(f"speeds[{count}]", value)
    if 1 not in found:
        hint = "All speeds are compared with that of one device."
        raise ArgumentError("speeds", speeds, f"{_SPEEDS}, with an entry for one device", hint=hint)
    return {count: found[count] / found[1] for count in sorted(found)}


def halving_stages(
    trials: int, max_units: int, *, first: int = 1, eta: int | float | str | Fraction = DEFAULT_ETA
) -> tuple[Stage, ...]:
    """Returns the stages of successive halving: after each rung, the best 1 / eta of the trials continue.

    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016
    (arXiv 1502.07943). At least one trial is trained to the end.

    Args:
        trials: the number of trials of the first stage.
        max_units: a full training.
        first: the first rung.
        eta: the quotient of successive numbers of trials.

    Raises:
        ArgumentError: a number is not allowed, or the first rung is above a full training.
    """
    n_left, ratio = FORMS["Stage"]["trials"].read("trials", trials), exact_eta(eta)
    levels = rung_levels(integer(1).read("first", first), integer(1).read("max_units", max_units), ratio)
    stages = []
    for level, previous in zip(levels, (0, *levels[:-1]), strict=True):
        stages.append(Stage(n_left, level - previous))
        n_left = max(1, quota(n_left, ratio))
    return tuple(stages)
