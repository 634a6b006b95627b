"""Static plans: the same nodes from the beginning to the end. They are what elastic plans are compared with."""

from __future__ import annotations

import math

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.job import Job
from lightning_hwtune.planning.nodes import NodeKind, StageTimes
from lightning_hwtune.planning.plan import Plan, executed
from lightning_hwtune.views.amounts import duration

__all__ = ["cheapest_static_plan", "fastest_static_plan", "static_plans"]

_SLACK = 1e-9  # a deadline that is missed by less than this, relative, is met


def static_plans(job: Job, kind: NodeKind) -> list[Plan]:
    """Returns the plan for each number of nodes; in each stage, trials get the devices with which it ends first."""
    times = StageTimes(job, kind)
    held = [[n_nodes] * len(job.stages) for n_nodes in range(1, kind.most + 1)]
    return [executed("static", job, kind, nodes, times.devices_on(nodes)) for nodes in held]


def fastest_static_plan(job: Job, kind: NodeKind) -> Plan:
    """Returns the static plan that ends first, the cheapest of several."""
    return min(static_plans(job, kind), key=lambda plan: (plan.seconds, plan.usd))


def cheapest_static_plan(job: Job, kind: NodeKind, deadline_s: float = math.inf) -> Plan:
    """Returns the cheapest static plan that ends by the deadline, the fastest of several.

    Raises:
        ArgumentError: no static plan ends by the deadline.
    """
    plans = static_plans(job, kind)
    in_time = [plan for plan in plans if plan.seconds <= deadline_s * (1 + _SLACK)]
    if not in_time:
        least = duration(min(plan.seconds for plan in plans))
        raise ArgumentError("deadline", duration(deadline_s), f"at least {least}, the time of the fastest static plan")
    return min(in_time, key=lambda plan: (plan.usd, plan.seconds))
