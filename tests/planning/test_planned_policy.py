"""Studies that run by a plan that was made before: its stages, its time and its cost; and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.policies import policy_from_settings
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.planning.job import Job, halving_stages
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.rubberband import cheapest_plan
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.simulation.provider import Cloud
from lightning_hwtune.testing.policy_contract import check_policy

BOX = hwt.InstanceType("box", 36.0, vcpus=2)  # a cent per second, billed exactly
SPEEDS = {1: 1.0, 2: 1.8, 4: 3.0}
LAUNCH_S, START_S, UNIT_S = 30.0, 5.0, 60.0


class Equal:
    """Trials that are equally fast."""

    metrics, max_resource = ("error",), 9

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": config["x"] + 1 / resource}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return UNIT_S * resource / SPEEDS[num_devices]

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def spec(policy: hwt.AllocationPolicy, pool: hwt.Pool, **space: Any) -> StudySpec:
    made, objectives = hwt.SearchSpace(x=hwt.Float(0, 1), **space), Objectives([hwt.Metric("error", "min")])
    scheduler = hwt.SuccessiveHalving(max_epochs=9, first_rung=1, eta=3)
    return StudySpec("s", made, objectives, scheduler, hwt.Random(), pool, allocation=policy)


@pytest.mark.parametrize("deadline_s", [500.0, 700.0, 2000.0])
def test_a_study_takes_the_time_and_the_money_of_its_plan(deadline_s: float) -> None:
    job = Job(halving_stages(trials=9, max_units=9), UNIT_S, SPEEDS, START_S)
    plan = cheapest_plan(job, NodeKind.of(BOX, most=6, launch_s=LAUNCH_S), deadline_s)
    policy = hwt.PlannedAllocation([s.devices for s in plan.stages], [s.nodes for s in plan.stages])
    log: list[ev.Event] = []
    cloud = Cloud(launch_s=LAUNCH_S)
    study = spec(policy, hwt.Pool(instance=BOX, nodes=6))
    state = simulate(study, Equal(), Limits(9), cloud=cloud, start_s=START_S, restore_s=0.0, sink=log.extend)
    stages = [event for event in log if isinstance(event, ev.StagePlanned)]
    assert [(e.trials, e.devices, e.nodes) for e in stages] == [(s.trials, s.devices, s.nodes) for s in plan.stages]
    assert {s.num_devices for s in state.segments if s.resource == 3} == {plan.stages[-1].devices}
    assert state.n_full == 1
    assert state.wall_s(state.last_at) == pytest.approx(plan.seconds, rel=0.05)
    assert plan.usd <= state.billed_usd(state.last_at) * 1.02
    assert state.billed_usd(state.last_at) <= plan.usd * 1.25  # idle nodes are kept for as long as a launch takes


@pytest.mark.parametrize("policy", [hwt.PlannedAllocation([1, 2, 4]), hwt.PlannedAllocation([2], [1])])
def test_the_contract_of_policies(policy: hwt.PlannedAllocation) -> None:
    check_policy(policy, hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-1, log=True)), hwt.Pool("cpu", 4))
    assert policy_from_settings(policy.settings()) == policy


def test_a_batch_that_a_stage_cannot_divide_gets_a_smaller_number() -> None:
    study = spec(hwt.PlannedAllocation([1, 2, 4]), hwt.Pool("cpu", 4), batch_size=hwt.Choice([6]))
    state = simulate(study, Equal(), Limits(9), start_s=START_S, restore_s=0.0)
    assert {segment.num_devices for segment in state.segments if segment.resource >= 1} == {2}
    assert state.n_full == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([],), "one per stage"),
        (([1, 2], [1]), "2 numbers, one per stage"),
        (([1, 8],), "numbers up to 4, the devices of the pool"),
        (([1, 2], [1, 2]), "numbers up to 1, the nodes of the pool"),
        (("12",), "one per stage"),
    ],
)
def test_what_the_pool_does_not_have_is_refused(arguments: Any, text: str) -> None:
    with pytest.raises(hwt.ArgumentError, match=text):
        spec(hwt.PlannedAllocation(*arguments), hwt.Pool("cpu", 4))


def test_another_scheduler_is_refused() -> None:
    with pytest.raises(hwt.ArgumentError, match="SuccessiveHalving"):
        dataclasses.replace(spec(hwt.PlannedAllocation([1, 2]), hwt.Pool("cpu", 4)), scheduler=hwt.ASHA(9))
