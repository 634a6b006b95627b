"""Simulated studies of functions whose importances are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.executor import simulate


@dataclass(frozen=True)
class KnownCurves:
    """A function of the configuration and the epoch as the metric `error`; seconds by another function."""

    error: Callable[[Mapping[str, Any], int], float]
    seconds: Callable[[Mapping[str, Any]], float] = lambda config: 1.0
    metrics: tuple[str, ...] = ("error",)
    max_resource: int = 9

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": self.error(config, resource)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return self.seconds(config) * resource

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def study_of(
    error: Callable[[Mapping[str, Any], int], float],
    space: SearchSpace,
    n_trials: int,
    *,
    scheduler: Scheduler | None = None,
    **parts: Any,
) -> StudyState:
    """Returns a finished study with random configurations."""
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    ladder = scheduler or ASHA(max_epochs=9, first_rung=1)
    spec = StudySpec("known", space, objectives, ladder, Random(), Pool("cpu", 4), seed=3)
    return simulate(spec, KnownCurves(error, **parts), Limits(max_trials=n_trials))
