from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_study import begin, make_spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, RunToEnd
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.views.status import rung_forecast, status_entry
from lightning_hwtune.views.tables import rung_words_of

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))
from study_driver import Driver, spec


def test_the_status_says_how_many_devices_are_drained():
    driver = Driver(spec(), Limits(max_trials=None))
    for devices in (1, 2):
        driver.controller.enqueue({"lr": 0.01 * devices, "batch_size": 64, "devices": devices}, 0.0)
    driver.fill()
    n_events = len(driver.log)
    assert status_entry(driver.state, 1.0, 0)["reserved_devices"] == 2
    assert status_entry(driver.state, 1.0, 0, is_driven=False)["reserved_devices"] == 0
    assert len(driver.log) == n_events


def test_the_status_of_the_paper_study(paper):
    entry = status_entry(paper.state, 99.0, 123)
    expected = {
        "study": "paper",
        "state": "finished",
        "reason": "4 trials",
        "ladder": "",
        "trials": 4,
        "max_trials": 4,
        "trials_by_state": {
            "waiting": 0, "running": 0, "paused": 1, "completed": 2, "stopped": 0, "failed": 1, "out-of-memory": 0,
        },
        "unit": "epochs",
        "epochs_spent": 1 + 1 + 1 + 3 + 8 + 8,  # of trial 1, epochs 2 to 4 were trained twice
        "epochs_repeated": 3,
        "epochs_full": 4 * 9,
        "segments": 8,
        "running_segments": 0,
        "promotions": 2,  # trial 1 at 1 and 3; trial 0 is a finisher
        "promotions_at_once": 1,
        "resumed_segments": 3,
        "resumed_by": {"promotion": 1, "finisher": 1, "devices": 0, "interruption": 1},
        "reports_once": False,
        "max_ranks_seen": 2,
        "failed": 1,
        "failed_first": [],
        "retried": 2,
        "checkpoints_bytes": 123,
        "fully_trained": 2,
        "finishers": 2,
        "front_size": 2,
        "added_results": 0,
        "reserved_devices": 0,
    }  # fmt: skip
    assert {key: entry[key] for key in expected} == expected
    assert entry["wall_s"] == pytest.approx(20.0)
    # 1.2 + 1.3 + 2 x 1.0 + 4.0 + 8.5 + 4.2 + 2 x 1.0 + 2 x 1.0
    assert entry["device_s"] == pytest.approx(25.2)
    assert entry["cost_usd"] == pytest.approx(0.0252)
    # 5.0 + 9.0 + 2 x 0.8
    assert entry["useful_device_s"] == pytest.approx(15.6)
    assert entry["useful_cost_usd"] == pytest.approx(0.0156)
    assert set(entry) == {
        *expected,
        "wall_s",
        "time_left_s",
        "time_left_range_s",
        "device_s",
        "cost_usd",
        "useful_device_s",
        "useful_cost_usd",
    }


def test_a_running_study_counts_up_to_now(empty):
    empty.create(2.0, 0, 0.01, 2)
    empty.start(2.0, 0, [0, 1])
    entry = status_entry(empty.state, 5.0, 0)
    assert (entry["state"], entry["wall_s"], entry["device_s"]) == ("running", 5.0, 6.0)
    assert entry["cost_usd"] == pytest.approx(0.006)
    assert entry["running_segments"] == 1


def test_a_study_whose_process_was_killed_stands_still(empty):
    empty.create(2.0, 0, 0.01, 2)
    empty.start(2.0, 0, [0, 1])
    empty.report(4.0, 0, 1, 0.5, 1.0, level=1, verdict="continue", target=3)
    entry = status_entry(empty.state, 1000.0, 0, is_driven=False)
    assert (entry["state"], entry["wall_s"], entry["device_s"]) == ("interrupted", 4.0, 4.0)


def test_a_killed_study_says_so_and_a_running_one_has_no_reason(empty):
    assert status_entry(empty.state, 9.0, 0)["reason"] == ""
    assert status_entry(empty.state, 9.0, 0, is_driven=False)["reason"].startswith("its process was killed")


def test_without_a_price_there_is_no_cost(empty):
    pool, objectives = Pool("cpu", 2), Objectives([Metric("error", "min")])
    entry = status_entry(begin(make_spec(pool=pool, objectives=objectives)).state, 1.0, 0)
    assert entry["cost_usd"] is None
    assert entry["useful_cost_usd"] is None


def _n_promoted(driver):
    """Returns how often a rung promoted a trial, from the events alone."""
    top, rules = driver.controller.race.max_resource, {"finisher", "survivor"}
    reports = [e for e in driver.log if isinstance(e, ev.Reported) and e.level is not None and e.level < top]
    promoted = {(e.trial_id, e.level) for e in reports if e.verdict == "continue" and e.rule == "promotion"}
    starts = [e for e in driver.log if isinstance(e, ev.SegmentStarted) and e.promoted_from is not None]
    return len(promoted | {(e.trial_id, e.promoted_from) for e in starts if e.rule not in rules})


def test_trials_that_continue_because_the_time_is_short_are_not_promoted():
    """One second per epoch, one device, and a finisher of 27 epochs; at least one of the limits has survivors."""
    survived = []
    for max_time_s in (25.0, 33.0, 40.0, 90.0):
        space, objectives = SearchSpace(lr=Float(1e-4, 1e-1, log=True)), Objectives([Metric("error", "min")])
        study = spec(space=space, objectives=objectives, devices=1, scheduler=ASHA(max_epochs=27, first_rung=1))
        driver = Driver(study, Limits(max_time_s=max_time_s))
        driver.run()
        words = rung_words_of(driver.state)
        left = [(s.trial_id, s.promoted_from) for s in driver.state.segments if s.rule == "survivor"]
        survived += [words[trial_id][level] for trial_id, level in left]
        assert status_entry(driver.state, driver.now, 0)["promotions"] == _n_promoted(driver)
    assert set(survived) == {"paused"}


@given(st.integers(1, 25), st.integers(0, 4), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_counts_are_those_of_the_log(n_trials, finishers, seed):
    driver = Driver(spec(seed=seed, max_failures=1000), Limits(max_trials=n_trials, finishers=finishers))
    n_steps = 0
    while not isinstance(driver.fill(), Done):
        if n_steps % 7 == 6:
            driver.end(min(driver.state.running), "error", "boom")
        else:
            driver.step()
        n_steps += 1
    driver.close()
    entry = status_entry(driver.state, driver.now, 0)

    def of(kind):
        return [event for event in driver.log if isinstance(event, kind)]

    last = {e.trial_id: e for e in of(ev.SegmentEnded)}
    n_bad = sum(e.outcome == "error" for e in of(ev.SegmentEnded))
    assert entry["epochs_spent"] == len(of(ev.Reported))
    assert entry["segments"] == len(of(ev.SegmentStarted))
    assert entry["resumed_segments"] == sum(e.checkpoint is not None for e in of(ev.SegmentStarted))
    assert sum(entry["resumed_by"].values()) == entry["resumed_segments"]
    assert 0 <= entry["promotions_at_once"] <= entry["promotions"] == _n_promoted(driver)
    assert entry["failed"] == sum(e.state == "failed" for e in last.values())
    assert entry["retried"] == n_bad - entry["failed"]
    assert entry["device_s"] == pytest.approx(sum(e.device_s for e in of(ev.SegmentEnded)))
    assert entry["cost_usd"] == pytest.approx(sum(e.billed_usd for e in of(ev.SegmentEnded)))
    assert sum(entry["trials_by_state"].values()) == entry["trials"]
    assert entry["trials_by_state"]["completed"] == entry["fully_trained"]


def test_the_forecast_of_the_demo():
    forecast = rung_forecast(ASHA(max_epochs=27), 60, 4)
    assert forecast["rungs"] == [
        {"rung": 1, "trials": 60, "finishers": 0},
        {"rung": 3, "trials": 20, "finishers": 0},
        {"rung": 9, "trials": 6, "finishers": 2},
        {"rung": 27, "trials": 2, "finishers": 0},
    ]
    # 60 x 1 + 20 x 2 + 6 x 6 + 2 x 18, and two more from 9 to 27
    assert forecast["epochs"] == 172 + 36
    assert forecast["epochs_full"] == 1620
    assert forecast["bound"] == "at least"  # the order of a rung shifts while trials arrive
    assert forecast["fully_trained"] == 4


def test_finishers_come_from_the_deepest_rungs_that_have_trials_left():
    forecast = rung_forecast(ASHA(max_epochs=9), 5, 4)  # 5, 1, 0: the one at 3 and three of those at 1
    assert [rung["finishers"] for rung in forecast["rungs"]] == [3, 1, 0]
    assert forecast["epochs"] == 5 + 2 + 3 * 8 + 1 * 6
    assert forecast["fully_trained"] == 4


def test_first_trials_are_no_finishers():
    forecast = rung_forecast(ASHA(max_epochs=9, first_rung=3), 8, 3, 4)
    # of the two best of eight, one is expected to be one of the first four; the others pass the rung as well
    assert forecast["rungs"] == [{"rung": 3, "trials": 8, "finishers": 2}, {"rung": 9, "trials": 5, "finishers": 0}]
    assert forecast["fully_trained"] == 4 + 3
    assert forecast["epochs"] == 8 * 3 + 7 * 6
    assert rung_forecast(ASHA(max_epochs=9, first_rung=3), 4, 3, 4)["fully_trained"] == 4  # no other trial is left
    assert rung_forecast(ASHA(max_epochs=9, first_rung=3), 5, 3, 4)["fully_trained"] == 5


@pytest.mark.parametrize("n_trials", [8, 13, 24])
def test_as_many_are_fully_trained_as_the_forecast_says(n_trials):
    found, forecast = [], {}
    for seed in range(6):
        driver = Driver(spec(seed=seed), Limits(max_trials=n_trials))
        driver.controller.choose_ladder(0.0)
        driver.run()
        state = driver.state
        forecast = rung_forecast(state.spec.scheduler, n_trials, state.limits.n_finishers, state.n_first_planned)
        found.append(state.n_full)
    assert forecast["to_end"] > 0
    assert min(found) >= forecast["fully_trained"]  # "at least": the order of a rung shifts while trials arrive
    assert sum(found) / len(found) <= forecast["fully_trained"] + 1.5


def test_no_more_finishers_than_trials():
    assert rung_forecast(ASHA(max_epochs=9), 3, 10)["fully_trained"] == 3
    assert rung_forecast(ASHA(max_epochs=9), 3, 10)["epochs"] == 27
    assert rung_forecast(ASHA(max_epochs=9), 3, 10)["bound"] == ""  # nothing is left that could be more


def test_the_forecast_says_what_it_is_of_what_will_be():
    bounds = {
        ASHA(9, strict=True): "",
        ASHA(9, type="stopping"): "about",
        Hyperband(9, type="asynchronous"): "at least",
        Hyperband(9): "",
        MedianStopping(9): "at most",
        PASHA(9): "about",
    }
    assert [rung_forecast(scheduler, 30)["bound"] for scheduler in bounds] == list(bounds.values())


def test_running_to_the_end_has_one_rung():
    forecast = rung_forecast(RunToEnd(max_epochs=5), 7, 4)
    assert forecast["rungs"] == [{"rung": 5, "trials": 7, "finishers": 0}]
    assert forecast["epochs"] == forecast["epochs_full"] == 35
