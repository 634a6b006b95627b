"""What is still to come, where it can be worked out: exactly, or as frequencies."""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, spec

from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.early_ends import EarlyEnds
from lightning_hwtune.core.likely_values import LikelyValues
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.outlook import cheaply_drawn, outlook
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.schedulers import ASHA, Hyperband, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import TPE, History
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec

ONE = Objectives([Metric("error", "min")])
SPACE = SearchSpace(x=Float(0, 1))


def alone(scheduler: Scheduler, devices: int = 1) -> StudySpec:
    """A study whose segments take no start-up and one second per epoch, one device each."""
    return spec(scheduler=scheduler, devices=devices, space=SPACE, objectives=ONE)


def curve(config: dict[str, float], epoch: int) -> float:
    return config["x"] + 1.0 / epoch


class EndsEarly(Driver):
    """Every trial ends by itself at this epoch, as with EarlyStopping."""

    last = 5

    def epoch(self, trial_id: int) -> None:
        super().epoch(trial_id)
        if trial_id in self.state.running and self.state.running[trial_id].reached == self.last:
            self.end(trial_id, "done")


def left_s(driver: Driver) -> float:
    return outlook(driver.state, driver.now, SeenPaces(driver.state)).left_s


@pytest.mark.parametrize("scheduler", [ASHA(max_epochs=27), Hyperband(max_epochs=27), RunToEnd(9)])
@pytest.mark.parametrize("devices", [1, 2])
def test_where_only_finishers_are_left_every_second_is_known(scheduler: Scheduler, devices: int) -> None:
    driver = Driver(alone(scheduler, devices), Limits(max_trials=9, finishers=3), curve)
    forecasts, n_steps = [], 0
    while not isinstance(driver.fill(), Done):
        trials = [driver.state.trials[trial_id] for trial_id in driver.state.running]
        is_drawn = len(driver.state.trials) == 9
        n_steps += 1
        if is_drawn and n_steps % 4 == 0 and all(trial.target == driver.state.race.max_resource for trial in trials):
            forecasts.append((driver.now, left_s(driver)))
        driver.step()
    assert len(forecasts) > 1
    for at, seconds in forecasts:
        assert at + seconds == pytest.approx(driver.now, abs=1.0)  # a report of another trial may be due at this time


@pytest.mark.parametrize("last", [4, 5, 8])
def test_trials_that_end_by_themselves_are_expected_to_do_so_again(last: int) -> None:
    driver = EndsEarly(alone(RunToEnd(30)), Limits(max_trials=20), curve)
    driver.last = last
    for _ in range(5 * last):
        driver.fill()
        driver.step()
    assert len(driver.state.full) == 5
    begun, seconds = driver.now, left_s(driver)
    while not isinstance(driver.fill(), Done):
        driver.step()
    assert driver.now - begun == 15 * last
    assert 15 * last / 1.5 < seconds < 15 * last * 1.5


def test_the_chance_to_end_is_that_of_each_interval_and_the_deepest_known_one_counts_above() -> None:
    driver = EndsEarly(alone(ASHA(max_epochs=27, eta=3)), Limits(max_trials=9), curve)
    while len(driver.state.full) < 1:
        driver.fill()
        driver.step()
    ends = EarlyEnds(driver.state, np.random.default_rng(0))
    assert [ends.draw(0, 1), ends.draw(1, 3)] == [None, None]  # no trial ended before rung 3
    n_there = sum(min(max(trial.resource - 3, 0), 6) for trial in driver.state.trials)
    for begin, level in [(3, 9), (9, 27)]:
        drawn = [ends.draw(begin, level) for _ in range(2000)]
        share = sum(at == begin + 1 for at in drawn) / len(drawn)
        assert share == pytest.approx(1 / n_there, abs=0.05)
        assert all(at is None or begin < at < level for at in drawn)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_a_further_trial_takes_every_place_among_the_known_ones_equally_often(n: int) -> None:
    driver = Driver(alone(ASHA(max_epochs=9)), Limits(max_trials=n, finishers=0), curve)
    while not isinstance(driver.fill(), Done):
        driver.step()
    known = sorted(trial.measurements[0].values["error"] for trial in driver.state.trials)
    drawn = LikelyValues(driver.state, np.random.default_rng(0))
    places = Counter(int(np.searchsorted(known, drawn.draw(1)["error"])) for _ in range(4000))
    assert set(places) == set(range(n + 1))
    assert all(count / 4000 == pytest.approx(1 / (n + 1), abs=0.04) for count in places.values())


def test_several_objectives_depend_on_each_other_as_in_the_study_and_nan_stays_as_rare() -> None:
    objectives = Objectives([Metric("error", "min"), Metric("size", "min")])
    driver = Driver(spec(devices=1, space=SPACE, objectives=objectives), Limits(max_trials=12, finishers=0), curve)

    def report(trial_id: int) -> None:
        x = driver.state.trials[trial_id].config["x"]
        values = {"error": x if trial_id else math.nan, "size": 1.0 - x}
        driver.controller.report(trial_id, 1, values, 1.0, driver.now)
        driver.save(trial_id, 1, 1.0)
        driver.end(trial_id, "done")

    for _ in range(12):
        driver.controller.begin(driver.controller._next_action.new_trials.next(), [0], driver.now)
        report(len(driver.state.trials) - 1)
    likely = LikelyValues(driver.state, np.random.default_rng(0))
    drawn = [likely.draw(1) for _ in range(2000)]
    finite = [(values["error"], values["size"]) for values in drawn if math.isfinite(values["error"])]
    assert 1 - len(finite) / len(drawn) == pytest.approx(1 / 12, abs=0.02)
    assert np.corrcoef(np.array(finite).T)[0, 1] < -0.9
    unknown = [likely.draw(9)["error"] for _ in range(500)]
    assert 0.0 <= min(unknown) < 0.1
    assert 0.9 < max(unknown) <= 1.0
    own = [likely.draw(1, like=3)["size"] for _ in range(200)]
    assert np.std(own) < np.std([size for _, size in finite])


@pytest.mark.parametrize(
    ("limits", "most_s"),
    [({"max_time_s": 30.0}, 30.0), ({"max_cost_usd": 0.02}, 20.0), ({"max_time_s": 25.0, "max_cost_usd": 0.03}, 25.0)],
)
def test_a_limit_that_comes_first_ends_the_forecast(limits: dict[str, float], most_s: float) -> None:
    driver = Driver(alone(RunToEnd(9)), Limits(max_trials=12, **limits), curve)
    for _ in range(10):
        driver.fill()
        driver.step()
    seconds = left_s(driver)
    assert seconds == pytest.approx(most_s - driver.now)


def test_what_a_searcher_came_to_draw_is_expected_of_it_further_on() -> None:
    of_tpe = spec(scheduler=RunToEnd(1), searcher=TPE(), devices=1, space=SPACE, objectives=ONE)
    driver = Driver(of_tpe, Limits(max_trials=100), curve)
    while len(driver.state.trials) < 40:
        driver.fill()
        driver.step()
    newest = {trial.config["x"] for trial in driver.state.trials[-14:]}
    cheap = cheaply_drawn(driver.state).spec.searcher
    history = History(driver.state.searched, ONE)
    drawn = [cheap.propose(SPACE, draw, seed=0, history=history) for draw in range(200)]
    share = sum(config is not None and config["x"] in newest for config in drawn) / 200
    assert share == pytest.approx(0.7, abs=0.08)
