"""The ladder that a study chooses: its formula, that it is chosen once, and the first trials that train to the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.ladder_choice import (
    LadderFacts,
    _eta,
    first_rung,
    ladder_choice,
    likely_spec,
    n_first,
    weaknesses,
)
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, Hyperband, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import StudyMismatchError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, simulate
from lightning_hwtune.testing.study_driver import Driver

SPACE = SearchSpace(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
_LONG = "a ladder from 1 to 27 epochs is long for 20 trials on 4 workers: nothing"


def spec(scheduler: Scheduler, *, devices: int = 4, space: SearchSpace = SPACE, **options: Any) -> StudySpec:
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    pool = Pool("cpu", devices)
    return StudySpec("study", space, objectives, scheduler, Random(), pool, max_failures=99, **options)


def simulated(study: StudySpec, limits: Limits, **options: Any) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    curves = SyntheticCurves(study.space, study.scheduler.max_resource)
    return simulate(study, curves, limits, sink=log.extend, **options), log


@pytest.mark.parametrize(
    ("facts", "eta", "expected"),
    [
        (LadderFacts(27, None, 4), 3, 3),
        (LadderFacts(81, None, 4), 3, 9),
        (LadderFacts(52, None, 4), 3, 6),
        (LadderFacts(50, 1000, 4), 3, 6),
        (LadderFacts(10, 288, 4), 3, 2),  # 1, 3, 9, 10 would have a rung that saves one unit
        (LadderFacts(9, 100, 1), 3, 1),
        (LadderFacts(1, 100, 1), 3, 1),
        (LadderFacts(2, 100, 1), 3, 1),
        (LadderFacts(1000, None, 1), 3, 112),
        (LadderFacts(64, None, 1), 2, 16),
        (LadderFacts(100, None, 1), 10, 1),
        (LadderFacts(27, 36, 4), 3, 3),  # nine trials per worker are enough for two steps
        (LadderFacts(27, 30, 4), 3, 9),
        (LadderFacts(27, 12, 4), 3, 9),  # three are enough for one
        (LadderFacts(27, 4, 4), 3, 9),
        (LadderFacts(27, 0, 4), 3, 9),
        (LadderFacts(27, 100, 1, start_up=0.2), 3, 3),
        (LadderFacts(27, 100, 1, start_up=4.5), 3, 5),
        (LadderFacts(27, 100, 1, start_up=1e6), 3, 27),
    ],
)
def test_the_first_rung_of_the_formula(facts: LadderFacts, eta: float, expected: int) -> None:
    assert first_rung(facts, eta) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (LadderFacts(27, None, 4), 1),
        (LadderFacts(27, 1000, 4), 1),
        (LadderFacts(10, 288, 4), 1),
        (LadderFacts(27, 100, 4), 3),
        (LadderFacts(27, 60, 4), 5),
        (LadderFacts(27, 36, 4), 8),
        (LadderFacts(27, 30, 4), 8),
        (LadderFacts(27, 1, 1), 2),
        (LadderFacts(27, 0, 1), 2),
        (LadderFacts(9, 18, 1), 1),
        (LadderFacts(9, 9, 1), 2),
    ],
)
def test_the_number_of_first_trials(facts: LadderFacts, expected: int) -> None:
    assert n_first(facts, 3) == expected


@pytest.mark.parametrize(
    ("facts", "levels", "eta"),
    [
        (LadderFacts(27, None, 4), (3, 9, 27), 3),
        (LadderFacts(81, None, 4), (9, 27, 81), 3),
        (LadderFacts(52, None, 4), (6, 18, 52), 3),
        (LadderFacts(50, 1000, 4), (6, 18, 50), 3),
        (LadderFacts(10, 288, 4), (1, 3, 10), "16/5"),  # with 3 it would be 1, 3, 9, 10
        (LadderFacts(12, 288, 4), (1, 3, 12), "7/2"),
        (LadderFacts(14, 288, 4), (2, 6, 14), 3),
        (LadderFacts(20, 288, 4), (2, 6, 20), "16/5"),
        (LadderFacts(30, 288, 4), (3, 9, 30), "16/5"),
        (LadderFacts(100, 288, 4), (11, 34, 100), "31/10"),
        (LadderFacts(1000, None, 1), (111, 344, 1000), "31/10"),
        (LadderFacts(5, 288, 4), (1, 3, 5), 3),
        (LadderFacts(2, 288, 4), (1, 2), 3),
        (LadderFacts(1, 288, 4), (1,), 3),
        (LadderFacts(10, 12, 4), (3, 10), "17/5"),  # trials for one step
        (LadderFacts(27, 30, 4), (9, 27), 3),
        (LadderFacts(10, 288, 4, start_up=1.5), (2, 6, 10), 3),
        (LadderFacts(10, 288, 4, start_up=20.0), (10,), 3),
    ],
)
def test_an_open_eta_reaches_the_full_training_evenly(facts: LadderFacts, levels: tuple[int, ...], eta: Any) -> None:
    first = first_rung(facts, 3, is_eta_open=True)
    chosen = ASHA(facts.horizon, first_rung=first, eta=_eta(facts, first, is_timed=False))
    assert (chosen.levels, chosen.settings()["eta"]) == (levels, eta)
    assert _eta(facts, first, is_timed=True) == 3


@pytest.mark.parametrize("horizon", [*range(1, 30), 50, 52, 81, 100, 243, 1000])
def test_no_rung_is_just_below_the_full_training(horizon: int) -> None:
    chosen = likely_spec(spec(ASHA(horizon)), Limits()).scheduler
    *lower, top = chosen.levels
    assert len(lower) <= 2
    assert all(3 * level <= 2 * top + 2 for level in lower)


@pytest.mark.parametrize(
    ("scheduler", "settings", "n_to_end"),
    [
        (ASHA(27), {"first_rung": 3, "brackets": 1, "eta": 3}, 3),
        (ASHA(10), {"first_rung": 1, "brackets": 1, "eta": "16/5"}, 3),
        (ASHA(10, eta=3), {"first_rung": 2, "brackets": 1}, 3),
        (ASHA(27, eta=2, strict=True), {"first_rung": 7, "brackets": 1}, 0),
        (ASHA(27, type="stopping"), {"first_rung": 3, "brackets": 1, "eta": 3}, 0),
        (ASHA(max_steps=900), {"first_rung": 100, "brackets": 1, "eta": 3}, 3),
        (ASHA(27, brackets=2), {"first_rung": 3, "eta": 3}, 3),
        (ASHA(27, brackets=4), {"first_rung": 2, "eta": 3}, 3),  # four brackets need four levels
    ],
)
def test_only_what_is_open_is_chosen(scheduler: ASHA, settings: dict[str, int], n_to_end: int) -> None:
    choice = ladder_choice(spec(scheduler), Limits(max_trials=100))
    assert (choice.settings, choice.n_to_end) == (settings, n_to_end)
    whole = spec(scheduler).completed(choice.settings).scheduler
    assert not whole.open_settings
    assert whole.settings() == {**scheduler.settings(), **settings}


@pytest.mark.parametrize("limits", [{"max_time_s": 60.0}, {"max_cost_usd": 1.0}, {"max_time_s": 60.0, "max_trials": 9}])
def test_under_a_limit_of_time_or_money_no_first_trial_trains_to_the_end(limits: dict[str, Any]) -> None:
    study = dataclasses.replace(spec(ASHA(27)), pool=Pool("cpu", 2, usd_per_device_hour=1.0))
    state, _ = simulated(study, Limits(**limits))
    assert (state.n_to_end, state.to_end) == (0, set())
    assert state.trials


def test_workers_are_the_trials_that_fit_into_the_pool_at_once() -> None:
    space = SearchSpace(x=Float(0.0, 1.0), devices=NumDevices(2, 4))
    assert ladder_choice(spec(ASHA(27), devices=8, space=space), Limits()).facts.n_at_once == 4
    assert ladder_choice(spec(ASHA(27), devices=8), Limits(max_parallel=3)).facts.n_at_once == 3


@pytest.mark.parametrize(
    "scheduler", [ASHA(27, first_rung=1), ASHA(27, first_rung=2, brackets=2), Hyperband(27), RunToEnd(9)]
)
def test_a_ladder_of_the_user_stays_and_no_trial_trains_to_the_end_without_its_turn(scheduler: Scheduler) -> None:
    state, log = simulated(spec(scheduler), Limits(max_trials=12))
    assert not any(isinstance(event, ev.LadderChosen) for event in log)
    assert state.spec.scheduler == scheduler
    assert state.to_end == set()
    assert likely_spec(spec(scheduler), Limits()).scheduler == scheduler


@pytest.mark.parametrize("devices", [1, 3])
def test_the_choice_is_one_event_before_the_first_trial(devices: int) -> None:
    state, log = simulated(spec(ASHA(27), devices=devices), Limits(max_trials=40))
    [place] = [place for place, event in enumerate(log) if isinstance(event, ev.LadderChosen)]
    assert not any(isinstance(event, ev.TrialCreated) for event in log[:place])
    chosen = log[place]
    assert isinstance(chosen, ev.LadderChosen)
    assert chosen.reason.startswith(f"first_rung=3, brackets=1, chosen for 27 epochs, 40 trials on {devices} worker")
    assert state.ladder.levels == (3, 9, 27)
    assert state.race.levels == (3, 9, 27)
    again = StudyState(spec(ASHA(27), devices=devices))
    for event in log:
        again.apply(ev.from_dict(json.loads(json.dumps(ev.to_dict(event)))))
    assert (again.ladder, again.to_end, again.full) == (state.ladder, state.to_end, state.full)
    cached = facts_from_data(state.spec, json.loads(json.dumps(facts_to_data(state))))
    assert (cached.chosen, cached.to_end, cached.n_to_end) == (state.chosen, state.to_end, 1 if devices == 1 else 5)


def test_what_a_study_chose_is_not_chosen_again() -> None:
    log: list[ev.Event] = []
    controller = Controller(StudyState(spec(ASHA(27))), log.extend)
    controller.open(Limits(max_trials=40), 0.0, "host", 1, "0")
    controller.choose_ladder(0.0, start_up=5.2)
    controller.choose_ladder(1.0)
    controller.open(Limits(max_trials=4), 2.0, "host", 1, "0")
    controller.choose_ladder(2.0)
    assert controller.spec.scheduler.levels == (6, 18, 27)
    assert sum(isinstance(event, ev.LadderChosen) for event in log) == 1
    state, events = simulated(spec(ASHA(9)), Limits(max_trials=2))
    chosen = next(event for event in events if isinstance(event, ev.LadderChosen))
    with pytest.raises(ValueError, match="after the first trial"):
        state.apply(chosen)


@pytest.mark.parametrize(
    ("n_trials", "devices", "says"),
    [
        (1, 1, "1 trial on 1 worker; every trial trains to the end without a pause"),
        (4, 4, "4 trials on 4 workers; every trial trains to the end without a pause"),
        (18, 1, "18 trials on 1 worker; the first trial trains to the end without a pause"),
        (9, 1, "9 trials on 1 worker; the first 2 trials train to the end without a pause"),
    ],
)
def test_the_reason_of_a_choice_counts_its_nouns(n_trials: int, devices: int, says: str) -> None:
    choice = ladder_choice(spec(ASHA(9), devices=devices), Limits(max_trials=n_trials))
    assert choice.reason.endswith(f"chosen for 9 epochs, {says}")


@pytest.mark.parametrize(
    ("first", "then", "n_planned"),
    [
        ({"max_trials": 8}, {"max_trials": 13}, 4),
        ({"max_trials": 2}, {"max_trials": 20}, 4),  # two of the four come with the raised limit
        ({"max_trials": 8}, {"max_trials": 13, "max_time_s": 1e6}, 4),
        ({"max_trials": 2}, {"max_trials": 20, "max_time_s": 1e6}, 2),  # under a deadline, no more begin so
        ({"max_trials": 8, "max_time_s": 1e6}, {"max_trials": 13}, 0),
    ],
)
def test_the_plan_of_a_raised_limit_counts_the_trials_that_really_train_to_the_end(
    first: dict[str, Any], then: dict[str, Any], n_planned: int
) -> None:
    driver = Driver(spec(ASHA(9), devices=2), Limits(**first), curve=lambda config, epoch: config["x"] + 1 / epoch)
    driver.controller.choose_ladder(0.0)
    driver.run()
    driver.controller.open(Limits(**then), driver.now, "host", 1, "0")
    assert driver.state.n_first_planned == n_planned
    driver.run()
    assert len(driver.state.to_end) == n_planned
    assert driver.state.n_first_planned == n_planned


def test_results_from_elsewhere_are_judged_on_the_chosen_ladder() -> None:
    controller = Controller(StudyState(spec(ASHA(27))), lambda events: None)
    controller.open(Limits(max_trials=40), 0.0, "host", 1, "0")
    values = {"error": 0.5, "train_s": 1.0}
    for resource in (2, 5, 27):
        controller.state.apply(ev.ResultAdded(at=0.0, config={"x": 0.5, "y": 0.5}, values=values, resource=resource))
    controller.choose_ladder(0.0)
    assert [result.decided for result in controller.state.added] == [{3: "added"}, {3: "added"}, {27: "added"}]


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_the_first_trials_train_to_the_end_without_a_pause(devices: int) -> None:
    state, log = simulated(spec(ASHA(27), devices=devices), Limits(max_trials=36, finishers=2))
    assert state.to_end == set(range({1: 1, 2: 2, 4: 8}[devices]))
    for trial_id in state.to_end:
        trial = state.trials[trial_id]
        assert (trial.segment, trial.state, trial.resource) == (1, TrialState.COMPLETED, 27)
        assert trial.first_target == 3
    rest = [trial for trial in state.trials if trial.trial_id not in state.to_end]
    assert sum(trial.state is TrialState.COMPLETED for trial in rest) >= 2  # the first ones do not count as finishers
    created = next(event for event in log if isinstance(event, ev.TrialCreated))
    assert created.reason == "draw 0 of the random searcher; one of the first trials, which train to the end"


def test_the_first_trials_count_as_arrivals_of_their_rungs() -> None:
    state, _ = simulated(spec(ASHA(27), devices=1), Limits(max_trials=18, finishers=0))
    assert [state.trials[0].decided[level] for level in (3, 9)] == ["continue", "continue"]
    assert sum(3 in trial.decided for trial in state.trials) == 18
    assert sum(9 in trial.decided for trial in state.trials) >= 3


def test_a_first_trial_that_fails_is_replaced() -> None:
    state, _ = simulated(
        spec(ASHA(9), devices=1, max_retries=0), Limits(max_trials=18), failures=Failures(60.0, seed=3)
    )
    lost = [i for i in state.to_end if state.trials[i].state is TrialState.FAILED]
    assert lost
    assert len(state.to_end) == len(lost) + 1
    assert sorted(state.to_end) == [*lost, max(state.to_end)]


@pytest.mark.parametrize(
    ("scheduler", "limits", "says"),
    [
        (ASHA(27, first_rung=1), {"max_trials": 200}, ["trials are judged at 1 of 27 epochs"]),
        (ASHA(81, first_rung=3), {}, ["trials are judged at 3 of 81 epochs"]),
        (
            ASHA(27, first_rung=1),
            {"max_trials": 20},
            ["trials are judged at 1", _LONG],
        ),
        (
            ASHA(27, first_rung=1, brackets=2),
            {"max_trials": 20},
            [_LONG],
        ),
        (ASHA(27, first_rung=3), {"max_trials": 200}, []),
        (ASHA(9, first_rung=1), {"max_trials": 40}, []),
        (ASHA(27, first_rung=27), {"max_trials": 4}, []),
        (ASHA(27), {"max_trials": 4}, []),
        (ASHA(27, first_rung=1), {"max_time_s": 60.0}, []),  # what would be chosen under such a limit
        (ASHA(81, first_rung=1), {"max_trials": 200, "max_cost_usd": 1.0}, []),
        (Hyperband(27), {"max_trials": 4}, []),
        (RunToEnd(27), {"max_trials": 4}, []),
    ],
)
def test_what_is_weak_about_a_ladder_of_the_user(scheduler: Scheduler, limits: dict[str, Any], says: list[str]) -> None:
    found = list(weaknesses(spec(scheduler), Limits(**limits)))
    assert len(found) == len(says)
    assert all(text.startswith(begin) for text, begin in zip(found, says, strict=True))


def train(trial: Any) -> None:
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if trial.report(epoch, loss=(trial["x"] - 0.3) ** 2 + 1 / epoch).kind != "continue":
            trial.save(epoch)
            return


def study(folder: Path, **changes: Any) -> hwt.Study:
    arguments: dict[str, Any] = {"max_epochs": 27, "pool": hwt.Pool("cpu", 1), **changes}
    return hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], dir=folder, **arguments)


SAME: dict[str, Callable[[], dict[str, Any]]] = {
    "the same call": dict,
    "a scheduler": lambda: {"max_epochs": None, "scheduler": hwt.ASHA(27)},
    "open settings": lambda: {"max_epochs": None, "scheduler": hwt.ASHA(27, first_rung=None, brackets=None)},
    "the chosen values": lambda: {"max_epochs": None, "scheduler": hwt.ASHA(27, first_rung=9, brackets=1)},
    "by name": lambda: {"max_epochs": None, "scheduler": {"name": "asha", "max_epochs": 27}},
    "more devices": lambda: {"pool": hwt.Pool("cpu", 2)},
}


@pytest.mark.training
@pytest.mark.parametrize("same", SAME)
def test_later_limits_and_devices_never_change_the_choice(tmp_path: Path, same: str) -> None:
    first = study(tmp_path)
    assert first.spec.scheduler == hwt.ASHA(27)
    first.run(train, max_trials=3, executor="inline", progress=False)
    assert first.spec.scheduler.levels == (9, 27)
    again = study(tmp_path, **SAME[same]())
    assert again.spec.scheduler.levels == (9, 27)
    again.run(train, max_trials=12, executor="inline", progress=False)
    assert again.state().ladder.levels == (9, 27)
    assert hwt.Study.load("s", tmp_path).spec.scheduler.settings() == hwt.ASHA(27, first_rung=9).settings()
    assert sum(isinstance(event, ev.LadderChosen) for event in again.events()) == 1
    with pytest.raises(StudyMismatchError, match="first_rung"):
        study(tmp_path, max_epochs=None, scheduler=hwt.ASHA(27, first_rung=3))


@pytest.mark.training
def test_ask_and_tell_chooses_too(tmp_path: Path) -> None:
    asked = study(tmp_path, pool=hwt.Pool("cpu", 2))  # one trial at a time, whatever the pool has
    trial = asked.ask(progress=False)
    assert trial is not None
    train(trial)
    asked.tell(trial)
    asked.close()
    assert asked.spec.scheduler.levels == (3, 9, 27)
    assert asked.state().n_full == 1
    assert asked.state().n_to_end == 1


def test_a_log_whose_ladder_is_complete_is_read_as_it_is() -> None:
    stored = spec(ASHA(27, first_rung=1)).to_dict()
    assert StudySpec.from_dict(stored).scheduler.levels == (1, 3, 9, 27)
    assert stored["scheduler"]["brackets"] == 1
    given = spec(ASHA(27))
    assert StudySpec.from_dict(stored).differences(given) == {}
    assert dataclasses.replace(given, scheduler=ASHA(27, first_rung=3)).differences(StudySpec.from_dict(stored))
