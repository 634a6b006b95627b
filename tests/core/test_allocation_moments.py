"""Policies that change devices while a study runs: capacity, turns, restarts, and the moments they are asked with."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_driver import Driver, rebuilt_state, spec

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Resume, Rule, Start, Wait
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, RunToEnd, Scheduler
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError

SPACE = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True))
BATCHES = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True), batch_size=hwt.Choice([12, 18]))
SCHEDULERS: list[Scheduler] = [
    ASHA(max_epochs=9, first_rung=1),
    ASHA(max_epochs=9),
    ASHA(max_epochs=9, first_rung=1, type="stopping"),
    PASHA(max_epochs=9),
    Hyperband(max_epochs=9),
    MedianStopping(max_epochs=9),
]


@dataclass(frozen=True)
class Mixed(hwt.AllocationPolicy):
    """Any count, by the numbers of a moment: it grows and shrinks, waits, and reads every field that can decide."""

    salt: int = 0

    def counts(self, space: Any, pool: Any) -> Any:
        return tuple(range(1, pool.size + 1))

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(1 + round(config["lr"] * 1e6) % min(2, pool.size) * (self.salt % 2))

    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        fields = (
            moment.trial_id,
            moment.resource,
            moment.target,
            moment.n_running,
            moment.n_waiting,
            moment.n_new or 0,
        )
        seconds = sum(pace.unit_s for pace in moment.paces.values())
        number = self.salt + sum(fields) + round(seconds * 1000) + moment.free
        return hwt.Allocation(moment.counts[number % len(moment.counts)])


def study(scheduler: Scheduler, policy: hwt.AllocationPolicy, devices: int, space: Any = SPACE) -> StudySpec:
    objectives = Objectives([hwt.Metric("error", "min"), hwt.TrainSeconds()])
    return spec(scheduler=scheduler, devices=devices, space=space, objectives=objectives, allocation=policy)


def used(driver: Driver) -> int:
    return sum(segment.num_devices for segment in driver.state.running.values())


@given(
    scheduler=st.sampled_from(SCHEDULERS),
    devices=st.integers(1, 5),
    salt=st.integers(0, 1000),
    limit=st.sampled_from([{}, {"max_time_s": 7.0}, {"max_cost_usd": 0.02}]),
    troubles=st.lists(st.sampled_from(list(Outcome)), max_size=6),
    space=st.sampled_from([SPACE, BATCHES]),
)
@settings(max_examples=15, deadline=None)
def test_no_study_exceeds_the_pool_or_gets_stuck_and_a_restart_decides_alike(
    scheduler: Scheduler, devices: int, salt: int, limit: dict[str, float], troubles: list[Outcome], space: Any
) -> None:
    policy = Mixed(salt) if salt % 4 else hwt.DoublingAllocation()
    made = study(scheduler, policy, devices, space)
    driver = Driver(made, Limits(max_trials=5, **limit))
    for number in range(600):
        answer = driver.controller.ask(driver.now, driver.free)
        if number % 5 == 0:
            assert NextAction(rebuilt_state(made, driver.log)).ask(driver.now, driver.free) == answer
        driver.controller.reserve(answer, driver.now)
        if isinstance(answer, Done):
            break
        if isinstance(answer, Start | Resume):
            driver.begin(answer)
            assert used(driver) <= devices
            trial = driver.state.trials[answer.trial_id]
            assert trial.config.get("batch_size", 0) % answer.num_devices == 0
        elif troubles and number % 3 == 0:
            driver.end(min(driver.due), troubles.pop(), "trouble")
        else:
            before = rebuilt_state(made, driver.log) if number % 5 == 0 else None
            place, (trial_id, at) = len(driver.log), next_due(driver)
            driver.step()
            if before is not None and isinstance(report := driver.log[place], ev.Reported):
                again: list[ev.Event] = []
                metrics = driver.metrics(dict(before.trials[trial_id].config), report.resource)
                segment = before.running[trial_id]
                train_s = (report.resource - segment.resource) * driver.epoch_s(segment.num_devices)
                Controller(before, again.extend).report(trial_id, report.resource, metrics, train_s, at)
                assert ev.to_dict(again[0]) == ev.to_dict(report)
    else:
        raise AssertionError("the study did not end")
    assert not driver.state.running


def next_due(driver: Driver) -> tuple[int, float]:
    trial_id = min(driver.due, key=lambda i: (driver.due[i], i))
    return trial_id, max(driver.now, driver.due[trial_id])


@pytest.mark.parametrize("kind", ["promotion", "stopping"])
def test_a_trial_that_passes_a_rung_pauses_and_resumes_on_more_devices_before_other_work(kind: str) -> None:
    made = study(ASHA(max_epochs=9, first_rung=1, eta=3, type=kind), hwt.DoublingAllocation(), 4)
    driver = Driver(made, Limits(max_trials=12))
    driver.run(2000)
    moved = 0
    for place, event in enumerate(driver.log):
        if not isinstance(event, ev.Reported) or event.next_allocation is None:
            continue
        moved += 1
        assert (event.verdict, event.rule) == ("pause", "devices")
        rest = driver.log[place:]
        resumed = next(e for e in rest if isinstance(e, ev.SegmentStarted) and e.trial_id == event.trial_id)
        assert resumed.allocation == event.next_allocation
        assert (resumed.resource, resumed.target, resumed.rule) == (event.resource, event.target, "devices")
        between = [e for e in rest[: rest.index(resumed)] if isinstance(e, ev.SegmentStarted)]
        waiting = {e.trial_id for e in driver.log[:place] if isinstance(e, ev.Reported) and e.next_allocation}
        reserved = {e.trial_id for e in rest[: rest.index(resumed)] if isinstance(e, ev.DevicesReserved)}
        overtaken = [e for e in between if e.trial_id not in waiting and e.rule != "devices"]
        assert not overtaken or event.trial_id in reserved  # only what fits while devices drain for it
    assert moved > 0
    assert {segment.num_devices for segment in driver.state.segments} == {1, 2, 4}


@dataclass(frozen=True)
class Steps(hwt.AllocationPolicy):
    """Two devices once a trial passes its first rung, or as many as given."""

    devices: int = 2
    answer: Any = "devices"

    def counts(self, space: Any, pool: Any) -> Any:
        return tuple(range(1, self.devices + 1))

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(1)

    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        answer: hwt.Allocation = hwt.Allocation(self.devices) if self.answer == "devices" else self.answer
        return answer


def pausing(devices: int = 3, target: int = 2) -> Driver:
    """A study in which trial 0 pauses to continue on more devices, while its segment has not ended yet."""
    made = study(ASHA(max_epochs=9, first_rung=3, eta=3, type="stopping"), Steps(target), devices)
    driver = Driver(made, Limits(max_trials=9, max_parallel=devices))
    for _ in range(2):
        answer = driver.controller.ask(driver.now, driver.free)
        assert isinstance(answer, Start)
        driver.begin(answer)
    driver.now = 3.0
    verdict = driver.controller.report(0, 3, {"error": 1.0}, 3.0, driver.now)
    assert (verdict.kind, verdict.reason.rule) == ("pause", "devices")
    return driver


def test_free_devices_are_kept_for_a_trial_that_is_still_pausing() -> None:
    driver = pausing()
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Wait)
    assert answer.reason.rule == Rule.DEVICES
    driver.save(0, 3, 3.0)
    driver.end(0, Outcome.DONE)
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Resume)
    assert (answer.trial_id, answer.num_devices, answer.target) == (0, 2, 9)
    assert str(answer.reason) == "it continues on 2 devices instead of 1"


def test_devices_that_are_not_needed_for_it_are_used() -> None:
    driver = pausing(devices=4)
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Start)


@pytest.mark.parametrize(
    ("outcome", "devices"), [(Outcome.LOST, 2), (Outcome.INTERRUPTED, 2), (Outcome.OUT_OF_MEMORY, 3)]
)
def test_a_move_survives_what_ends_its_segment_and_a_restart(outcome: Outcome, devices: int) -> None:
    """Out of memory on one device: two would do, and the policy has already chosen three."""
    driver = pausing(4, target=devices)
    facts = facts_from_data(driver.state.spec, facts_to_data(driver.state))
    assert facts.running[0].moves_to == hwt.Allocation(devices)
    again = Driver(driver.state.spec, driver.limits, log=list(driver.log))  # ends what was running as interrupted
    for state in (driver.state, again.state):
        if 0 in state.running:
            driver.end(0, outcome, "trouble")
        assert state.trials[0].allocation == hwt.Allocation(devices)
        assert state.trials[0].state is TrialState.WAITING


def test_a_limit_at_a_rung_does_not_lose_the_devices_that_the_policy_gave() -> None:
    made = study(ASHA(max_epochs=9, first_rung=3, eta=3, type="stopping"), Steps(), 2)
    driver = Driver(made, Limits(max_trials=1, max_time_s=5.0))
    driver.fill()
    driver.now = 4.9
    verdict = driver.controller.report(0, 3, {"error": 1.0}, 4.9, driver.now)
    assert (verdict.kind, verdict.reason.rule) == ("pause", "limit:max_time")
    driver.save(0, 3, 4.9)
    driver.end(0, Outcome.DONE)
    assert driver.state.trials[0].allocation == hwt.Allocation(2)


def test_paces_are_measured_where_the_trial_has_trained_and_else_a_guess() -> None:
    asked: list[hwt.Moment] = []
    made = study(ASHA(max_epochs=9, first_rung=3, eta=3, type="stopping"), Steps(), 4)
    driver = Driver(made, Limits(max_trials=1))
    driver.fill()
    driver.controller._next_action._moments._policy = Spy(made.allocator, asked)  # type: ignore[assignment]
    driver.controller.report(0, 3, {"error": 1.0}, 6.0, 6.0)
    (moment,) = asked
    assert moment.paces[1] == hwt.ExpectedPace(2.0, True)
    assert moment.paces[2].unit_s == pytest.approx(2.0 / 2**0.8)
    assert not moment.paces[2].is_measured
    assert (moment.resource, moment.target, moment.levels, moment.n_rungs) == (3, 9, (3, 9), 1)
    assert (moment.counts, moment.free, moment.n_running, moment.n_new) == ((1, 2), 4, 0, 0)
    assert moment.left_s == moment.left_usd == moment.left_device_s == math.inf
    assert moment.seconds(1) == 12.0
    with pytest.raises(KeyError):
        moment.paces[3]


class Spy:
    """The allocator of a study, which keeps the moments that it is asked with."""

    is_elastic = True

    def __init__(self, allocator: Any, asked: list[hwt.Moment]) -> None:
        self.allocator, self.asked = allocator, asked

    def dividing(self, *asked: Any) -> tuple[int, ...]:
        return tuple(self.allocator.dividing(*asked))

    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        self.asked.append(moment)
        return moment.allocation


@pytest.mark.parametrize("answer", [hwt.Allocation(3), hwt.Allocation(5), hwt.Allocation(2, nodes=2), 2, None])
def test_an_answer_that_is_not_a_dividing_count_of_this_pool_is_refused(answer: Any) -> None:
    made = study(RunToEnd(9), dataclasses.replace(Steps(), answer=answer), 4, BATCHES.constrained(None))
    moment = dataclasses.replace(MOMENT, counts=(1, 2))
    with pytest.raises(ArgumentError, match=r"Steps\.next"):
        made.allocator.next(moment)
    assert made.allocator.next(dataclasses.replace(moment, allocation=answer)) == answer  # it stays where it is


MOMENT = hwt.Moment(
    trial_id=0, config={}, allocation=hwt.Allocation(1), first=hwt.Allocation(1), resource=3, target=9, levels=(3, 9),
    rule="front", is_running=True, space=SPACE, pool=hwt.Pool("cpu", 4), counts=(1, 2, 4), free=4, paces={},
    left_s=math.inf, left_usd=math.inf, left_device_s=math.inf, n_running=0, n_waiting=0, n_new=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "devices"),
    [
        ({}, 2),
        ({"resource": 0}, 1),
        ({"resource": 30, "levels": (1, 3, 9, 27, 81)}, 4),
        ({"counts": (1, 4)}, 1),
        ({"counts": (1,)}, 1),
        ({"counts": (1, 4), "levels": (1, 3, 9)}, 4),
        ({"allocation": hwt.Allocation(4)}, 4),  # it ran out of memory on fewer
    ],
)
def test_devices_double_at_rungs_up_to_the_largest_dividing_count(changed: dict[str, Any], devices: int) -> None:
    moment = dataclasses.replace(MOMENT, **changed)
    assert hwt.DoublingAllocation().next(moment) == hwt.Allocation(devices)


@pytest.mark.parametrize(
    ("policy", "pool", "counts"),
    [
        (hwt.DoublingAllocation(), 8, (1, 2, 4, 8)),
        (hwt.DoublingAllocation(), 7, (1, 2, 4)),
        (hwt.DoublingAllocation(max_devices=2), 8, (1, 2)),
        (hwt.DoublingAllocation(3), 8, (3, 6)),
        (hwt.DoublingAllocation(factor=3), 9, (1, 3, 9)),
        (hwt.DoublingAllocation(), 1, (1,)),
    ],
)
def test_counts_of_doubling(policy: hwt.AllocationPolicy, pool: int, counts: tuple[int, ...]) -> None:
    assert policy.counts(SPACE, hwt.Pool("cpu", pool)) == counts


@pytest.mark.parametrize("policy", [hwt.DoublingAllocation(), Mixed(), Steps()])
def test_a_searched_number_of_devices_is_refused_with_a_policy_that_changes_it(policy: hwt.AllocationPolicy) -> None:
    space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1), devices=hwt.NumDevices(1, 2))
    with pytest.raises(ArgumentError, match="leave out one of the two"):
        study(RunToEnd(9), policy, 2, space)
    with pytest.raises(ArgumentError, match="global batch size"):
        spec(
            scheduler=RunToEnd(9),
            space=SPACE,
            allocation=policy,
            batch="per_device",
            objectives=Objectives([hwt.Metric("error", "min")]),
        )


@pytest.mark.parametrize(
    "wrong", [{"max_devices": 1, "devices": 2}, {"factor": 1}, {"devices": 0}, {"max_devices": 2.5}]
)
def test_wrong_settings_of_doubling_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        hwt.DoublingAllocation(**wrong)


def promoted(**limit: float) -> Driver:
    """A study with one trial that was promoted to four devices, trained for 3 s on one of five devices."""
    made = study(ASHA(max_epochs=9, first_rung=3, eta=3, type="stopping"), Steps(4), 5)
    driver = Driver(made, Limits(max_trials=1, **limit))
    driver.fill()
    for _ in range(3):
        driver.step()
    assert driver.state.trials[0].allocation == hwt.Allocation(4)
    return driver


@pytest.mark.parametrize(
    ("limit", "devices"),
    [
        ({}, 4),
        ({"max_cost_usd": 1.0}, 4),
        ({"max_time_s": 1000.0}, 4),
        # 1.8 device-seconds are left; a report takes 1.0 on one device, 1.3 on four, and half as much is kept back
        ({"max_cost_usd": 0.0048}, 1),
        ({"max_time_s": 3.8}, 4),  # a report takes 0.3 s on four devices, and 1 s on one
    ],
)
def test_a_trial_keeps_its_devices_if_more_of_them_cannot_be_paid(limit: dict[str, float], devices: int) -> None:
    driver = promoted(**limit)
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Resume)
    assert answer.num_devices == devices
    driver.begin(answer)
    assert used(driver) == devices


def test_under_a_limit_a_finisher_does_not_wait_for_more_devices() -> None:
    driver = promoted(max_time_s=1000.0)
    action = driver.controller._next_action
    finisher = Resume(0, hwt.Allocation(4), 9, 3, hwt.Reason(Rule.FINISHER, "first"))
    for free, devices in ((5, 4), (4, 4), (3, 1), (1, 1)):
        option = action._payable(finisher, free, driver.now)
        assert option is not None
        assert option.num_devices == devices
