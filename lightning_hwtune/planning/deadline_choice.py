"""Whether a study with a deadline should choose devices for it, decided before it begins by simulations.

`DeadlineAllocation` gives promoted trials more devices, and a limit of time changes what begins late. Whether that
finds a better model by the deadline depends on the curves and on how the training scales. So each way is simulated on
curves that are like those of the study: of earlier studies or tables, or synthetic ones. The way that is best in the
mean is chosen, and plain training where no other way is better.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
from lightning_hwtune.core.hardware.policies import FixedAllocation
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import Curves
from lightning_hwtune.simulation.executor import simulate

__all__ = ["PLAIN", "WAYS", "WIDER", "AtSpeeds", "LikelyStudy", "Way", "WayChoice", "best_way"]


@final
@dataclass(frozen=True, slots=True)
class Way:
    """How a study with a deadline is run.

    Attributes:
        allocation: its policy.
        is_timed: whether it knows the deadline, as `max_time`; otherwise it decides as if there were none.
        width: how many times as many devices as in the pool it uses, for the same money, and so for less time.
    """

    name: str
    allocation: AllocationPolicy
    is_timed: bool
    width: float = 1.0

    def n_devices(self, size: int) -> int:
        """Returns the number of devices that it uses in place of a pool of this size."""
        return max(round(self.width * size), 1)


PLAIN = Way("plain", FixedAllocation(), is_timed=False)
"""One device per trial, as if there were no deadline. The other ways are compared with it."""

WAYS = (Way("fixed", FixedAllocation(), is_timed=True), Way("deadline", DeadlineAllocation(), is_timed=True))
"""The other ways: one device per trial with the deadline as `max_time`, and devices chosen for the deadline."""

WIDER = tuple(Way(f"width {width:g}", FixedAllocation(), is_timed=True, width=width) for width in (1.25, 1.5, 2.0))
"""Ways that need more devices than the pool has, such as rented ones."""


@final
class AtSpeeds:
    """Curves whose trials are faster on more devices, by given factors.

    Args:
        speeds: number of devices -> speed of a trial, in any unit.
    """

    def __init__(self, curves: Curves, speeds: Mapping[int, float]) -> None:
        if 1 not in speeds or not all(speed > 0 and math.isfinite(speed) for speed in speeds.values()):
            raise ArgumentError("speeds", dict(speeds), "positive numbers, one of them for 1 device")
        self._curves, self._speeds = curves, {count: speed / speeds[1] for count, speed in speeds.items()}
        self.metrics, self.max_resource = curves.metrics, curves.max_resource
        self.values, self.usd_per_s = curves.values, curves.usd_per_s

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of training from scratch."""
        if num_devices not in self._speeds:
            raise ArgumentError("number of devices", num_devices, f"one with a speed, {sorted(self._speeds)}")
        return self._curves.elapsed_s(config, resource, 1) / self._speeds[num_devices]


@final
@dataclass(frozen=True, slots=True)
class LikelyStudy:
    """A study that is like the one to be planned.

    Attributes:
        spec: with the scheduler, the pool and the objectives to plan for; the first objective is compared.
        curves: what its trials report, and when; see `AtSpeeds`.
        deadline_s: the deadline. start_s: seconds to start a segment, and as many more to resume it.
    """

    spec: StudySpec
    curves: Curves
    deadline_s: float
    start_s: float = 0.0

    def losses(self, way: Way) -> list[float]:
        """Returns the first loss of every report by the deadline; on more devices, until the same money is spent."""
        found, objectives, size = list[float](), self.spec.objectives, self.spec.pool.size
        n_devices = way.n_devices(size)
        deadline_s = self.deadline_s * size / n_devices
        name, sign = objectives.names[0], 1.0 if objectives[0].mode == "min" else -1.0

        def sink(events: Sequence[ev.Event]) -> None:
            for event in events:
                if event.at > deadline_s:
                    raise _Over
                if isinstance(event, ev.Reported) and math.isfinite(event.values[name]):
                    found.append(sign * event.values[name])

        pool = self.spec.pool if n_devices == size else Pool(self.spec.pool.accelerator, n_devices)
        spec = dataclasses.replace(self.spec, allocation=way.allocation, pool=pool)
        limits = Limits(max_time_s=deadline_s if way.is_timed else None)
        with contextlib.suppress(_Over):
            simulate(spec, self.curves, limits, start_s=self.start_s, restore_s=self.start_s, sink=sink)
        return found


class _Over(Exception):
    """The deadline."""


@final
@dataclass(frozen=True, slots=True)
class WayChoice:
    """What was chosen.

    Attributes:
        way: the way.
        gains: name of each other way -> mean and standard error of how much better its best value is than that of plain
            training, as a part of the distance from plain training's median report to the best value.
    """

    way: Way
    gains: Mapping[str, tuple[float, float]]


def best_way(studies: Sequence[LikelyStudy], ways: Sequence[Way] = WAYS) -> WayChoice:
    """Returns the way with the best value by the deadline; plain training if none is better in the mean.

    Args:
        studies: at least two, such as one per earlier task and seed.

    Raises:
        ArgumentError: there are fewer than two.
    """
    if len(studies) < 2:
        raise ArgumentError("studies", len(studies), "at least two, so that the comparison has an uncertainty")
    found = {way.name: list[float]() for way in ways}
    for study in studies:
        plain = study.losses(PLAIN)
        best = {way.name: min(study.losses(way), default=math.inf) for way in ways}
        least, median = min([*plain, *best.values()], default=math.inf), statistics.median(plain or [math.inf])
        scale = median - least
        for name, loss in best.items():
            if not math.isfinite(scale) or scale <= 0:  # nothing has been reported, or everything is equal
                found[name].append(0.0)
                continue
            found[name].append((min(plain) - min(loss, median)) / scale)
    gains = {name: (statistics.fmean(own), statistics.stdev(own) / math.sqrt(len(own))) for name, own in found.items()}
    better = [way for way in ways if gains[way.name][0] > 0]
    return WayChoice(max(better, key=lambda way: gains[way.name][0], default=PLAIN), gains)
