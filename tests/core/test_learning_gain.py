"""New trials of a searcher that learns are expected to be better than known ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, spec

from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.learning_gain import LearningGain
from lightning_hwtune.core.likely_values import LikelyValues
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.outlook import outlook
from lightning_hwtune.core.pace import Pace, SeenPaces
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE, Grid, Random, Searcher, Sobol
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState

SPACE = SearchSpace(x=Float(0, 1))


def study(searcher: Searcher, mode: str = "min") -> StudySpec:
    objectives = Objectives([Metric("error", mode)])
    return spec(scheduler=ASHA(max_epochs=27), searcher=searcher, space=SPACE, objectives=objectives, devices=1)


def driven(spec: StudySpec, n: int) -> Driver:
    driver = Driver(spec, Limits(max_trials=n, finishers=0), lambda config, epoch: config["x"])
    while not isinstance(driver.fill(), Done):
        driver.step()
    return driver


@pytest.mark.parametrize("searcher", [Random(), Sobol(), Grid(3)])
@pytest.mark.parametrize("n_known", [0, 1])
def test_without_memory_all_trials_are_equally_good(searcher: Searcher, n_known: int) -> None:
    state = driven(study(searcher), n_known).state if n_known else StudyState(study(searcher))
    gain = LearningGain(state, 20)
    assert {gain.rank_factor(trial_id) for trial_id in range(40)} == {1.0}


@pytest.mark.parametrize("n_known", [0, 1, 6])
def test_a_learning_searcher_gets_better_from_trial_to_trial(n_known: int) -> None:
    state = driven(study(Random()), n_known).state if n_known else StudyState(study(TPE()))
    state.spec = study(TPE())
    gain = LearningGain(state, 20)
    factors = [gain.rank_factor(trial_id) for trial_id in range(20)]
    assert factors[:n_known] == [1.0] * n_known  # they are as they were measured
    assert factors == sorted(factors, reverse=True)
    assert 0.0 < factors[-1] < 0.5
    assert gain.rank_factor(99) > 0.0  # more trials than were expected


def test_several_objectives_share_the_gain() -> None:
    """As many known trials are within reach by all of three independent objectives as by a single one."""
    state, n_trials = StudyState(study(TPE())), 20
    one = LearningGain(state, n_trials)
    state.spec = spec(searcher=TPE(), objectives=Objectives([Metric(name, "min") for name in "abc"]))
    three = LearningGain(state, n_trials)
    places = np.random.default_rng(0).random((100_000, 3))  # of the known trials, from the best one
    for trial_id in (0, 10, 19):
        beaten = [bool(row) for row in (places < three.rank_factor(trial_id)).all(axis=1)]
        assert np.mean(beaten) == pytest.approx(one.rank_factor(trial_id), abs=0.01)


@pytest.mark.parametrize(("mode", "place"), [("min", 0.25), ("max", 0.75)])
@pytest.mark.parametrize("n_known", [0, 12])
def test_draws_are_as_much_nearer_to_the_best_value(mode: str, place: float, n_known: int) -> None:
    """A rank factor of one half puts all new trials into the better half, whose middle is at a quarter."""
    state = driven(study(Random(), mode), n_known).state if n_known else StudyState(study(Random(), mode))
    known = sorted(trial.measurements[0].values["error"] for trial in state.trials)
    likely = LikelyValues(state, np.random.default_rng(0))
    drawn = [likely.draw(1, rank_factor=0.5)["error"] for _ in range(2000)]
    places = [float(np.searchsorted(known, value)) / n_known for value in drawn] if n_known else drawn
    assert np.mean(places) == pytest.approx(place, abs=0.06)


def test_a_forecast_expects_more_promotions_of_a_searcher_that_learns() -> None:
    forecast = {}
    for searcher in (Random(), TPE()):
        state = StudyState(study(searcher))
        state.limits = Limits(max_trials=16, finishers=1)
        forecast[searcher.name] = outlook(state, 0.0, SeenPaces(state, Pace({1: 1.0}, 0.0)), n_runs=5).left_s
    assert 1.15 < forecast["tpe"] / forecast["random"] < 2.0
