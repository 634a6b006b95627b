"""The simulated studies whose logs are stored: their settings, the curves that they train by, and their faults.

Everything is plain arithmetic, so that a log can be continued on any machine, whatever the package's own simulation has
become. Only names that release 0.1.0 has are used: `make.py` runs on every version since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import (
    ASHA,
    PASHA,
    Hyperband,
    MedianStopping,
    RunToEnd,
    Scheduler,
    SuccessiveHalving,
)
from lightning_hwtune.core.searchers import TPE, Grid, ParetoPrior, Random, Searcher, Sobol
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.executor import Failures

__all__ = ["STUDIES", "Formula", "Simulated", "fault_of"]


@dataclass(frozen=True)
class Formula:
    """Curves that cross: the larger `x`, the later a training settles, and the lower it ends."""

    diverges_above: float = 2.0
    max_resource: ClassVar[int] = 27
    metrics: ClassVar[tuple[str, ...]] = ("error",)

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns the error at this resource; a configuration whose `x` is too large diverges after two epochs."""
        if config["x"] > self.diverges_above and resource > 2:
            return {"error": float("nan")}
        half = 0.5 + 6 * config["x"] + config["width"] / 64
        floor = 0.05 + 0.4 * (1 - config["x"]) ** 2 + 0.1 * (config["width"] - 40) ** 2 / 1600
        return {"error": round(floor + (0.9 - floor) / (1 + resource / half), 6)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns seconds from scratch to this resource."""
        epoch_s = round(2 + config["width"] / 8 + 5 * config["x"], 3)
        return resource * epoch_s / (1.0, 1.75, 2.25)[num_devices - 1]

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        """Returns the price of one second."""
        return num_devices / 3600


def fault_of(trial_id: int, segment: int, num_devices: int) -> tuple[str, str] | None:
    """Returns the outcome with which a segment of a study with faults ends at once, None if it trains."""
    if trial_id == 6 or (trial_id % 4 == 2 and num_devices == 1):
        return "out-of-memory", f"OutOfMemoryError: no room on {num_devices} devices"
    if trial_id == 7 or (trial_id % 5 == 3 and segment == 1):
        return "error", "RuntimeError: a cosmic ray"
    return None


@dataclass(frozen=True)
class Simulated:
    """A study, its limits, and how it is simulated.

    Attributes:
        diverges_above: see `Formula`. has_faults: see `fault_of`.
        libraries: those whose other versions may draw other configurations.
    """

    spec: StudySpec
    limits: Limits
    start_s: float = 1.0
    restore_s: float = 0.5
    failures: Failures | None = None
    has_faults: bool = False
    diverges_above: float = 2.0
    libraries: tuple[str, ...] = ()


def _space(*counts: int) -> SearchSpace:
    devices = {"devices": NumDevices(*counts)} if counts else {}
    parameters: dict[str, Any] = {"x": Float(0.0, 1.0), "width": Int(8, 64), "kind": Choice(["a", "b"]), **devices}
    return SearchSpace(**parameters)


def _study(
    name: str,
    scheduler: Scheduler,
    searcher: Searcher,
    *counts: int,
    max_trials: int = 12,
    space: SearchSpace | None = None,
    **options: Any,
) -> Simulated:
    """One device and two objectives, or the counts of devices and three objectives."""
    objectives = [Metric("error", "min"), TrainSeconds(), *([Cost()] if counts else [])]
    spec = StudySpec(
        name=name,
        space=space or _space(*counts),
        objectives=Objectives(objectives),
        scheduler=scheduler,
        searcher=searcher,
        pool=Pool("cpu", max(counts, default=1), usd_per_device_hour=1.0),
        seed=3,
        max_failures=9,
    )
    return Simulated(spec, Limits(max_trials=max_trials, finishers=3), **options)


def _prior() -> ParetoPrior:
    """Two earlier tasks: one in which large `x` is good, and one in which small `width` is."""
    configs = [{"x": i / 20, "width": 8 + (7 * i) % 57, "kind": "ab"[i % 2]} for i in range(20)]
    first = [[round(1 - config["x"], 6), config["width"] / 8 + 5 * config["x"]] for config in configs]
    second = [[round(0.5 + config["width"] / 128, 6), config["width"] / 4] for config in configs]
    tasks = [EarlierTask.of("first", configs, first), EarlierTask.of("second", configs, second)]
    return ParetoPrior(tasks, Objectives([Metric("error", "min"), TrainSeconds()]), candidates=64)


def _all() -> dict[str, Callable[[], Simulated]]:
    lost = Failures(mean_s=400.0, seed=1)
    numeric, sobol, trees = ("numpy", "scipy"), ("scipy",), ("numpy", "scipy", "scikit-learn")
    small = SearchSpace(x=Choice([0.1, 0.5, 0.9]), width=Choice([8, 40]), kind=Choice(["a", "b"]))
    studies = [
        partial(_study, "asha_one_device", ASHA(max_epochs=9), Random()),
        partial(
            _study, "asha_retries", ASHA(max_epochs=9), Random(),
            failures=Failures(150.0, seed=2), has_faults=True,
        ),
        partial(_study, "asha_diverging", ASHA(max_epochs=9), Random(), diverges_above=0.4),
        partial(
            _study, "asha_three_counts", ASHA(max_epochs=9), Random(), 1, 2, 3,
            max_trials=16, failures=lost, has_faults=True,
        ),
        partial(_study, "asha_two_brackets_tpe", ASHA(max_epochs=9, brackets=2), TPE(min_points=2), libraries=numeric),
        partial(
            _study, "asha_stopping_sobol", ASHA(max_epochs=9, type="stopping"), Sobol(), 1, 2,
            failures=lost, libraries=sobol,
        ),
        partial(_study, "hyperband", Hyperband(max_epochs=9), Random(), 1, 2, 3, max_trials=17, failures=lost),
        partial(_study, "successive_halving", SuccessiveHalving(max_epochs=9), Random(), 1, 2, max_trials=9),
        partial(_study, "pasha", PASHA(max_epochs=27), Random(), max_trials=16),
        partial(_study, "median_stopping", MedianStopping(max_epochs=6, min_trials=3), Random(), max_trials=9),
        partial(_study, "grid_to_the_end", RunToEnd(max_epochs=3), Grid(), space=small, has_faults=True),
        partial(_study, "prior", ASHA(max_epochs=9, type="stopping"), _prior(), libraries=trees),
    ]  # fmt: skip
    return {study.args[0]: study for study in studies}


STUDIES = _all()
"""By name: what makes the study. That with the prior needs scikit-learn."""
