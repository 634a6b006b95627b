"""RubberBand-style plans: the cheapest allocation of nodes to the stages of a study that meets a deadline.

Misra, Liaw, Dunlap, Bhardwaj, Kandasamy, Gonzalez, Stoica and Tumanov, "RubberBand: cloud-based hyperparameter tuning",
EuroSys 2021 (doi 10.1145/3447786.3456245), make an elastic plan before a study, from a profile of the training and the
prices of a provider. The problem is theirs. The rules for placement and billing and the algorithm are our own
reconstruction: the paper describes a greedy search, and this is an exact dynamic programme.

Options. A plan holds a number of nodes in each stage, one with which some stage of the job gets faster. The trials of a
stage use the number of devices with which the stage ends first. A plan can hold more nodes than a stage needs: idle
nodes are paid, but no later stage waits for their launch. Nodes are requested when the stage that needs them begins,
and released when a stage ends, those that have been up longest first. If bills are not rounded, no other choice of
nodes is cheaper, because a bill is then a convex function of the time.

The programme extends ways through the first stages: their time, their bills, and the nodes that they hold. A way is
left out if another one that holds as many nodes is not later and will not be more expensive, whatever follows, or if it
misses the deadline even on all nodes. So the answer is exact over these options (`benchmarks/brute_force_plans.py`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.job import Job
from lightning_hwtune.planning.nodes import Floats, NodeKind, StageTimes
from lightning_hwtune.planning.plan import Plan, executed
from lightning_hwtune.views.amounts import duration, money

__all__ = ["cheapest_plan", "cost_of_one", "fastest_plan"]

_SLACK = 1e-9  # a deadline that is missed by less than this, relative, is met

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class _Ways:
    """Ways through the first stages; arrays have one row per way.

    Attributes:
        at_s: when the last of these stages ends.
        usd: the bills of the nodes that were released.
        up: shape `(n, n_stages)`: how many nodes are up that were requested when each stage began.
        since_s: shape `(n, n_stages)`: when these were requested.
        held: shape `(n, n_stages)`: the nodes of each stage so far.
    """

    at_s: Floats
    usd: Floats
    up: Ints
    since_s: Floats
    held: Ints

    def __getitem__(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> _Ways:
        return _Ways(self.at_s[rows], self.usd[rows], self.up[rows], self.since_s[rows], self.held[rows])

    @staticmethod
    def start(n_stages: int) -> _Ways:
        """Returns the way through no stage."""
        nothing = np.zeros((1, n_stages), dtype=np.int64)
        return _Ways(np.zeros(1), np.zeros(1), nothing, np.zeros((1, n_stages)), nothing)

    @staticmethod
    def joined(parts: list[_Ways]) -> _Ways:
        """Returns all ways in one."""
        names = ("at_s", "usd", "up", "since_s", "held")
        return _Ways(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def age_s(self) -> Floats:
        """Shape `(n, n_stages)`: for how long the nodes are up."""
        return self.at_s[:, None] - self.since_s


def cheapest_plan(job: Job, kind: NodeKind, deadline_s: float = math.inf) -> Plan:
    """Returns the cheapest plan that ends by the deadline, the fastest of several; exact over the module's options.

    Raises:
        ArgumentError: even the fastest plan misses the deadline. The message says by how much.
    """
    times = StageTimes(job, kind)
    ways = _ways(times, kind, deadline_s)
    if not len(ways.at_s):
        fastest = fastest_plan(job, kind)
        raise ArgumentError(
            "deadline",
            f"{deadline_s:g} s ({duration(deadline_s)})",
            f"at least {math.ceil(fastest.seconds)} s ({duration(fastest.seconds)})",
            hint=f"The fastest plan takes that long and costs {money(fastest.usd)}. It misses this deadline by "
            f"{duration(fastest.seconds - deadline_s)}.",
        )
    return _first(job, kind, times, ways, ways.usd, ways.at_s)


def fastest_plan(job: Job, kind: NodeKind, budget_usd: float = math.inf) -> Plan:
    """Returns the fastest plan that the budget pays, the cheapest of several; exact over the module's options.

    Raises:
        ArgumentError: the budget does not pay even the cheapest plan. The message says what that and one trial cost.
    """
    times = StageTimes(job, kind)
    ways = _ways(times, kind, math.inf if budget_usd < math.inf else times.least_s + kind.launch_s)
    paid = ways[ways.usd <= budget_usd * (1 + _SLACK)]
    if not len(paid.at_s):
        raise ArgumentError(
            "budget",
            money(budget_usd),
            f"at least {money(float(ways.usd.min()))}, the cost of the cheapest plan",
            hint=f"One trial alone, trained to the end, costs at least {money(cost_of_one(job, kind))}. Plan "
            "fewer trials or shorter trainings.",
        )
    return _first(job, kind, times, paid, paid.at_s, paid.usd)


def cost_of_one(job: Job, kind: NodeKind) -> float:
    """Returns the least cost of a single trial of the job, trained to the end."""
    alone = tuple(dataclasses.replace(stage, trials=1) for stage in job.stages)
    return cheapest_plan(dataclasses.replace(job, stages=alone), kind).usd


def _first(job: Job, kind: NodeKind, times: StageTimes, ways: _Ways, first: Floats, second: Floats) -> Plan:
    """Returns the plan with the least `first`; of several, that with the least `second`, then with the fewest nodes."""
    best = ways[first <= first.min() * (1 + _SLACK)]
    tied = second[first <= first.min() * (1 + _SLACK)]
    held = best[tied <= tied.min() * (1 + _SLACK)].held
    nodes = [int(n) for n in held[np.argmin(held.sum(axis=1))]]
    return executed("rubberband", job, kind, nodes, times.devices_on(nodes))


def _ways(times: StageTimes, kind: NodeKind, deadline_s: float) -> _Ways:
    """Returns ways through all stages by the deadline, with all bills; the cheapest way of each time is among them."""
    n_stages = len(times.seconds)
    left_s = np.append(np.cumsum(times.seconds.min(axis=1)[::-1])[::-1], 0.0)
    latest_s = deadline_s * (1 + _SLACK) - left_s
    ways = _Ways.start(n_stages)
    for i in range(n_stages):
        parts = []
        for n_nodes in times.useful_counts:
            longer = _next(ways, i, n_nodes, float(times.seconds[i, n_nodes - 1]), kind)
            parts.append(_best(longer[longer.at_s <= latest_s[i + 1]], n_nodes, kind))
        ways = _Ways.joined(parts)
    usd = ways.usd + (ways.up * kind.bill(ways.age_s)).sum(axis=1)
    return dataclasses.replace(ways, usd=usd)


def _next(ways: _Ways, stage: int, n_nodes: int, seconds: float, kind: NodeKind) -> _Ways:
    """Returns every way continued by one stage with this number of nodes."""
    older_last = np.cumsum(ways.up[:, ::-1], axis=1)[:, ::-1]  # nodes of this age or younger
    kept = np.clip(n_nodes - (older_last - ways.up), 0, ways.up)
    usd = ways.usd + ((ways.up - kept) * kind.bill(ways.age_s)).sum(axis=1)
    requested = np.maximum(n_nodes - older_last[:, 0], 0)
    kept[:, stage] = requested
    since_s, held = ways.since_s.copy(), ways.held.copy()
    since_s[:, stage], held[:, stage] = ways.at_s, n_nodes
    at_s = ways.at_s + seconds + np.where(requested > 0, kind.launch_s, 0.0)
    return _Ways(at_s, usd, kept, since_s, held)


def _best(ways: _Ways, n_nodes: int, kind: NodeKind) -> _Ways:
    """Returns the ways, all of which hold `n_nodes` nodes now, without those that can be left out.

    A node that was up for x seconds and stays up for y more costs at least the price of x + y seconds, and at most that
    of max(x, minimum) + y + quantum. If the most of one way is not above the least of another one that is not earlier,
    the latter can be left out. If all nodes were requested at the beginning in both ways, it suffices to compare time
    and bills.
    """
    age_s = ways.age_s
    least = ways.usd + (ways.up * kind.price(age_s)).sum(axis=1)
    most_s = np.maximum(age_s, kind.rule.minimum_s) + kind.rule.quantum_s
    most = ways.usd + (ways.up * kind.price(most_s)).sum(axis=1)
    order = np.lexsort((most, ways.at_s))
    ways, least, most = ways[order], least[order], most[order]
    ways = ways[least < _before(most)]
    is_old = ways.up[:, 0] == n_nodes
    return ways[~is_old | (ways.usd < _before(np.where(is_old, ways.usd, np.inf)))]


def _before(values: Floats) -> Floats:
    """Returns the smallest value before each row; infinity for the first row."""
    return np.minimum.accumulate(np.append(np.inf, values))[:-1]
