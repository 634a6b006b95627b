"""A lower bound of the cost of every elastic plan for a job, also of plans that the planner does not try.

Such a plan may give the trials of a stage different numbers of devices, request nodes before the stage that needs them
so that nothing waits for a launch, release each node in the middle of a stage as soon as it has no trial, and request
it again for nothing. Bills have neither a minimum nor rounding. What remains: a stage begins when the one before has
ended, the nodes of the first stage have one launch each, and trials that share a node at a time have the same number of
devices. `benchmarks/rubberband.py` compares static plans with it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind

__all__ = ["least_usd", "undominated"]


def least_usd(job: Job, kind: NodeKind, deadline_s: float) -> float:
    """Returns an amount below which no plan ends by the deadline; infinity if none does."""
    usd_per_s = kind.usd_per_hour / 3600
    ways = [(kind.launch_s, 0.0)]
    for number, stage in enumerate(job.stages):
        steps = []
        for taken_s, node_s in _steps(job, kind, stage):
            n_first = 0 if number else math.ceil(node_s / taken_s * (1 - 1e-9))
            steps.append((taken_s, usd_per_s * (node_s + n_first * kind.launch_s)))
        ways = undominated((a + c, b + d) for (a, b), (c, d) in itertools.product(ways, undominated(steps)))
    return min((usd for ends_s, usd in ways if ends_s <= deadline_s * (1 + 1e-9)), default=math.inf)


def _steps(job: Job, kind: NodeKind, stage: Stage) -> Iterator[tuple[float, float]]:
    """Yields how long a stage may take, and the least time of all its nodes together."""
    groups = []  # seconds of a trial, how many fit on a node at a time, seconds of nodes that they take together
    for count in job.counts:
        if kind.slots(kind.most, count):
            trial_s = job.trial_s(stage, count)
            groups.append((trial_s, max(kind.devices // count, 1), trial_s * max(count / kind.devices, 1)))
    known: dict[tuple[tuple[int, float], ...], float] = {}
    for limit_s in sorted({n * trial_s for trial_s, _, _ in groups for n in range(1, stage.trials + 1)}):
        fitting = tuple((size, node_s) for trial_s, size, node_s in groups if trial_s <= limit_s)
        if fitting not in known:
            least = [0.0]
            for n in range(1, stage.trials + 1):
                least.append(min(node_s + least[max(0, n - size)] for size, node_s in fitting))
            known[fitting] = least[-1]
        if known[fitting] <= kind.most * limit_s * (1 + 1e-9):
            yield limit_s, known[fitting]


def undominated(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the pairs without those that another one is not above in either number."""
    kept: list[tuple[float, float]] = []
    for pair in sorted(pairs):
        if not kept or pair[1] < kept[-1][1]:
            kept.append(pair)
    return kept
