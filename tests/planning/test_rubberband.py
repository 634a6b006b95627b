"""RubberBand-style plans: their accounting by hand, the brute force on small jobs, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.brute_force_plans import small_jobs
from benchmarks.rubberband import gaps
from lightning_hwtune.core.hardware.billing import RULES, BillingRule, Node, bill
from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.job import Job, Stage, halving_stages
from lightning_hwtune.planning.nodes import NodeKind, StageTimes
from lightning_hwtune.planning.plan import executed
from lightning_hwtune.planning.rubberband import cheapest_plan, fastest_plan
from lightning_hwtune.planning.static import cheapest_static_plan, fastest_static_plan, static_plans

HOUR = 3600.0


def job(*stages: tuple[int, float], speeds: dict[int, float] | None = None, start_s: float = 0.0) -> Job:
    return Job(tuple(Stage(*stage) for stage in stages), 100.0, speeds or {1: 1.0, 2: 1.6, 4: 2.0}, start_s)


def kind(most: int = 4, launch_s: float = 0.0, minimum_s: float = 0.0, quantum_s: float = 0.0) -> NodeKind:
    rule = BillingRule(quantum_s=quantum_s, minimum_s=minimum_s)
    return NodeKind(2, most, HOUR, launch_s, rule)  # one dollar per second


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_plan_of_a_brute_force_is_cheaper_or_in_time_when_ours_is_not(seed: int) -> None:
    assert max(gaps(small_jobs(12, seed))) < 1e-9


def test_a_plan_is_what_the_hand_computes() -> None:
    plan = cheapest_plan(job((4, 1), (1, 1), start_s=10), kind(launch_s=30, minimum_s=150), 300)
    # two nodes of two devices: 30 + 10 + 100 s; then one node: 10 + 100 / 1.6 = 72.5 s. The released one pays 150 s
    assert [(stage.nodes, stage.devices) for stage in plan.stages] == [(2, 1), (1, 2)]
    assert (plan.seconds, plan.usd) == (212.5, 362.5)
    assert [(stage.begins_s, stage.ends_s) for stage in plan.stages] == [(0.0, 140.0), (140.0, 212.5)]


@pytest.mark.parametrize(("launch_s", "held"), [(0.0, [4, 1, 4]), (20.0, [4, 1, 4]), (90.0, [4, 4, 4])])
def test_idle_nodes_are_held_where_a_launch_would_be_too_late(launch_s: float, held: list[int]) -> None:
    middle = job((8, 1), (1, 1), (8, 1))
    deadline_s = launch_s + 100 + 62.5 + 100 + min(launch_s, 20.0)
    assert [stage.nodes for stage in cheapest_plan(middle, kind(launch_s=launch_s), deadline_s).stages] == held


@pytest.mark.parametrize(("minimum_s", "held"), [(0.0, [4, 1, 4]), (170.0, [4, 4, 4])])
def test_idle_nodes_are_held_where_the_least_bill_makes_others_more_expensive(
    minimum_s: float, held: list[int]
) -> None:
    plan = cheapest_plan(job((8, 1), (1, 1), (8, 1)), kind(minimum_s=minimum_s), 262.5)
    assert [stage.nodes for stage in plan.stages] == held


def test_bills_are_rounded_up_to_the_quantum() -> None:
    nodes = kind(minimum_s=60, quantum_s=25)
    up_s = [0, 10, 60, 61, 75, 76]
    assert nodes.bill(np.array(up_s)).tolist() == [60, 60, 75, 75, 75, 100]
    assert [bill(Node(InstanceType("n", HOUR, 2), 0, s), 0, nodes.rule) for s in up_s] == [60, 60, 75, 75, 75, 100]
    assert kind(quantum_s=0.1).bill(np.array([0.3])) == pytest.approx(0.3)  # 0.3 / 0.1 is above 3 in floats


def test_nodes_of_the_catalogue_are_billed_as_their_provider_does() -> None:
    nodes = NodeKind.of(Catalogue.builtin()["g4dn.12xlarge"], most=3, launch_s=60)
    assert (nodes.devices, nodes.most, nodes.usd_per_hour, nodes.rule) == (4, 3, 3.912, RULES["aws"])


def test_nodes_below_the_least_billed_time_are_not_judged_by_their_age() -> None:
    # released at once, one of 11 nodes pays its minimum; 10 nodes are slower, and pay no more than theirs
    work = Job((Stage(11, 450), Stage(10, 10)), 1.0, {1: 1.0})
    nodes = NodeKind(1, 11, HOUR, 10.0, BillingRule(minimum_s=1000))
    plan = cheapest_plan(work, nodes, 925)
    assert ([stage.nodes for stage in plan.stages], plan.usd) == ([10, 10], 10_000)


def test_a_trial_is_inside_a_node_or_on_complete_nodes() -> None:
    nodes = NodeKind(4, 4, 1.0)
    assert [nodes.slots(3, devices) for devices in (1, 2, 3, 4, 8, 6, 16)] == [12, 6, 3, 3, 1, 0, 0]


def test_devices_that_are_not_faster_than_fewer_are_never_used() -> None:
    falling = job((8, 1), (1, 4), speeds={1: 10, 2: 9, 4: 12, 8: 12, 3: 5})
    assert (falling.counts, falling.useless) == ((1, 4), (2, 3, 8))
    assert {stage.devices for stage in fastest_plan(falling, kind()).stages} <= {1, 4}


def test_successive_halving_has_exact_stages() -> None:
    found = halving_stages(81, 243, first=3)
    assert [(stage.trials, stage.units) for stage in found] == [(81, 3), (27, 6), (9, 18), (3, 54), (1, 162)]
    assert [stage.trials for stage in halving_stages(10, 16, eta=2)] == [10, 5, 2, 1, 1]
    assert [stage.units for stage in halving_stages(9, 10)] == [1, 2, 6, 1]  # the full training is not a power of 3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1.0, 3.0))
def test_more_time_or_money_is_never_worse_and_no_static_plan_is_better(seed: int, factor: float) -> None:
    [small] = small_jobs(1, seed)
    work = Job(tuple(Stage(*stage) for stage in small.stages), small.unit_s, small.speeds, small.start_s)
    rule = BillingRule(quantum_s=small.quantum_s, minimum_s=small.minimum_s)
    nodes = NodeKind(small.devices, small.most, small.usd_per_hour, small.launch_s, rule)
    fastest, cheapest = fastest_plan(work, nodes), cheapest_plan(work, nodes)
    deadline_s = factor * fastest.seconds
    plan = cheapest_plan(work, nodes, deadline_s)
    assert plan.seconds <= deadline_s * (1 + 1e-8)
    assert cheapest.usd <= cheapest_plan(work, nodes, 1.2 * deadline_s).usd + 1e-9 <= plan.usd + 2e-9 <= fastest.usd + 1
    bought = fastest_plan(work, nodes, plan.usd)
    assert bought.usd <= plan.usd * (1 + 1e-8)
    assert bought.seconds <= plan.seconds * (1 + 1e-8)
    in_time = [static.usd for static in static_plans(work, nodes) if static.seconds <= deadline_s]
    assert plan.usd <= min(in_time, default=math.inf) * (1 + 1e-8)


def test_a_plan_on_other_speeds_takes_the_time_of_those() -> None:
    planned = cheapest_plan(job((4, 1), (1, 1)), kind(), 170)
    slower = job((4, 1), (1, 1), speeds={1: 1.0, 2: 0.8})
    nodes, devices = [stage.nodes for stage in planned.stages], [stage.devices for stage in planned.stages]
    assert (planned.seconds, planned.usd) == (162.5, 262.5)
    again = executed("rubberband", slower, kind(), nodes, devices)
    assert (again.seconds, again.usd) == (225.0, 325.0)


def test_the_static_plan_keeps_its_nodes() -> None:
    plan = cheapest_static_plan(job((4, 1), (1, 1)), kind(most=2, launch_s=7), 170)
    assert [stage.nodes for stage in plan.stages] == [2, 2]
    assert (plan.seconds, plan.usd) == (157.0, 314.0)  # in the second stage, one trial has two complete nodes
    assert fastest_static_plan(job((4, 1), (1, 1)), kind(most=2, launch_s=7)) == plan


@pytest.mark.parametrize("deadline_s", [100.0, 1.0, 0.0, -5.0, math.nan])
def test_a_deadline_below_the_fastest_plan_is_refused_with_the_difference(deadline_s: float) -> None:
    with pytest.raises(ArgumentError) as caught:
        cheapest_plan(job((4, 1), (1, 1)), kind(most=2, launch_s=7), deadline_s)
    text = str(caught.value)
    assert "at least 157 s (2 min 37 s)" in text
    assert "costs 214.00 USD" in text or "costs 314.00 USD" in text
    assert deadline_s != 100.0 or "misses this deadline by 57 s" in text
    with pytest.raises(ArgumentError, match="fastest static plan"):
        cheapest_static_plan(job((4, 1), (1, 1)), kind(most=2, launch_s=7), deadline_s)


@pytest.mark.parametrize("budget", [0.0, 50.0, 261.0, -1.0])
def test_a_budget_below_the_cheapest_plan_is_refused_with_what_is_needed(budget: float) -> None:
    with pytest.raises(ArgumentError, match=r"at least 262\.50 USD.*One trial alone.* at least 125\.00 USD"):
        fastest_plan(job((4, 1), (1, 1)), kind(), budget)
    assert fastest_plan(job((4, 1), (1, 1)), kind(), 262.5).usd == 262.5


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"speeds": {2: 1.0}}, "one device"),
        ({"speeds": {}}, "one device"),
        ({"speeds": {1: 1.0, 2: 0.0}}, r"speeds\[2\]"),
        ({"speeds": {1: 1.0, 2: math.inf}}, r"speeds\[2\]"),
        ({"speeds": {1: 1.0, 2: "fast"}}, r"speeds\[2\]"),
        ({"speeds": {0: 1.0}}, "number of devices in speeds"),
        ({"speeds": {1.5: 1.0}}, "number of devices in speeds"),
        ({"speeds": [1.0, 2.0]}, "speeds"),
        ({"unit_s": 0}, "unit_s"),
        ({"unit_s": math.nan}, "unit_s"),
        ({"start_s": -1}, "start_s"),
        ({"stages": ()}, "stages"),
        ({"stages": [(4, 1)]}, "stages"),
    ],
)
def test_a_job_that_cannot_be_planned_is_refused(change: dict[str, object], text: str) -> None:
    given: dict[str, object] = {"stages": (Stage(4, 1),), "unit_s": 1.0, "speeds": {1: 1.0}}
    with pytest.raises(ArgumentError, match=text):
        Job(**{**given, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(("trials", "units"), [(0, 1), (-1, 1), (1.5, 1), (True, 1), (4, 0), (4, -1), (4, math.inf)])
def test_a_stage_without_trials_or_work_is_refused(trials: object, units: object) -> None:
    with pytest.raises(ArgumentError, match=r"Stage\.(trials|units)"):
        Stage(trials, units)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"devices": 0}, {"most": 0}, {"most": 257}, {"usd_per_hour": -1}, {"launch_s": -1}, {"launch_s": math.nan},
     {"usd_per_hour": "free"}],
)  # fmt: skip
def test_nodes_that_cannot_exist_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(change))):
        NodeKind(**{"devices": 2, "most": 4, "usd_per_hour": 1.0, **change})  # type: ignore[arg-type]


def test_the_fastest_way_through_a_stage_has_the_fewest_devices() -> None:
    times = StageTimes(job((4, 1)), NodeKind(2, 4, 1.0))
    assert times.seconds.tolist() == [[200.0, 100.0, 100.0, 62.5]]
    assert times.devices_on([2]) == [1]
