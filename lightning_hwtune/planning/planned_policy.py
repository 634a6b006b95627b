"""A study by a plan that was made before it: nodes and devices of each stage, such as those of a RubberBand-style plan.

`rubberband` makes such plans, and `hwtune run --plan` runs a study with one. The study follows the plan as it is. It
does not plan again where trainings are slower or faster than the plan assumes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.text import counted

__all__ = ["PlannedAllocation"]


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class PlannedAllocation(AllocationPolicy):
    """The devices of each trial, and the most nodes, in each stage of a study with `SuccessiveHalving`.

    A stage ends when its trials have reached a rung. After the last number, the stages that remain get the same. Trials
    whose batch sizes are not divisible by the number of a stage get the next smaller number of the plan. Seconds and
    costs are given at the devices of the first stage.

    Args:
        devices: devices per trial, in each stage.
        nodes: the most nodes that are up, in each stage; None for all of the pool.

    Examples:
        >>> policy = hwt.PlannedAllocation(devices=[1, 4, 12], nodes=[9, 9, 3])
        >>> policy.counts(hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 4, nodes=9))
        (1, 4, 12)
    """

    name: ClassVar[str] = "planned"
    plans_stages: ClassVar[bool] = True
    devices: Sequence[int]
    nodes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.nodes is not None and len(self.nodes) != len(self.devices):
            allowed = f"{counted(len(self.devices), 'numbers')}, one per stage as in `devices`, or None"
            raise ArgumentError("PlannedAllocation.nodes", list(self.nodes), allowed)

    @property
    def reference(self) -> int:  # type: ignore[override]
        """The number of devices at which seconds are given."""
        return self.devices[0]

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the numbers of the plan.

        Raises:
            ArgumentError: the pool has fewer devices or nodes.
        """
        if max(self.devices) > pool.size:
            allowed = f"numbers up to {pool.size}, the devices of the pool"
            raise ArgumentError("PlannedAllocation.devices", list(self.devices), allowed)
        if self.nodes is not None and max(self.nodes) > pool.n_nodes:
            allowed = f"numbers up to {pool.n_nodes}, the nodes of the pool"
            raise ArgumentError("PlannedAllocation.nodes", list(self.nodes), allowed)
        return tuple(sorted(set(self.devices)))

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns the devices of the first stage."""
        return Allocation(self.devices[0])

    def begin(self, moment: Moment) -> Allocation:
        """Returns the devices of a trial of the first stage."""
        return self.next(moment)

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices of the stage, if they divide the trial's batch sizes."""
        if moment.stage is None or moment.stage.devices == moment.allocation.devices:
            return moment.allocation
        fitting = [count for count in moment.counts if count <= moment.stage.devices]
        return Allocation(max(fitting)) if fitting else moment.allocation

    def stage(self, moment: StageMoment) -> StagePlan:
        """Returns the trials of successive halving, on the devices and nodes of the plan."""
        place = min(sum(level <= moment.reached for level in moment.levels), len(self.devices) - 1)
        devices, nodes = self.devices[place], 0 if self.nodes is None else self.nodes[place]
        n_trials = moment.most
        if n_trials is None:  # a study without `max_trials`: as many as leave one trial for the last stage
            n_trials = max(moment.n_begun, math.ceil(moment.eta ** (len(moment.levels) - 1)))
        where = f" and at most {counted(nodes, 'nodes')}" if nodes else ""
        each = f"{counted(devices, 'devices')} each{where}, as planned before"
        text = f"{counted(n_trials, 'trials')} train to {moment.next_level} on {each}"
        top = moment.levels[-1]
        return StagePlan(trials=n_trials, devices=devices, nodes=nodes, reason=text, up_to=top)
