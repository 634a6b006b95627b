"""A pool with nodes of several kinds, simulated: where trials train, what is billed, and which nodes are requested."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.policies import DoublingAllocation
from lightning_hwtune.core.hardware.pool import NODE, Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, simulate
from lightning_hwtune.simulation.provider import Cloud
from lightning_hwtune.testing.study_driver import rebuilt_state, snapshot

SMALL = InstanceType("small", 3.6, devices=2, usd_per_hour_spot=1.8)
LARGE = InstanceType("large", 36.0, devices=4, usd_per_hour_spot=18.0)
OTHER_SMALL = dataclasses.replace(SMALL, devices=3)
TYPED = [Nodes(2, instance=SMALL), Nodes(2, instance=LARGE)]
SIZED = [Nodes(2, devices=1), Nodes(2, devices=2), Nodes(1, devices=4)]


def spec(nodes: Sequence[Nodes], *counts: int, spot: bool = False, **changes: Any) -> StudySpec:
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), devices=NumDevices(*(counts or (1, 2, 4))))
    objectives = changes.pop("objectives", [Metric("error", "min"), TrainSeconds()])
    if "allocation" in changes:
        space = SearchSpace(lr=space["lr"])
    accelerator = "auto" if nodes[0].instance else "gpu"
    parts: dict[str, Any] = {"scheduler": ASHA(9), "pool": Pool(accelerator, nodes=nodes, spot=spot), **changes}
    return StudySpec("kinds", space, Objectives(objectives), searcher=Random(), seed=1, **parts)


def simulated(study: StudySpec, cloud: Cloud, **options: Any) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    curves = SyntheticCurves(study.space, study.scheduler.max_resource)
    failures = options.pop("failures", None)
    state = simulate(study, curves, Limits(**options), start_s=0.5, cloud=cloud, failures=failures, sink=log.extend)
    check(study, log)
    return state, log


def check(study: StudySpec, log: Sequence[ev.Event]) -> None:
    """Checks every moment of a log, with its own arithmetic: nodes, slots, types and bills."""
    state, most, stride = StudyState(study), {k.shape: k.count for k in study.pool.kinds}, study.pool.node_size
    types, type_of = {k.type.name for k in study.pool.kinds}, dict[int, str]()
    for event in log:
        state.apply(event)
        up = list(state.nodes_up.values())
        for shape in {node.shape for node in up}:
            assert sum(node.shape == shape for node in up) <= most[shape]
        assert state.capacity == (sum(node.devices for node in up) or study.pool.size)
        slots = [slot for segment in state.running.values() for slot in segment.slots]
        assert len(slots) == len(set(slots))
        by_place = {node.place: node for node in up if node.is_ready}
        assert len(by_place) == sum(node.is_ready for node in up)
        if isinstance(event, ev.SegmentStarted):
            nodes = [by_place[place] for place in sorted({slot // stride for slot in event.slots})]
            assert all(slot % stride < by_place[slot // stride].devices for slot in event.slots)
            assert {node.instance.name for node in nodes} == {event.allocation.instance}
            assert len(nodes) == event.allocation.nodes
            if len(nodes) > 1:
                assert {node.shape for node in nodes} == {nodes[0].shape}
                assert len(event.slots) == sum(node.devices for node in nodes)
            if len(types) > 1:
                assert type_of.setdefault(event.trial_id, event.allocation.instance) == event.allocation.instance
    assert snapshot(rebuilt_state(study, list(log))) == snapshot(state)
    ended = [event for event in log if isinstance(event, ev.NodeReleased | ev.NodeLost)]
    instances = {event.node: event for event in log if isinstance(event, ev.NodeRequested)}
    for event in ended:
        asked = instances[event.node]
        node = Node(
            InstanceType(**asked.instance), 0.0, event.up_s, asked.is_spot, is_lost=isinstance(event, ev.NodeLost)
        )
        assert event.billed_usd == pytest.approx(bill(node, event.up_s))
    assert len(ended) == len(instances)
    assert state.billed_usd(state.last_at) == pytest.approx(math.fsum(event.billed_usd for event in ended))


@pytest.mark.parametrize("nodes", [SIZED, TYPED])
def test_a_study_on_nodes_of_several_kinds_trains_inside_them(nodes: list[Nodes]) -> None:
    cloud = Cloud(launch_s=2.0, lost_after_s=300.0, never_share=0.1)
    study = spec(nodes, spot=nodes is TYPED, max_failures=30)
    state, _ = simulated(study, cloud, max_trials=30, failures=Failures(mean_s=300.0))
    assert state.n_full > 0
    assert len({node.shape for node in state.nodes}) == len(nodes), "nodes of all kinds are rented"
    assert any(segment.outcome == Outcome.LOST for segment in state.segments)
    sizes = {segment.num_devices for segment in state.segments}
    assert sizes == {1, 2, 4}


def test_a_trial_stays_on_its_instance_type_and_is_priced_by_it() -> None:
    study = spec(TYPED, 1, 2, objectives=[Metric("error", "min"), Cost()])
    state, _ = simulated(study, Cloud(launch_s=2.0), max_trials=30)
    of_type = {segment.trial_id: segment.allocation.instance for segment in state.segments}
    assert set(of_type.values()) == {"small", "large"}
    usd_per_device_s = {"small": 1.8 / 3600, "large": 9.0 / 3600}
    for trial in state.trials:
        if trial.last is not None:
            wanted = trial.last.device_s * usd_per_device_s[of_type[trial.trial_id]]
            assert trial.last.values[Cost.name] == pytest.approx(wanted)
            assert trial.allocation.instance == of_type[trial.trial_id]
    for segment in state.segments:
        wanted = segment.wall_s * segment.num_devices * usd_per_device_s[segment.allocation.instance]
        assert segment.billed_usd == pytest.approx(wanted)


def test_trials_move_freely_between_nodes_of_one_type() -> None:
    state, _ = simulated(spec(SIZED, 1), Cloud(launch_s=2.0), max_trials=30)
    shapes: dict[int, set[int]] = {}
    for segment in state.segments:
        assert segment.allocation.instance == NODE
        shapes.setdefault(segment.trial_id, set()).add(state.nodes[segment.node or 0].devices)
    assert any(len(found) > 1 for found in shapes.values())
    assert {trial.allocation.instance for trial in state.trials} == {"local"}


def test_a_trial_that_grows_gets_only_what_its_type_has() -> None:
    nodes = [Nodes(4, devices=1, instance=SMALL), Nodes(1, instance=LARGE)]
    study = spec(nodes, allocation=DoublingAllocation(), scheduler=ASHA(max_epochs=27, first_rung=1))
    state, _ = simulated(study, Cloud(launch_s=2.0), max_trials=40)
    most = {
        name: max(s.num_devices for s in state.segments if s.allocation.instance == name) for name in study.pool.types
    }
    assert most == {"small": 4, "large": 4}
    whole = [s for s in state.segments if s.allocation.nodes > 1]
    assert whole
    assert {s.allocation.instance for s in whole} == {"small"}, "four complete nodes with one device"


def test_a_large_trial_that_waits_does_not_stop_small_ones_on_other_nodes() -> None:
    """The only node with four devices is taken for long; nodes with one device get short and long trials meanwhile."""
    study = spec([Nodes(4, devices=1), Nodes(1, devices=4)], 1, 4)
    state, log = simulated(study, Cloud(launch_s=1.0), max_trials=24)
    waits, begun = False, 0
    for event in log:
        if isinstance(event, ev.DevicesReserved):
            waits = event.allocation is not None and event.allocation.devices == 4
        begun += isinstance(event, ev.SegmentStarted) and waits and event.allocation.devices == 1
    assert begun > 5
    assert state.n_full > 0


def test_a_limit_of_money_holds_for_nodes_of_all_prices() -> None:
    state, log = simulated(spec(TYPED), Cloud(launch_s=2.0), max_trials=200, max_cost_usd=0.5)
    assert 0.25 < state.billed_usd(state.last_at) <= 0.5
    assert any(isinstance(event, ev.SegmentStarted) for event in log)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: spec(SIZED, 1, 8), "counts that fit into one node.*Leave out 8"),
        (lambda: Pool("gpu", nodes=[Nodes(1, devices=2), Nodes(1, instance=SMALL)]), "instance type for each"),
        (lambda: Pool(nodes=[Nodes(1, instance=SMALL), Nodes(1, instance=OTHER_SMALL)]), "one instance type"),
        (lambda: Pool(nodes=[Nodes(1, instance=SMALL), Nodes(1, instance=InstanceType("c", 1, vcpus=8))]), "with GPUs"),
        (lambda: Pool("gpu", nodes=[Nodes(2), Nodes(1, devices=1)]), "number of devices of each node"),
        (lambda: Pool("gpu", devices=2, nodes=SIZED), "each kind of node"),
        (lambda: Pool("gpu", nodes=SIZED, per_device=2), "several nodes"),
        (lambda: Pool(nodes=TYPED, usd_per_device_hour=1.0), "has a price"),
        (lambda: Pool("gpu", nodes=[{"count": 1, "device": 2}]), "device"),
        (lambda: Pool("gpu", nodes=[{"devices": 2}]), "'count'"),
        (lambda: Pool("gpu", nodes=[3]), "Nodes"),
        (lambda: Pool(nodes=[Nodes(1, instance="none")]), r"nodes\[0\]: instance"),
        (lambda: Pool(nodes=[Nodes(1, devices=9, instance=SMALL)]), r"nodes\[0\]: devices.*at most 2"),
        (lambda: Pool("gpu", nodes=[]), "empty"),
        (lambda: Pool("gpu", nodes=[{"count": 0, "devices": 2}]), r"nodes\[0\]: count"),
    ],
)  # fmt: skip
def test_nodes_that_do_not_fit_together_are_refused(make: Any, match: str) -> None:
    with pytest.raises(hwt.HwTuneError, match=match):
        make()


def test_a_policy_may_choose_the_type_of_a_trial_but_not_change_it() -> None:
    pool = Pool(nodes=TYPED)
    space = SearchSpace(lr=Float(0, 1))

    class Chooses(hwt.AllocationPolicy):
        def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
            return (1, 4)

        def first(self, space: SearchSpace, pool: Pool, config: Any) -> hwt.Allocation:
            return hwt.Allocation(1, instance="small")

        def larger(self, space: SearchSpace, pool: Pool, config: Any, allocation: hwt.Allocation) -> hwt.Allocation:
            return hwt.Allocation(4, instance="large")

    study = spec(TYPED, allocation=Chooses())
    assert study.pool == pool
    assert study.allocator.first({"lr": 0.5}).instance == "small"
    with pytest.raises(ArgumentError, match="'small', the instance type of the trial"):
        study.allocator.larger({"lr": 0.5}, hwt.Allocation(1, instance="small"))
    state, _ = simulated(study, Cloud(launch_s=1.0), max_trials=6)
    assert {segment.allocation.instance for segment in state.segments} == {"small"}
    assert {node.instance.name for node in state.nodes} == {"small"}
    assert space.devices_key is None
