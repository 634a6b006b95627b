from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, default_curve, rebuilt_state, snapshot, space, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.decisions import Done, Pause, Reservation, Resume, Start, Wait
from lightning_hwtune.core.hardware.policies import DoublingAllocation
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, RunToEnd, SuccessiveHalving
from lightning_hwtune.core.searchers import Grid
from lightning_hwtune.core.segment_outcome import MOST_LOST_NODES
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError, IllegalMoveError, MetricError


def test_a_study_ends_with_the_trials_and_the_finishers_it_was_asked_for() -> None:
    driver = Driver(spec(), Limits(max_trials=20, finishers=4))
    done = driver.run()
    assert done.reason.rule == "limit:max_trials"
    assert len(driver.state.trials) == 20
    assert driver.state.n_full >= 4
    assert {trial.num_devices for trial in driver.state.trials if trial.state is TrialState.COMPLETED} == {1, 2}
    spent = sum(segment.epochs for segment in driver.state.segments)
    assert spent < 20 * 9 / 2


def test_replaying_the_log_gives_the_live_state_and_the_same_next_answer() -> None:
    study = spec()
    driver = Driver(study, Limits(max_trials=12))
    for _ in range(25):
        if isinstance(driver.fill(), Done):
            break
        driver.step()
        again = rebuilt_state(study, driver.log)
        assert snapshot(again) == snapshot(driver.state)


def test_a_killed_and_replayed_study_goes_on_and_keeps_its_totals() -> None:
    study = spec()
    log: list[ev.Event] = []
    driver = Driver(study, Limits(max_trials=15), log=log)
    moments = random.Random(0)
    for _ in range(5000):
        if isinstance(driver.fill(), Done):
            break
        driver.step()
        if moments.random() < 0.05:
            driver = Driver(study, Limits(max_trials=15), log=log)
    assert len(driver.state.trials) == 15
    assert driver.state.n_full >= 4
    assert not driver.state.running
    assert all(trial.n_retries == 0 for trial in driver.state.trials)
    decided = [(e.trial_id, e.level) for e in log if isinstance(e, ev.Reported) and e.level is not None]
    assert len(decided) == len(set(decided))


def test_a_many_device_trial_keeps_its_turn_until_its_devices_have_drained() -> None:
    study = spec(space=SearchSpace(x=Choice([1, 2, 3, 4]), devices=NumDevices(1, 2)))
    driver = Driver(study, Limits(max_trials=None), curve=lambda c, e: c["x"] / e)
    driver.controller.enqueue({"x": 1, "devices": 1}, 0.0)
    driver.controller.enqueue({"x": 2, "devices": 2}, 0.0)
    driver.controller.enqueue({"x": 3, "devices": 1}, 0.0)
    answer = driver.fill()
    assert isinstance(answer, Wait)
    assert answer.reserved == 2
    assert sorted(driver.state.running) == [0]  # trial 2 must not overtake trial 1
    driver.step()
    driver.fill()
    assert 1 in driver.state.running


def test_a_reservation_is_in_the_log_once_until_its_candidate_begins() -> None:
    study = spec(space=SearchSpace(x=Choice([1, 2, 3, 4]), devices=NumDevices(1, 2)))
    driver = Driver(study, Limits(max_trials=None), curve=lambda c, e: c["x"] / e)
    driver.controller.enqueue({"x": 1, "devices": 1}, 0.0)
    driver.controller.enqueue({"x": 2, "devices": 2}, 0.0)
    driver.fill()
    driver.fill()
    [event] = [event for event in driver.log if isinstance(event, ev.DevicesReserved)]
    assert (event.trial_id, event.draw, event.allocation) == (None, None, Allocation(2))
    reserved = Reservation(None, None, Allocation(2), 0, None, "", "")
    assert rebuilt_state(study, driver.log).reserved == driver.state.reserved == reserved
    driver.step()
    driver.fill()
    assert driver.state.trials[1].num_devices == 2
    assert driver.state.reserved is None


def test_a_question_writes_nothing_and_its_reservation_is_written_by_a_step() -> None:
    study = spec(space=SearchSpace(x=Choice([1, 2, 3, 4]), devices=NumDevices(1, 2)))
    driver = Driver(study, Limits(max_trials=None), curve=lambda c, e: c["x"] / e)
    for devices in (1, 2):
        driver.controller.enqueue({"x": devices, "devices": devices}, 0.0)
    driver.begin(driver.controller.ask(driver.now, 2))  # type: ignore[arg-type]
    n_events = len(driver.log)
    answer = driver.controller.ask(driver.now, 1)
    assert answer == driver.controller.ask(driver.now, 1)
    assert (len(driver.log), driver.state.reserved) == (n_events, None)
    driver.controller.reserve(answer, driver.now)
    driver.controller.reserve(answer, driver.now)
    assert len(driver.log) == n_events + 1
    assert driver.state.reserved == answer.reservation


def test_a_reservation_that_is_not_due_any_more_is_taken_back_in_the_log() -> None:
    study = spec(space=SearchSpace(x=Choice([1, 2, 3, 4]), devices=NumDevices(1, 2)))
    driver = Driver(study, Limits(max_trials=None), curve=lambda c, e: c["x"] / e)
    for devices in (1, 2):
        driver.controller.enqueue({"x": devices, "devices": devices}, 0.0)
    driver.fill()
    driver.close()
    again = Driver(study, Limits(max_trials=1), curve=driver.curve, log=driver.log)  # no second trial may be made
    assert again.state.reserved is not None
    again.fill()
    assert again.state.reserved is None
    assert any(isinstance(event, ev.DevicesReserved) and event.allocation is None for event in again.log)


def test_a_log_whose_trials_have_no_device_count_says_it_by_their_configurations() -> None:
    study = spec()
    driver = Driver(study, Limits(max_trials=4))
    driver.fill()
    created = [event for event in driver.log if isinstance(event, ev.TrialCreated)]
    assert [event.allocation.devices for event in created] == [event.config["devices"] for event in created]
    old = [{k: v for k, v in ev.to_dict(event).items() if k not in ("form", "allocation")} for event in created]
    state = StudyState(study)
    for data in old:
        state.apply(ev.from_dict(data))
    assert [trial.num_devices for trial in state.trials] == [event.allocation.devices for event in created]


def test_devices_that_drain_are_filled_with_work_that_ends_in_time() -> None:
    study = spec(space=SearchSpace(x=Choice(list(range(40))), devices=NumDevices(1, 2)), scheduler=ASHA(max_epochs=27))
    driver = Driver(study, Limits(max_trials=30), curve=lambda c, e: c["x"] + 1 / e)
    overtaken, waited = False, 0
    while not isinstance(driver.fill(), Done):
        overtaken = overtaken or bool(driver.state.skipped)
        waited += driver.free
        driver.step()
    assert overtaken
    assert not driver.state.skipped
    assert len(driver.state.trials) == 30
    draws = sorted(event.draw for event in driver.log if isinstance(event, ev.TrialCreated))
    assert draws == list(range(30))  # overtaken draws keep their places


def test_limits_are_totals_that_pause_and_can_be_raised() -> None:
    study, log = spec(), []
    first = Driver(study, Limits(max_trials=10, max_time_s=4.0), log=log)
    done = first.run()
    assert done.reason.rule == "limit:max_time"
    assert first.now <= 4.0
    first.close()
    assert any(trial.state is TrialState.PAUSED for trial in first.state.trials)
    second = Driver(study, Limits(max_trials=10, max_time_s=1000.0), log=log)
    assert second.run().reason.rule == "limit:max_trials"
    assert len(second.state.trials) == 10


def test_the_ledger_never_exceeds_the_budget() -> None:
    driver = Driver(spec(), Limits(max_trials=50, max_cost_usd=0.012))  # 12 device-seconds at 3.6 USD an hour
    assert driver.run().reason.rule == "limit:max_cost"
    assert driver.state.billed_usd(driver.now) <= 0.012 + 1e-12


def test_a_pause_for_a_limit_is_not_a_verdict_of_the_rung() -> None:
    log: list[ev.Event] = []
    study = spec(
        scheduler=RunToEnd(max_epochs=9),
        devices=1,
        space=SearchSpace(x=Choice([1])),
        objectives=Objectives(Metric("error", "min")),
    )
    driver = Driver(study, Limits(max_trials=1, max_time_s=3.0), curve=lambda c, e: 1 / e, log=log)
    driver.run()
    [trial] = driver.state.trials
    assert trial.state is TrialState.PAUSED
    assert 0 < trial.resource < 9
    driver.close()
    driver = Driver(study, Limits(max_trials=1), curve=lambda c, e: 1 / e, log=log)
    driver.run()
    assert driver.state.trials[0].state is TrialState.COMPLETED
    assert driver.state.trials[0].last.train_s == pytest.approx(9.0)


def test_nan_is_never_promoted_and_the_study_goes_on() -> None:
    def curve(config, epoch):
        return math.nan if config["lr"] > 0.003 else default_curve(config, epoch)

    driver = Driver(spec(), Limits(max_trials=20), curve=curve)
    driver.run()
    diverged = [trial for trial in driver.state.trials if trial.config["lr"] > 0.003]
    assert diverged
    assert all(trial.resource == 1 for trial in diverged)


def test_an_error_is_retried_from_the_checkpoint_then_fails() -> None:
    driver = Driver(spec(max_retries=1), Limits(max_trials=1))
    driver.fill()
    [trial_id] = driver.state.running
    driver.end(trial_id, "error", "boom")
    trial = driver.state.trials[trial_id]
    assert trial.state is TrialState.WAITING
    driver.fill()
    assert driver.state.running[trial_id].number == 2
    driver.end(trial_id, "error", "boom again")
    assert trial.state is TrialState.FAILED
    assert trial.error == "boom again"
    assert driver.state.n_failed == 1


@pytest.mark.parametrize("reports_between", [False, True])
def test_a_lost_node_is_no_retry_but_a_trial_that_ends_its_nodes_fails(reports_between: bool) -> None:
    driver = Driver(spec(max_retries=0), Limits(max_trials=1))
    for n in range(1, MOST_LOST_NODES + 1):
        driver.fill()
        if reports_between and n == 2:  # new work, so neither this node nor the one before it counts
            driver.controller.report(0, 1, {"error": 1.0}, 1.0, driver.now)
            driver.save(0, 1, 1.0)
        driver.end(0, "node-lost", "node a gave no heartbeat")
    trial = driver.state.trials[0]
    assert trial.n_retries == 0
    if reports_between:
        assert (trial.state, trial.n_lost_nodes) == (TrialState.PAUSED, MOST_LOST_NODES - 2)
    else:
        assert (trial.state, trial.n_lost_nodes) == (TrialState.FAILED, MOST_LOST_NODES)
        assert trial.error == "4 nodes in a row were lost while they trained this trial, without new work: " + (
            "node a gave no heartbeat"
        )
    assert snapshot(rebuilt_state(driver.state.spec, driver.log)) == snapshot(driver.state)


def test_too_many_failures_end_the_study() -> None:
    driver = Driver(spec(max_retries=0, max_failures=2), Limits(max_trials=20))
    for _ in range(2):
        driver.fill()
        driver.end(next(iter(driver.state.running)), "error", "boom")
    while driver.state.running:
        driver.end(next(iter(driver.state.running)), "interrupted")
    answer = driver.controller.ask(driver.now, 2)
    assert isinstance(answer, Done)
    assert answer.reason.rule == "max-failures"


def test_out_of_memory_moves_to_more_devices_and_then_fits_nowhere() -> None:
    driver = Driver(spec(), Limits(max_trials=5))
    driver.controller.enqueue({"lr": 0.01, "batch_size": 64, "devices": 1}, 0.0)
    driver.fill()
    driver.end(0, "out-of-memory", "CUDA out of memory")
    assert driver.state.trials[0].num_devices == 2
    assert driver.state.trials[0].state is TrialState.WAITING
    while 0 not in driver.state.running:
        driver.fill()
        if 0 not in driver.state.running:
            driver.step()
    assert driver.state.running[0].num_devices == 2
    driver.end(0, "out-of-memory", "CUDA out of memory")
    assert driver.state.trials[0].state is TrialState.OUT_OF_MEMORY


def begun(driver: Driver) -> int:
    """Begins what the controller says; returns the trial."""
    decision = driver.controller.ask(driver.now, driver.free)
    assert isinstance(decision, Start | Resume)
    slots = range(decision.num_devices)
    return driver.controller.begin(decision, slots, driver.now).trial_id


def reported(driver: Driver, trial_id: int, resource: int, error: float, train_s: float = 1.0) -> str:
    return driver.controller.report(trial_id, resource, {"error": error}, train_s, driver.now).kind


def one_device(**kwargs: Any) -> StudySpec:
    return spec(space=SearchSpace(x=Float(0.0, 1.0)), objectives=Objectives([Metric("error", "min")]), **kwargs)


def test_a_training_that_ends_by_itself_stands_at_the_higher_rungs_only() -> None:
    driver = Driver(one_device(scheduler=ASHA(max_steps=1000, type="stopping")), Limits(max_trials=1))
    trial_id = begun(driver)
    assert reported(driver, trial_id, 100, 0.5) == "continue"
    driver.controller.tell(trial_id, driver.now, "done")
    trial = driver.state.trials[trial_id]
    assert trial.state is TrialState.COMPLETED
    assert set(trial.decided) == {81, 243, 729, 1000}


def test_a_trial_that_is_stopped_between_rungs_is_no_full_training() -> None:
    driver = Driver(one_device(scheduler=ASHA(max_steps=1000, type="stopping")), Limits(max_trials=2))
    first, second = begun(driver), begun(driver)
    assert reported(driver, first, 100, 0.1) == "continue"
    assert reported(driver, second, 100, 0.9) == "stop"
    driver.controller.tell(second, driver.now, "done")
    assert driver.state.trials[second].state is TrialState.STOPPED
    assert not driver.state.full


def test_a_diverged_full_training_is_no_finisher() -> None:
    driver = Driver(one_device(scheduler=ASHA(max_epochs=3)), Limits(max_trials=4, finishers=1))
    configs = [driver.controller.spec.searcher.propose(driver.controller.spec.space, i, 0, None) for i in range(4)]
    best, second = sorted(range(4), key=lambda i: configs[i]["x"])[:2]
    driver.curve = lambda config, epoch: math.nan if epoch == 3 and config == configs[best] else config["x"]
    driver.run()
    assert driver.state.trials[best].state is TrialState.COMPLETED
    assert driver.state.full == {second}


def test_out_of_memory_moves_on_to_a_count_by_which_the_batch_divides() -> None:
    space = SearchSpace(batch_size=Choice([6]), devices=NumDevices(1, 2, 4))
    driver = Driver(spec(space=space, devices=4), Limits(max_trials=1))
    driver.controller.enqueue({"batch_size": 6, "devices": 1}, driver.now)
    for devices in (1, 2):
        trial = driver.state.trials[begun(driver)]
        assert trial.num_devices == devices
        driver.controller.tell(trial.trial_id, driver.now, "out-of-memory")
    assert trial.state is TrialState.OUT_OF_MEMORY


@pytest.mark.parametrize(("first", "kind"), [(100, "pause"), (50, "continue")])
def test_a_limit_looks_ahead_as_far_as_the_next_report(first: int, kind: str) -> None:
    driver = Driver(one_device(scheduler=RunToEnd(max_steps=1000)), Limits(max_trials=1, max_time_s=190.0))
    trial_id = begun(driver)
    driver.now = driver.now + first
    assert reported(driver, trial_id, first, 0.5, train_s=float(first)) == kind


def test_a_wrong_decision_never_comes_into_the_log() -> None:
    driver = Driver(one_device(scheduler=ASHA(max_epochs=3)), Limits(max_trials=1))
    trial_id = begun(driver)
    reported(driver, trial_id, 1, 0.5)
    driver.controller.saved(trial_id, "0.ckpt", "00", 1, 1, 1.0, driver.now)
    driver.controller.tell(trial_id, driver.now, "done")
    decision = driver.controller.ask(driver.now, driver.free)
    assert isinstance(decision, Resume)
    driver.controller.begin(decision, [0], driver.now)
    n_events = len(driver.log)
    with pytest.raises(IllegalMoveError, match="trial 0 is running"):
        driver.controller.begin(decision, [1], driver.now)
    assert len(driver.log) == n_events


def test_a_training_that_never_reports_fails() -> None:
    driver = Driver(spec(), Limits(max_trials=6))
    driver.fill()
    trial_id = next(iter(driver.state.running))
    driver.controller.tell(trial_id, driver.now, "done")
    assert driver.state.trials[trial_id].state is TrialState.FAILED
    assert "without reporting error" in driver.state.trials[trial_id].error


def test_measures_are_cumulative_over_segments_and_devices() -> None:
    study = spec()
    driver = Driver(study, Limits(max_trials=20))
    driver.run()
    for trial in driver.state.trials:
        for measurement in trial.measurements:
            per_epoch = 1.0 / trial.num_devices**0.5
            assert measurement.train_s == pytest.approx(measurement.resource * per_epoch)
            assert measurement.device_s == pytest.approx(measurement.train_s * trial.num_devices)
            assert measurement.values["cost_usd"] == pytest.approx(measurement.device_s * 0.001)


def test_a_missing_objective_is_told_and_nothing_is_written() -> None:
    driver = Driver(spec(), Limits(max_trials=6))
    driver.fill()
    n_events = len(driver.log)
    with pytest.raises(MetricError, match="error"):
        driver.controller.report(0, 1, {"val_error": 0.1}, 1.0, driver.now)
    assert len(driver.log) == n_events


def test_reports_of_trials_that_do_not_run_are_illegal() -> None:
    driver = Driver(spec(), Limits(max_trials=6))
    with pytest.raises(IllegalMoveError):
        driver.controller.report(0, 1, {"error": 0.1}, 1.0, 0.0)


def test_every_decision_in_the_log_has_a_reason() -> None:
    driver = Driver(spec(), Limits(max_trials=15))
    driver.run()
    for event in driver.log:
        if isinstance(event, ev.Reported | ev.SegmentStarted):
            assert event.rule
            assert event.reason


def test_the_same_seed_gives_the_same_log() -> None:
    logs = []
    for _ in range(2):
        driver = Driver(spec(seed=5), Limits(max_trials=15))
        driver.run()
        logs.append([ev.to_dict(event) for event in driver.log])
    assert logs[0] == logs[1]
    other = Driver(spec(seed=6), Limits(max_trials=15))
    other.run()
    assert [ev.to_dict(event) for event in other.log] != logs[0]


def test_an_exhausted_grid_ends_the_study() -> None:
    study = spec(searcher=Grid(), space=SearchSpace(x=Choice([1, 2, 3]), devices=NumDevices(1, 2)))
    driver = Driver(study, Limits(), curve=lambda c, e: c["x"] / e)
    assert driver.run().reason.rule == "exhausted"
    assert len(driver.state.trials) == 6


def test_a_lost_checkpoint_restarts_from_scratch_and_says_so() -> None:
    driver = Driver(spec(), Limits(max_trials=20))
    while not isinstance(driver.fill(), Done):
        driver.step()
        for trial in driver.state.trials:
            if trial.state is TrialState.PAUSED:
                driver.controller.removed(trial.trial_id, trial.checkpoint.path, "disk budget", driver.now)
                assert trial.state is TrialState.WAITING
    resumed = [segment for segment in driver.state.segments if segment.number > 1]
    assert resumed
    assert {segment.resource for segment in resumed} == {0}
    assert driver.state.n_full >= 4
    assert any("from scratch" in note.text for note in driver.state.notes)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"space": SearchSpace(x=Choice([1]), devices=NumDevices(1, 4))}, "pool"),
        (
            {"space": SearchSpace(x=Choice([1])), "objectives": Objectives([TrainSeconds(), Cost()])},
            "device count is fixed",
        ),
        (
            {
                "space": SearchSpace(lr=Float(0, 1)),
                "objectives": Objectives([TrainSeconds(), DeviceSeconds()]),
                "allocation": DoublingAllocation(),
            },
            "all of them are given at 1 device",
        ),
        ({"objectives": Objectives([DeviceSeconds(), Cost()])}, "not both"),
        ({"batch": "local"}, "per_device"),
        ({"seed": -1}, "seed"),
        ({"max_failures": 0}, "max_failures"),
    ],
)
def test_a_spec_whose_parts_do_not_fit_is_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        spec(**kwargs)


def test_a_stored_spec_tells_what_may_not_change() -> None:
    stored = spec()
    given = spec(scheduler=ASHA(max_epochs=27), space=SearchSpace(lr=space()["lr"], devices=NumDevices(1, 2)), seed=1)
    differences = stored.differences(given)
    assert differences["scheduler.max_epochs"] == (9, 27)
    assert differences["seed"] == (0, 1)
    assert "space.batch_size" in differences
    assert stored.differences(type(stored).from_dict(stored.to_dict())) == {}


def test_pause_verdicts_name_rank_and_quota() -> None:
    driver = Driver(spec(), Limits(max_trials=10))
    driver.run()
    pauses = [event for event in driver.log if isinstance(event, ev.Reported) and event.verdict == Pause.kind]
    assert pauses
    assert all("rung" in event.reason for event in pauses)


def test_a_note_about_the_whole_study_comes_once_also_after_a_replay() -> None:
    driver = Driver(spec(), Limits(max_trials=1))
    say = driver.controller.note_once
    for text, topic in [("a", ""), ("a", ""), ("b", ""), ("c 1", "c"), ("c 2", "c"), ("a", "c")]:
        say(text, topic, driver.now)
    driver.controller.note(0, "a", driver.now)  # a trial's own notes are its own
    driver.controller.note(0, "a", driver.now)
    told = [(note.trial_id, note.text) for note in driver.state.notes]
    assert told == [(None, "a"), (None, "b"), (None, "c 1"), (0, "a"), (0, "a")]
    assert rebuilt_state(driver.state.spec, driver.log).topics == driver.state.topics == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("saves", "outcome", "state", "retries"),
    [(True, "lost", "paused", 0), (False, "lost", "waiting", 1), (True, "error", "paused", 1)],
)
def test_a_process_that_dies_after_its_pause_was_saved_costs_the_trial_nothing(
    saves: bool, outcome: str, state: str, retries: int
) -> None:
    driver = Driver(spec(), Limits(max_trials=1, finishers=0))
    driver.fill()
    verdict = driver.controller.report(0, 1, {"error": 1.0}, 1.0, driver.now)
    assert verdict.kind == "pause"
    if saves:
        driver.save(0, 1, 1.0)
    driver.end(0, outcome, "rank 0 was killed by SIGSEGV")
    trial = driver.state.trials[0]
    assert (trial.state, trial.n_retries) == (state, retries)
    assert "SIGSEGV" in driver.log[-1].error


@pytest.mark.parametrize("outcome", ["lost", "node-lost", "interrupted"])
@pytest.mark.parametrize(("saves", "state"), [(True, "completed"), (False, "waiting")])
def test_a_process_that_ends_after_its_complete_training_was_saved_leaves_it_complete(
    outcome: str, saves: bool, state: str
) -> None:
    driver = Driver(spec(), Limits(max_trials=1, finishers=0))
    driver.fill()
    driver.controller.report(0, 9, {"error": 1.0}, 9.0, driver.now)
    if saves:
        driver.save(0, 9, 9.0)
    driver.end(0, outcome, "rank 0 was killed by SIGSEGV")
    trial = driver.state.trials[0]
    assert (trial.state, trial.n_retries) == (state, 1 if outcome == "lost" and not saves else 0)
    assert "SIGSEGV" in driver.log[-1].error


@pytest.mark.parametrize("outcome", ["lost", "interrupted"])
@pytest.mark.parametrize(("is_end", "state"), [(True, "completed"), (False, "paused")])
def test_a_process_that_dies_after_its_training_ended_by_itself_at_a_rung_leaves_the_trial_complete(
    outcome: str, is_end: bool, state: str
) -> None:
    driver = Driver(spec(), Limits(max_trials=1, finishers=0))
    driver.fill()
    assert driver.controller.report(0, 1, {"error": 1.0}, 1.0, driver.now).kind == "pause"
    driver.save(0, 1, 1.0, is_end=is_end)
    driver.end(0, outcome, "rank 0 was killed by SIGSEGV")
    trial = driver.state.trials[0]
    assert (trial.state, trial.n_retries, trial.resource) == (state, 0, 1)


def test_a_report_after_a_pause_gets_the_same_answer_and_is_not_in_the_log() -> None:
    driver = Driver(spec(), Limits(max_trials=1, finishers=0))
    driver.fill()
    answers = [driver.controller.report(0, epoch, {"error": 1.0}, 1.0, driver.now) for epoch in (1, 2, 9)]
    assert [answer.kind for answer in answers] == ["pause"] * 3
    assert "verdict for this segment was pause at 1" in answers[2].reason.text
    assert [event.resource for event in driver.log if isinstance(event, ev.Reported)] == [1]


@pytest.mark.parametrize(("reached_end", "state"), [(False, TrialState.PAUSED), (True, TrialState.COMPLETED)])
def test_a_training_that_ended_by_itself_where_it_was_to_pause_is_complete(
    reached_end: bool, state: TrialState
) -> None:
    driver = Driver(spec(scheduler=ASHA(max_epochs=9)), Limits(max_trials=2))
    driver.fill()
    controller = driver.controller
    assert isinstance(controller.report(0, 1, {"error": 0.5}, 1.0, 1.0), Pause)
    controller.saved(0, "path", "digest", 1, 1, 1.0, 1.0)
    assert controller.tell(0, 1.0, "done", reached_end=reached_end) is state


def _ignores_its_pauses(driver: Driver, trial_id: int) -> None:
    """Trains a running trial to its end past every pause, and writes the events of release 0.1.0 about it.

    That release took reports after a pause, and told the scheduler nothing of them.
    """
    segment, trial, is_paused = driver.state.running[trial_id], driver.state.trials[trial_id], False
    train_s = segment.train_s
    for resource in range(segment.reached + 1, driver.controller.race.max_resource + 1):
        train_s, driver.now = train_s + 1.0, driver.now + 1.0
        metrics = driver.metrics(dict(trial.config), resource)
        if not is_paused:
            is_paused = driver.controller.report(trial_id, resource, metrics, train_s, driver.now).kind == "pause"
            continue
        late = ev.Reported(
            at=driver.now, trial_id=trial_id, segment=segment.number, resource=resource, values=metrics,
            train_s=train_s, device_s=train_s, level=None, verdict="continue", rule="between-rungs", reason="",
            target=trial.target,
        )  # fmt: skip
        driver.log.append(late)
        driver.state.apply(late)
    driver.due.pop(trial_id, None)
    end = ev.SegmentEnded(
        at=driver.now, trial_id=trial_id, segment=segment.number, outcome="done", state="completed", error="",
        world_size=1, wall_s=train_s, device_s=train_s, billed_usd=0.0, next_allocation=segment.allocation,
    )  # fmt: skip
    driver.log.append(end)
    driver.state.apply(end)


@pytest.mark.parametrize("ignoring", [{0}, {0, 1, 2}, {1, 3}, set(range(6))], ids=str)
@pytest.mark.parametrize(
    "scheduler",
    [
        ASHA(max_epochs=9, first_rung=1),
        ASHA(max_epochs=9, first_rung=1, strict=True),
        ASHA(max_epochs=9, first_rung=1, brackets=2),
        PASHA(max_epochs=9),
        SuccessiveHalving(max_epochs=9),
        Hyperband(max_epochs=9),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_study_with_trials_that_trained_on_after_a_pause_continues(scheduler: Any, ignoring: set[int]) -> None:
    objectives = Objectives([Metric("error", "min")])
    study = spec(scheduler=scheduler, objectives=objectives, devices=1, space=SearchSpace(lr=Float(1e-4, 1e-1)))
    order = dict[float, int]()  # the earlier a trial begins the better it is, so later arrivals promote it

    def curve(config: dict[str, Any], epoch: int) -> float:
        return order.setdefault(config["lr"], len(order)) + 1 / (epoch + 1)

    driver = Driver(study, Limits(max_trials=6), curve)
    while not isinstance(driver.fill(), Done):
        [trial_id] = driver.state.running
        if trial_id in ignoring:
            _ignores_its_pauses(driver, trial_id)
        else:
            driver.step()
    trials = driver.state.trials
    assert all(trials[trial_id].state is TrialState.COMPLETED for trial_id in ignoring if trial_id < len(trials))
    assert max(segment.number for segment in driver.state.segments if segment.trial_id in ignoring) == 1
    again = Driver(study, Limits(max_trials=8), curve, log=list(driver.log))
    again.run()
    assert len(again.state.trials) == 8
