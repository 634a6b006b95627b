"""A plan, and its prediction: what each stage gets, when it ends, and what the nodes cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from lightning_hwtune.planning.job import Job
from lightning_hwtune.planning.nodes import NodeKind

__all__ = ["Plan", "PlannedStage", "executed"]


@final
@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What one stage gets.

    Attributes:
        trials: the number of trials.
        units: how much each of them trains.
        nodes: nodes that are held during the stage; those without a trial are paid, too.
        devices: devices per trial.
        begins_s: when the nodes are requested, and the trials start on those that are up.
        ends_s: when the last trial ends.
    """

    trials: int
    units: float
    nodes: int
    devices: int
    begins_s: float
    ends_s: float


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes and devices for each stage of a job, with the predicted time and cost.

    Attributes:
        policy: how the plan was made.
        stages: what each stage gets.
        seconds: predicted seconds from the first request of a node to the end of the last stage.
        usd: predicted sum of the bills of all nodes.
    """

    policy: str
    stages: tuple[PlannedStage, ...]
    seconds: float
    usd: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)


def executed(
    policy: str,
    job: Job,
    kind: NodeKind,
    held: Sequence[int],
    devices: Sequence[int],
    taken_s: Sequence[float] | None = None,
) -> Plan:
    """Returns what happens when a job runs with these nodes and devices per stage, and its bill.

    The same accounting predicts a plan and measures what it takes on other speeds than it was made for.

    Args:
        held: the nodes of each stage. devices: the devices per trial of each stage.
        taken_s: the seconds of each stage, without launches; None for those of equal trials at the speeds of the job.
    """
    now, usd = 0.0, 0.0
    up: list[float] = []  # when each node that is up was requested, the oldest first
    stages = []
    for number, (stage, n_nodes, n_devices) in enumerate(zip(job.stages, held, devices, strict=True)):
        begins_s = now
        usd += _bills(kind, now, up[: max(0, len(up) - n_nodes)])
        up = up[max(0, len(up) - n_nodes) :]
        if len(up) < n_nodes:
            up += [now] * (n_nodes - len(up))
            now += kind.launch_s
        n_waves = -(-stage.trials // kind.slots(n_nodes, n_devices))
        now += n_waves * job.trial_s(stage, n_devices) if taken_s is None else taken_s[number]
        stages.append(PlannedStage(stage.trials, stage.units, n_nodes, n_devices, begins_s, now))
    usd += _bills(kind, now, up)
    return Plan(policy, tuple(stages), now, usd)


def _bills(kind: NodeKind, now: float, since: Sequence[float]) -> float:
    """Returns the sum of the bills of nodes that were requested at these times and are released now."""
    return float(kind.bill(now - np.array(since, dtype=np.float64)).sum())
