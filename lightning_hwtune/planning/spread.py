"""The range of the time and the cost of a plan whose trials differ in speed, which the plan itself does not know."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import final

import numpy as np

from lightning_hwtune.planning.job import Job
from lightning_hwtune.planning.nodes import Floats, NodeKind
from lightning_hwtune.planning.plan import Plan, executed

__all__ = ["Spread", "spread"]


@final
@dataclass(frozen=True, slots=True)
class Spread:
    """The range of the time and the cost of a plan, where trials differ in speed."""

    least_s: float
    most_s: float
    least_usd: float
    most_usd: float


def spread(plan: Plan, job: Job, kind: NodeKind, *, variation: float, seeds: int = 20) -> Spread:
    """Returns the range of what a plan takes if trials take from 1 / variation to variation times the usual time.

    The factors are drawn, log-uniformly, once per trial. Which trials continue after a stage is drawn, too. A stage
    ends with its slowest trial, so it usually takes longer than planned.
    """
    held, devices = [stage.nodes for stage in plan.stages], [stage.devices for stage in plan.stages]
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        factors = variation ** rng.uniform(-1, 1, plan.stages[0].trials)
        taken_s = []
        for stage, n_nodes, n_devices in zip(job.stages, held, devices, strict=True):
            factors = rng.permutation(factors)[: stage.trials]
            work_s = job.trial_s(stage, n_devices) - job.start_s
            taken_s.append(_listed_s(job.start_s + work_s * factors, kind.slots(n_nodes, n_devices)))
        found.append(executed(plan.policy, job, kind, held, devices, taken_s))
    seconds, usd = [item.seconds for item in found], [item.usd for item in found]
    return Spread(min(seconds), max(seconds), min(usd), max(usd))


def _listed_s(trials_s: Floats, slots: int) -> float:
    """Returns when the last of these trials ends, if each begins on the first free slot."""
    free = [0.0] * min(slots, len(trials_s))
    for taken_s in trials_s:
        heapq.heapreplace(free, free[0] + float(taken_s))
    return max(free)
