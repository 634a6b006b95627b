"""A loss that is not finite ends what a trial was cleared to do: no devices are spent on it any further."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, Scheduler, SuccessiveHalving
from lightning_hwtune.core.space import Choice, SearchSpace
from lightning_hwtune.core.spec import Limits


def _study(scheduler: Scheduler, n: int = 9) -> Any:
    return spec(
        scheduler=scheduler,
        space=SearchSpace(x=Choice(list(range(n)))),
        objectives=Objectives([Metric("error", "min")]),
        devices=1,
    )


def _started(driver: Driver, rule: str) -> list[ev.SegmentStarted]:
    return [event for event in driver.log if isinstance(event, ev.SegmentStarted) and event.rule == rule]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_finisher_that_diverges_is_paused_and_another_takes_its_place(bad: float) -> None:
    diverged: set[int] = set()

    def curve(config: dict[str, Any], epoch: int) -> float:
        finisher = driver.state.running and next(iter(driver.state.running.values())).rule == "finisher"
        if finisher and (not diverged or config["x"] in diverged):
            diverged.add(config["x"])
            return bad
        return float(config["x"])

    study = _study(ASHA(max_epochs=81))
    driver = Driver(study, Limits(max_trials=9, finishers=2), curve)
    driver.run()
    finishers = _started(driver, "finisher")
    (loser,) = {event.trial_id for event in finishers if driver.state.trials[event.trial_id].config["x"] in diverged}
    assert [event.trial_id for event in finishers].count(loser) == 1
    assert not [event for event in _started(driver, "unfinished") if event.trial_id == loser]
    assert driver.state.trials[loser].state is TrialState.PAUSED
    assert driver.state.n_full == 2
    assert loser not in driver.state.full
    told = [event for event in driver.log if isinstance(event, ev.Reported) and event.rule == "not-finite"]
    assert [(event.trial_id, event.verdict, event.target) for event in told] == [(loser, "pause", told[0].level)]
    assert "its earlier promotion to 81 is withdrawn" in told[0].reason
    assert snapshot(rebuilt_state(study, driver.log)) == snapshot(driver.state)


@pytest.mark.parametrize(
    "scheduler",
    [
        ASHA(max_epochs=27),
        ASHA(max_epochs=27, type="stopping"),
        PASHA(max_epochs=27),
        SuccessiveHalving(max_epochs=27),
        Hyperband(max_epochs=27),
        MedianStopping(max_epochs=27, first_rung=3, every=3),
    ],
    ids=lambda scheduler: scheduler.name,
)
def test_no_trial_trains_beyond_the_rung_where_it_diverged(scheduler: Scheduler) -> None:
    def curve(config: dict[str, Any], epoch: int) -> float:
        return math.nan if epoch >= 2 + config["x"] % 7 and config["x"] % 2 else float(config["x"])

    driver = Driver(_study(scheduler, 27), Limits(max_trials=27, finishers=6), curve)
    driver.run()
    for trial in driver.state.trials:
        first_bad = next((m.resource for m in trial.measurements if not math.isfinite(m.values["error"])), None)
        if first_bad is not None:
            first = max(first_bad, driver.state.race.first_target(trial.bracket))
            assert trial.resource <= next(level for level in scheduler.levels if level >= first)
    assert driver.state.n_full >= 6 or scheduler.name in ("median_stopping",) or not scheduler.pauses


def test_a_log_in_which_a_diverged_trial_went_on_replays_as_it_was() -> None:
    study = _study(ASHA(max_epochs=9))
    driver = Driver(study, Limits(max_trials=1, finishers=1), lambda config, epoch: 1.0)
    driver.run()
    old = [
        ev.from_dict({**ev.to_dict(event), "values": {"error": math.nan}})
        if isinstance(event, ev.Reported) and event.resource == 3
        else event
        for event in driver.log
    ]
    state = rebuilt_state(study, old)
    assert state.trials[0].state is TrialState.COMPLETED
    assert state.trials[0].decided == {1: "pause", 3: "continue", 9: "stop"}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_best_value_does_not_keep_a_diverged_training_alive(bad: float) -> None:
    study = spec(
        scheduler=ASHA(max_epochs=27),
        space=SearchSpace(x=Choice(list(range(9)))),
        objectives=Objectives([Metric("error", "min", best=True)]),
        devices=1,
    )
    driver = Driver(study, Limits(max_trials=9, finishers=2), lambda c, e: bad if e >= 5 and c["x"] == 0 else c["x"])
    driver.run()
    (loser,) = [trial for trial in driver.state.trials if trial.config["x"] == 0]
    assert loser.resource == 9
    assert loser.state is TrialState.PAUSED
    assert [m.values["error"] for m in loser.measurements] == [0.0] * len(loser.measurements)
    assert driver.state.n_full == 2
    assert snapshot(rebuilt_state(study, driver.log)) == snapshot(driver.state)
