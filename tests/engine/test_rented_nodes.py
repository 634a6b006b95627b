"""Rented nodes in a study: requests, placement, losses, nodes that never come, and a bill that never is too high."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.placement import Placement
from lightning_hwtune.core.hardware.policies import DoublingAllocation
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import NODE, Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.schedulers import ASHA, RunToEnd
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.executor import Abilities, Sink
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.engine.provider import LocalProvider, NodeChange, Provider
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import SimulatedExecutor, Speeds, simulate
from lightning_hwtune.simulation.provider import Cloud, SimulatedProvider
from lightning_hwtune.training.channel import Ended, Report, Saved, SegmentOrder

BOX = InstanceType("box", 36.0, vcpus=2, usd_per_hour_spot=18.0)  # a cent per second
AWS = InstanceType("aws", 36.0, devices=2, provider="aws", usd_per_hour_spot=18.0)


def spec(*counts: int, instance: InstanceType = BOX, nodes: int = 3, spot: bool = False, **changes: Any) -> StudySpec:
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), devices=NumDevices(*(counts or (1, 2))))
    pool = Pool(instance=instance, nodes=nodes, spot=spot)
    parts: dict[str, Any] = {"scheduler": ASHA(9), "pool": pool, "seed": 1, **changes}
    return StudySpec("s", space, Objectives(Metric("error", "min")), searcher=Random(), **parts)


def simulated(study: StudySpec, cloud: Cloud, **options: Any) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    speeds = options.pop("speeds", None)
    curves = SyntheticCurves(study.space, study.scheduler.max_resource)
    state = simulate(study, curves, Limits(**options), start_s=0.5, cloud=cloud, speeds=speeds, sink=log.extend)
    return state, log


def of(log: Sequence[ev.Event], *kinds: type[ev.Event]) -> list[Any]:
    return [event for event in log if isinstance(event, kinds)]


def check(study: StudySpec, log: Sequence[ev.Event], usd: float = math.inf) -> None:
    """Checks every moment of a log: devices, nodes, and the bill."""
    state, size = StudyState(study), study.pool.node_size
    for event in log:
        if state.clock.is_open:
            assert state.billed_usd(event.at) <= usd
        state.apply(event)
        assert state.billed_usd(event.at) <= usd
        assert len(state.nodes_up) <= study.pool.nodes
        slots = [slot for segment in state.running.values() for slot in segment.slots]
        assert len(slots) == len(set(slots))
        ready = {node.place: node for node in state.nodes_up.values() if node.is_ready}
        assert state.free_slots() == {
            place: tuple(slot for slot in range(place * size, (place + 1) * size) if slot not in slots)
            for place in sorted(ready)
        }
        assert all(state.is_idle(node) == (not state.on_node(node)) for node in ready.values())
        if isinstance(event, ev.SegmentStarted):
            places = {slot // size for slot in event.slots}
            assert places <= ready.keys(), "a segment begins on nodes that are ready"
            assert len(places) == event.allocation.nodes == max(len(event.slots) // size, 1)
    released = of(log, ev.NodeReleased, ev.NodeLost)
    assert len(released) == len(state.nodes)
    assert state.billed_usd(state.last_at) == pytest.approx(math.fsum(event.billed_usd for event in released))


# ---------------------------------------------------------------------- placement


def placed(n: int, free: dict[int, list[int]], size: int) -> tuple[int, ...] | None:
    pool = Pool("cpu", devices=size, nodes=12)
    return Placement(pool).placed(Allocation(n), free, dict.fromkeys(free, (NODE, size)))


@given(st.integers(1, 12), st.integers(1, 4), st.lists(st.sets(st.integers(0, 3)), max_size=4))
def test_a_segment_is_inside_one_node_or_on_complete_nodes(n: int, size: int, taken: list[set[int]]) -> None:
    free = {p: [p * size + i for i in range(size) if i not in used] for p, used in enumerate(taken)}
    slots = placed(n, free, size)
    whole = [p for p, own in free.items() if len(own) == size]
    fits = any(len(own) >= n for own in free.values()) if n <= size else n % size == 0 and len(whole) >= n // size
    assert (slots is not None) == fits
    if slots is not None:
        assert len(set(slots)) == n
        assert all(slot in free[slot // size] for slot in slots)
        assert len({slot // size for slot in slots}) == max(n // size, 1)


def test_the_fullest_node_that_suffices_is_filled_first() -> None:
    free = {0: [0, 1, 2, 3], 1: [5, 7], 2: [8, 9, 10]}
    assert placed(2, free, 4) == (5, 7)
    assert placed(3, free, 4) == (8, 9, 10)
    assert placed(4, free, 4) == (0, 1, 2, 3)
    assert placed(8, free, 4) is None


@pytest.mark.parametrize(
    ("counts", "fits"),
    [
        ([], True),
        ([3, 3], True),
        ([3, 3, 2], False),
        ([1, 4, 2], True),
        ([4, 2, 2], True),
        ([1, 8], False),
        ([8], True),
    ],
)
def test_segments_run_side_by_side_if_no_node_is_split(counts: list[int], fits: bool) -> None:
    placement = Placement(Pool("cpu", devices=4, nodes=2))
    assert placement.side_by_side([Allocation(count) for count in counts], [(NODE, 4)] * 2) is fits


def test_a_count_that_splits_a_node_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"multiples of it.*leave out 3"):
        spec(1, 3)
    assert spec(1, 2, 4, 6).allocator.counts == (1, 2, 4, 6)


# ---------------------------------------------------------------------- providers


@pytest.mark.parametrize("kind", ["local", "simulated"])
def test_a_provider_launches_reports_and_releases(kind: str) -> None:
    clock = VirtualClock()
    provider: Provider = LocalProvider() if kind == "local" else SimulatedProvider(Cloud(launch_s=5), clock)
    assert isinstance(provider, Provider)
    assert provider.poll() == []
    rented_as = provider.request(Nodes(1, 2, BOX), is_spot=False)
    assert provider.poll_s() == provider.launch_s
    clock.advance_to(provider.poll_s())
    assert provider.poll() == [NodeChange(rented_as)]
    assert (provider.poll(), provider.poll_s()) == ([], math.inf)
    provider.release(rented_as)
    provider.release(rented_as)
    again = provider.request(Nodes(1, 2, BOX), is_spot=False)
    provider.release(again)
    clock.advance_to(100.0)
    assert provider.poll() == [], "nothing happens to a node that was released"


def test_trials_on_rented_nodes_do_not_share_devices() -> None:
    study = dataclasses.replace(spec(1), pool=Pool(instance=BOX, per_device=2))
    with pytest.raises(ArgumentError, match=r"Pool.per_device.*1, because the nodes are rented"):
        simulated(study, Cloud(), max_trials=2)


@pytest.mark.parametrize(
    ("policy", "limits", "counts"),
    [
        (DoublingAllocation(1), {"max_trials": 9, "max_cost_usd": 50.0}, {1, 2, 4}),
        (DeadlineAllocation(), {"max_time_s": 200.0}, {1, 2}),
    ],
)
def test_a_trial_that_moves_to_more_devices_is_placed_on_complete_nodes(
    policy: AllocationPolicy, limits: dict[str, Any], counts: set[int]
) -> None:
    study = spec(1, 2, 4, nodes=2)
    study = dataclasses.replace(study, space=SearchSpace(lr=study.space["lr"]), allocation=policy)
    state, log = simulated(study, Cloud(launch_s=2), **limits)
    check(study, log, limits.get("max_cost_usd", math.inf))
    assert {segment.num_devices for segment in state.segments} >= counts
    assert all(segment.allocation.per_device == 1 for segment in state.segments)


def test_this_host_is_a_single_node() -> None:
    provider = LocalProvider()
    provider.request(Nodes(1, 2, BOX), is_spot=False)
    with pytest.raises(ArgumentError, match="single node"):
        provider.request(Nodes(1, 2, BOX), is_spot=False)


@pytest.mark.parametrize("wrong", [{"launch_s": -1}, {"never_share": 1.5}, {"straggler_factor": 0.5}, {"timeout_s": 0}])
def test_a_cloud_that_cannot_exist_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Cloud(**wrong)


# ---------------------------------------------------------------------- studies


@pytest.mark.parametrize(("counts", "nodes"), [((1, 2), 1), ((1, 2), 3), ((1, 2, 4), 3), ((4,), 2), ((6,), 3)])
def test_a_study_rents_what_it_needs_and_gives_everything_back(counts: tuple[int, ...], nodes: int) -> None:
    study = spec(*counts, nodes=nodes)
    state, log = simulated(study, Cloud(launch_s=20.0), max_trials=8)
    check(study, log)
    assert state.n_full > 0
    assert len(state.nodes) <= nodes, "no node is replaced, since none is lost, and all are in use"
    [first, *_] = of(log, ev.SegmentStarted)
    assert first.at >= 20.0, "nothing begins before a node is ready"
    [requested, *_] = of(log, ev.NodeRequested)
    assert (requested.at, requested.rented_as) == (0.0, "node-0")


def test_a_replicate_waits_until_one_node_has_its_devices() -> None:
    study = spec(2, 3, nodes=2, instance=dataclasses.replace(BOX, vcpus=4), scheduler=RunToEnd(9))
    log: list[ev.Event] = []
    clock, sink = VirtualClock(), log.extend
    controller = Controller(StudyState(study), sink)
    controller.create(0.0)
    cloud = SimulatedProvider(Cloud(launch_s=5.0), clock)
    executor = SimulatedExecutor(SyntheticCurves(study.space, 9), clock, has_timeouts=True)
    loop = Loop(controller, executor, clock, NoFolder(), provider=cloud, wait_s=math.inf, late_s=0.0, end_s=0.0)
    wanted: dict[str, Any] = {}
    for _ in range(2):
        controller.open(Limits(max_trials=6), clock.now(), "host", 0, "0", rents=True, replication=wanted)
        done = loop.run()
        controller.close(clock.now(), ev.SessionState.FINISHED, done.reason.text)
        wanted = Replication.checked(controller.state, sorted(controller.state.full), 2).to_dict()
    check(study, log)
    replicates = controller.state.replicates
    assert len(replicates) == 12
    assert {trial.num_devices for trial in replicates} == {2, 3}
    assert all(trial.resource == 9 for trial in replicates)


def test_finishers_are_planned_only_side_by_side() -> None:
    study = spec(3, nodes=2, instance=dataclasses.replace(BOX, vcpus=8), scheduler=ASHA(9))
    _, log = simulated(study, Cloud(launch_s=5.0), max_trials=12, max_time_s=400.0, finishers=6)
    state, most = StudyState(study), 0
    for event in log:
        if state.clock.is_open and state.capacity == 16:
            deadline = Deadline(state)
            able = [(trial, trial.resource) for trial in state.searched if trial.checkpoint is not None]
            most = max(most, len(deadline.plan(able, 6, event.at)))
        state.apply(event)
    assert most == 4, "16 devices have room for five segments of three, but each of the two nodes only for two"


def test_no_more_nodes_are_requested_than_trials_need() -> None:
    study = spec(1, nodes=50, scheduler=RunToEnd(3))
    state, _ = simulated(study, Cloud(launch_s=20.0), max_trials=4)
    assert len(state.nodes) == 2
    one, _ = simulated(study, Cloud(launch_s=20.0), max_trials=9, max_parallel=1)
    assert len(one.nodes) == 1


@pytest.mark.parametrize(("instance", "is_free"), [(BOX, False), (AWS, True)])
def test_a_spot_node_is_taken_away_in_mid_segment(instance: InstanceType, is_free: bool) -> None:
    study = spec(1, 2, instance=instance, spot=True, scheduler=ASHA(9, first_rung=1))
    state, log = simulated(study, Cloud(launch_s=5.0, lost_after_s=150.0, seed=3), max_trials=20)
    check(study, log)
    lost = of(log, ev.NodeLost)
    assert lost
    for event in lost:
        node = Node(instance, 0.0, event.up_s, is_spot=True, is_lost=True)
        assert event.billed_usd == bill(node, 0.0)
        assert (event.billed_usd == 0.0) == is_free
    ended = [event for event in of(log, ev.SegmentEnded) if "was lost" in event.error]
    assert {event.outcome for event in ended} == {"interrupted"}
    again = [s for s in of(log, ev.SegmentStarted) if s.rule == "unfinished" and s.checkpoint is not None]
    assert again, "a trial resumes elsewhere from its checkpoint"
    for start in again:
        [*_, saved] = [c for c in of(log, ev.CheckpointSaved) if c.trial_id == start.trial_id and c.at <= start.at]
        assert (start.checkpoint, start.resource) == (saved.path, saved.resource)
    assert state.n_failed == 0, "a lost node is not a failure of its trial"
    assert all(trial.state.is_final or trial.checkpoint for trial in state.trials)


def test_a_node_that_never_comes_up_is_given_up_billed_and_replaced() -> None:
    study = spec(1, 2, nodes=2, instance=AWS)
    cloud = next(
        cloud
        for cloud in (Cloud(launch_s=5.0, never_share=0.5, timeout_s=90.0, seed=seed) for seed in itertools.count())
        if _never(cloud, 2) == [True, False]
    )
    state, log = simulated(study, cloud, max_trials=6)
    check(study, log)
    given_up = state.nodes[0]
    assert not given_up.is_ready
    assert given_up.ended_s == pytest.approx(90.0, abs=0.01)
    assert given_up.billed_usd == bill(Node(AWS, 0.0, given_up.ended_s), 0.0) == pytest.approx(0.9)
    assert any("node 0 was not ready after 90 s" in note.text for note in state.notes)
    assert state.n_full > 0


def _never(cloud: Cloud, n: int) -> list[bool]:
    """Returns which of the first nodes of a cloud never become ready."""
    provider = SimulatedProvider(cloud, VirtualClock())
    found = []
    for _ in range(n):
        provider.request(Nodes(1, 2, AWS), is_spot=False)
        found.append(provider.poll_s() == math.inf)
        provider = provider if found[-1] else SimulatedProvider(dataclasses.replace(cloud), VirtualClock())
    return found


def test_a_study_without_any_node_ends_with_the_reason() -> None:
    study = spec(instance=AWS)
    state, log = simulated(study, Cloud(never_share=1.0, timeout_s=10.0), max_trials=6)
    check(study, log)
    assert state.closed is not None
    assert state.closed.reason == "3 nodes in a row were not ready within 10 s"
    assert [node.billed_usd for node in state.nodes] == [0.6] * 3, "each for the minute that is billed at least"
    hopeless, _ = simulated(spec(instance=AWS, spot=True), Cloud(lost_after_s=0.01), max_trials=6)
    assert hopeless.closed is not None
    assert "were lost before a trial could report" in hopeless.closed.reason


def test_a_node_is_not_requested_if_the_budget_does_not_pay_for_its_launch() -> None:
    state, _ = simulated(spec(instance=AWS), Cloud(launch_s=30.0), max_trials=6, max_cost_usd=0.5)
    assert state.nodes == []
    assert state.closed is not None
    assert "does not pay for another node" in state.closed.reason


def test_a_straggler_is_slow_and_does_not_exceed_the_budget() -> None:
    study = spec(nodes=2, scheduler=RunToEnd(9))
    usual, _ = simulated(study, Cloud(launch_s=5.0), max_trials=4)
    slow, log = simulated(study, Cloud(launch_s=5.0, straggler_share=1.0, straggler_factor=4.0), max_trials=4)
    for one, other in zip(usual.trials, slow.trials, strict=True):
        assert other.last is not None
        assert one.last is not None
        assert other.last.train_s == pytest.approx(4.0 * one.last.train_s)
    check(study, log)
    limited, log = simulated(
        study, Cloud(launch_s=5.0, straggler_share=0.5, straggler_factor=50.0), max_trials=9, max_cost_usd=2.0
    )
    check(study, log, usd=2.0)
    assert limited.billed_usd(limited.last_at) > 1.0


@given(
    st.tuples(st.sampled_from([BOX, AWS]), st.sampled_from([(1, 2), (1, 2, 4), (2, 6)]), st.booleans()),
    st.floats(0.05, 6.0),
    st.builds(
        Cloud,
        launch_s=st.floats(0.0, 50.0),
        launch_spread=st.floats(0.0, 1.0),
        lost_after_s=st.one_of(st.none(), st.floats(20.0, 300.0)),
        never_share=st.sampled_from([0.0, 0.3]),
        straggler_share=st.sampled_from([0.0, 0.3]),
        straggler_factor=st.floats(1.0, 50.0),
        timeout_s=st.floats(5.0, 100.0),
        seed=st.integers(0, 50),
    ),
    st.floats(0.0, 1.5),
)
@settings(max_examples=15, deadline=None)
def test_rented_nodes_never_exceed_the_budget(
    kind: tuple[InstanceType, tuple[int, ...], bool], usd: float, cloud: Cloud, spread: float
) -> None:
    instance, counts, spot = kind
    study = spec(*counts, instance=instance, spot=spot)
    state, log = simulated(study, cloud, max_trials=8, max_cost_usd=usd, speeds=Speeds(spread))
    check(study, log, usd)
    assert not state.running


# ---------------------------------------------------------------------- any interleaving, with a real loop's delays


class Joined(SimulatedProvider):
    """A provider whose nodes join by themselves: `n_there` of them, which are kept when they are idle."""

    def __init__(self, clock: VirtualClock, n_there: int) -> None:
        super().__init__(Cloud(launch_s=0.0, timeout_s=60.0), clock)
        self.n_left, self.idle_s = n_there, math.inf

    def is_available(self, kind: Nodes) -> bool:
        return self.n_left > 0

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        self.n_left -= 1
        return super().request(kind, is_spot=is_spot)


@pytest.mark.parametrize(
    ("counts", "n_there", "rule"), [((1,), 1, "limit:max_trials"), ((1,), 0, "no-nodes"), ((2,), 1, "no-nodes")]
)
def test_work_waits_for_nodes_that_join_and_the_session_ends_if_none_does(
    counts: tuple[int, ...], n_there: int, rule: str
) -> None:
    study = dataclasses.replace(spec(*counts), pool=Pool("cpu", 1, nodes=2))
    clock, log = VirtualClock(), list[ev.Event]()
    controller = Controller(StudyState(study), log.extend)
    controller.create(0.0)
    controller.open(Limits(max_trials=4), 0.0, "host", 1, "0", rents=True)
    curves = SyntheticCurves(study.space, study.scheduler.max_resource)
    executor, said = SimulatedExecutor(curves, clock, has_timeouts=True), list[str]()
    done = Loop(
        controller, executor, clock, NoFolder(), provider=Joined(clock, n_there), is_first_error_fatal=False,
        say=said.append,
    ).run()  # fmt: skip
    assert done.reason.rule == rule
    assert len(of(log, ev.NodeRequested)) == n_there  # none is requested that is not there, and none is released idle
    if n_there < max(counts):
        assert 60.0 <= clock.now() < 70.0
        assert done.reason.text == (
            "the work that is left needs 2 devices, on 2 nodes with 1 free device each, and no further node joined for "
            "60 s; 1 node with 1 free device is there"
            if n_there
            else "no node with 1 free device joined for 60 s, and the work that is left needs one; no node is there"
        )
        there = f"{n_there} of at most 2 nodes {'is' if n_there == 1 else 'are'} there"
        what = ", since the work that is left needs 2 devices" if n_there else ""
        assert said[-1] == f"waits for another node{what}: {there}; the session ends if none joins within 1 minute"
    assert len(set(said)) == len(said) == max(counts) - n_there
    controller.close(clock.now(), ev.SessionState.PAUSED, "")
    check(study, log)


@pytest.mark.parametrize("joins_after_s", [math.inf, 20.0])
@pytest.mark.parametrize("is_enqueued", [False, True])
def test_small_trials_begin_while_a_large_one_waits_for_a_node_that_is_not_there(
    is_enqueued: bool, joins_after_s: float
) -> None:
    study = dataclasses.replace(spec(1, 2), pool=Pool("cpu", 1, nodes=2))
    clock, log = VirtualClock(), list[ev.Event]()
    controller = Controller(StudyState(study), log.extend)
    controller.create(0.0)
    for devices in (2, 1, 2, 1) if is_enqueued else ():
        controller.enqueue({"lr": 0.01 * devices, "devices": devices}, 0.0)
    controller.open(Limits(max_trials=8), 0.0, "host", 1, "0", rents=True)
    provider = Joined(clock, 1)
    is_idle_long, joined = list[bool](), list[bool]()

    def tick() -> None:
        state = controller.state
        if clock.now() > joins_after_s and not joined:
            joined.append(True)
            provider.n_left += 1
        if not joined and state.reserved is not None and not state.running and state.shapes:
            is_idle_long.append(state.waits_for_nodes)

    executor = SimulatedExecutor(SyntheticCurves(study.space, study.scheduler.max_resource), clock, has_timeouts=True)
    done = Loop(
        controller, executor, clock, NoFolder(), provider=provider, is_first_error_fatal=False, tick=tick
    ).run()  # fmt: skip
    state = controller.state
    trained = Counter(trial.num_devices for trial in state.trials if trial.measurements)
    if joined:
        assert done.reason.rule == "limit:max_trials"
        assert trained.total() == 8
        assert trained[2] >= 1 + is_enqueued
        assert not state.enqueued
        assert not state.skipped
    else:
        assert done.reason.rule == "no-nodes"
        assert set(trained) == {1}
        assert trained[1] >= 2
        if is_enqueued:
            assert [config["devices"] for config in state.enqueued] == [2, 2]
    assert is_idle_long
    assert all(is_idle_long), "no forecast while nothing trains"
    controller.close(clock.now(), ev.SessionState.PAUSED, "")
    check(study, log)


class Scripted:
    """An executor and a provider in which Hypothesis decides what happens next, and when."""

    abilities: ClassVar[Abilities] = Abilities(trains_here=False)
    launch_s, idle_s, timeout_s, late_s, end_s = 2.0, 2.0, 20.0, 0.5, 1.0

    def __init__(self, data: st.DataObject, clock: VirtualClock, usd: float) -> None:
        self.data, self.clock, self.usd, self.n_left = data, clock, usd, 60
        self.orders: dict[int, SegmentOrder] = {}
        self.began_at: dict[int, float] = {}
        self.reached: dict[int, int] = {}
        self.ending: dict[int, tuple[float, Outcome, str]] = {}
        self.nodes: dict[str, bool] = {}
        self.news: list[NodeChange] = []
        self.controller: Controller | None = None

    # ---- provider

    def is_available(self, kind: Nodes) -> bool:
        return True

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        rented_as = f"n{len(self.controller.state.nodes)}"  # type: ignore[union-attr]
        self.nodes[rented_as] = False
        return rented_as

    def release(self, rented_as: str) -> None:
        self.nodes.pop(rented_as, None)

    def poll(self) -> Sequence[NodeChange]:
        found = [item for item in self.news if item.rented_as in self.nodes]
        self.news = []
        return found

    def poll_s(self) -> float:
        return 1.0

    # ---- executor

    def start(self, order: SegmentOrder) -> None:
        self.orders[order.trial_id], self.began_at[order.trial_id] = order, self.clock.now()
        self.reached[order.trial_id] = order.resource

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        if trial_id in self.orders:
            self.ending.setdefault(trial_id, (self.clock.now() + self.share() * self.end_s, outcome, why))

    def close(self) -> None:
        pass

    def share(self) -> float:
        return float(self.data.draw(st.sampled_from([0.0, 0.3, 1.0]))) if self.n_left > 0 else 0.0

    def wait(self, sink: Sink, timeout_s: float) -> None:
        self.n_left -= 1
        state = self.controller.state  # type: ignore[union-attr]
        assert state.billed_usd(self.clock.now()) <= self.usd
        until = self.clock.now() + timeout_s + self.late_s * self.share()
        for trial_id, (at, outcome, why) in sorted(self.ending.items(), key=lambda item: item[1][0]):
            if at <= until:
                self.clock.advance_to(at)
                self.bury(sink, trial_id, Ended(0, outcome, why, self.reached[trial_id], False))
                return
        kinds = ["pass", "ready", "lose", "report"] if self.n_left > 0 else ["report", "ready", "pass"]
        kind = self.data.draw(st.sampled_from(kinds)) if self.n_left > 0 else kinds[-self.n_left % 3]
        able = sorted(set(self.orders) - set(self.ending))
        if kind == "report" and able:
            self.clock.advance_to(min(until, self.clock.now() + 0.3))
            self.report(sink, able[-self.n_left % len(able)])
        elif kind == "ready" and False in self.nodes.values():
            rented_as = next(key for key, is_ready in self.nodes.items() if not is_ready)
            self.nodes[rented_as] = True
            self.news.append(NodeChange(rented_as))
        elif kind == "lose" and self.nodes:
            self.news.append(NodeChange(self.data.draw(st.sampled_from(sorted(self.nodes))), "taken away"))
            self.clock.advance_to(until)
        else:
            self.clock.advance_to(until)
        assert state.billed_usd(self.clock.now()) <= self.usd

    def report(self, sink: Sink, trial_id: int) -> None:
        order, self.reached[trial_id] = self.orders[trial_id], self.reached[trial_id] + 1
        resource, train_s = self.reached[trial_id], self.clock.now() - self.began_at[trial_id]
        verdict = sink.reported(trial_id, order.segment, Report(resource, {"error": 1.0 / resource}, train_s))
        if verdict.kind == "pause" or resource >= order.max_resource:
            saved = Saved(f"{trial_id}-{order.segment}.ckpt", "00", 0, resource, train_s)
            sink.saved(trial_id, order.segment, saved)
        if verdict.kind != "continue" or resource >= order.max_resource:
            self.bury(sink, trial_id, Ended(0, Outcome.DONE, "", resource, verdict.kind == "continue"))

    def bury(self, sink: Sink, trial_id: int, ended: Ended) -> None:
        order = self.orders.pop(trial_id)
        self.ending.pop(trial_id, None)
        sink.ended(trial_id, order.segment, ended, order.num_devices)


@given(st.data(), st.sampled_from(["rented", "own machine", "per device"]), st.floats(0.02, 2.0))
@settings(max_examples=25, deadline=None)
def test_no_interleaving_exceeds_the_budget(data: st.DataObject, kind: str, usd: float) -> None:
    study = spec(nodes=2, instance=data.draw(st.sampled_from([BOX, AWS])), spot=kind == "rented")
    if kind != "rented":
        own = Pool(instance=BOX) if kind == "own machine" else Pool("cpu", devices=2, usd_per_device_hour=36.0)
        study = dataclasses.replace(study, pool=own)
    clock, log = VirtualClock(), list[ev.Event]()
    scripted, rents = Scripted(data, clock, usd), kind == "rented"
    controller = Controller(StudyState(study), log.extend)
    scripted.controller = controller
    controller.create(0.0)
    controller.open(Limits(max_trials=5, max_cost_usd=usd), 0.0, "host", 1, "0", rents=rents)
    loop = Loop(
        controller, scripted, clock, NoFolder(), provider=scripted if rents else None, is_first_error_fatal=False,
        late_s=scripted.late_s, end_s=scripted.end_s,
    )  # fmt: skip
    done = loop.run()
    controller.close(clock.now(), ev.SessionState.PAUSED, done.reason.text)
    assert controller.state.billed_usd(clock.now()) <= usd
    assert not scripted.nodes
    if rents:
        check(study, log, usd)
