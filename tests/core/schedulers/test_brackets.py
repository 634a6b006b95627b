"""Successive halving and Hyperband with barriers."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from started_race import started
from study_driver import Driver, spec

from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import Hyperband, Race, Scheduler, SuccessiveHalving
from lightning_hwtune.core.schedulers.brackets import bracket_sizes
from lightning_hwtune.core.schedulers.hyperband import hyperband_size
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.errors import ArgumentError


def begun(scheduler: Scheduler, n_trials: int) -> Race:
    """Returns a race of one objective in which trials have joined, by the brackets that it asks for."""
    live = started(scheduler, 1)
    for trial_id in range(n_trials):
        live.joined(trial_id, live.draw_bracket(np.random.default_rng(0)))
    return live


def arrive(live: Race, trial_id: int, loss: float, level: int = 1, bracket: int = 0) -> str:
    """A trial reaches a level; returns the verdict's kind."""
    kind = live.verdict(trial_id, bracket, level, np.array([loss])).kind
    live.record(trial_id, bracket, level, np.array([loss]), kind)
    return kind


def promotions(live: Race) -> list[tuple[int, int]]:
    """Carries out all promotions that are due; returns trial and level."""
    found = []
    while (promotion := live.promotable()) is not None:
        found.append((promotion.trial_id, promotion.level))
        live.promoted(promotion.trial_id, 0, promotion.level)
    return found


def test_nobody_goes_on_before_the_rung_is_full_and_then_the_best_do() -> None:
    live = begun(SuccessiveHalving(9), 9)
    for trial_id in range(8):
        assert arrive(live, trial_id, 10.0 - trial_id) == "pause"
        assert live.promotable() is None
    assert arrive(live, 8, 2.5) == "continue"  # completes the rung, and is the second best
    assert promotions(live) == [(7, 1), (6, 1)]
    assert live.promotable() is None
    assert arrive(live, 7, 0.3, level=3) == "pause"
    assert arrive(live, 6, 0.2, level=3) == "pause"
    assert arrive(live, 8, 0.4, level=3) == "pause"
    assert promotions(live) == [(6, 3)]
    assert [pair for pair in live.finishers() if pair[1] == 3] == [(7, 3), (8, 3)]


def test_the_last_to_come_pauses_if_it_is_not_among_the_best() -> None:
    live = begun(SuccessiveHalving(9, bracket_size=3), 3)
    assert [arrive(live, trial_id, float(trial_id)) for trial_id in range(3)] == ["pause"] * 3
    assert promotions(live) == [(0, 1)]


def test_brackets_are_filled_in_their_order() -> None:
    live = started(SuccessiveHalving(9, bracket_size=2), 1)
    rng = np.random.default_rng(0)
    drawn = []
    for trial_id in range(5):
        drawn.append(live.draw_bracket(rng))
        live.joined(trial_id, drawn[-1])
    assert drawn == [0, 0, 1, 1, 2]
    hyperband = started(Hyperband(9), 1)
    drawn = []
    for trial_id in range(9 + 5 + 3 + 1):
        drawn.append(hyperband.draw_bracket(rng))
        hyperband.joined(trial_id, drawn[-1])
    assert drawn == [0] * 9 + [1] * 5 + [2] * 3 + [3]
    assert [hyperband.first_target(bracket) for bracket in range(4)] == [1, 3, 9, 1]


def test_a_trial_that_fails_is_not_waited_for() -> None:
    live = begun(SuccessiveHalving(9, bracket_size=3), 3)
    arrive(live, 0, 1.0)
    arrive(live, 1, 2.0)
    assert live.promotable() is None
    live.withdraw(2)
    assert promotions(live) == [(0, 1)]


def test_nobody_goes_on_whose_loss_is_not_finite() -> None:
    live = begun(SuccessiveHalving(9), 9)
    for trial_id in range(9):
        arrive(live, trial_id, math.nan if trial_id < 7 else float(trial_id))
    assert sorted(promotions(live)) == [(7, 1)]  # 8 came last and continued at once; a third place stays empty
    arrive(live, 7, 1.0, level=3)
    assert arrive(live, 8, 2.0, level=3) == "pause"
    assert promotions(live) == [(7, 3)]
    lost = begun(SuccessiveHalving(9, bracket_size=2), 2)
    assert [arrive(lost, trial_id, math.inf) for trial_id in range(2)] == ["pause", "pause"]
    assert lost.promotable() is None
    assert lost.finishers() == []


def test_a_trial_that_ended_early_takes_the_places_it_earned() -> None:
    live = begun(SuccessiveHalving(9, bracket_size=9), 9)
    for level in (1, 3, 9):
        live.record(0, 0, level, np.array([0.5]), "stop")
    for trial_id in range(1, 9):
        arrive(live, trial_id, float(trial_id))
    assert promotions(live) == [(1, 1), (2, 1)]  # 0 is first, and has its third place
    arrive(live, 1, 0.6, level=3)
    arrive(live, 2, 0.7, level=3)
    assert live.promotable() is None  # 0 holds the only place at 9


def test_what_closes_the_last_bracket_is_its_own_size() -> None:
    live = begun(SuccessiveHalving(9), 5)
    for trial_id in range(4):
        arrive(live, trial_id, float(trial_id))
    assert live.closing() is None  # one still trains
    arrive(live, 4, 4.0)
    assert live.promotable() is None
    promotion = live.closing()
    assert promotion is not None
    assert (promotion.trial_id, promotion.level, promotion.target, promotion.reason.rule) == (0, 1, 3, "closing")
    live.promoted(0, 0, 1)
    assert live.closing() is None
    assert live.draw_bracket(np.random.default_rng(0)) == 1  # closed for good


def test_what_closes_a_bracket_is_none_that_has_ended() -> None:
    live = begun(SuccessiveHalving(9), 6)
    for level in (1, 3, 9):
        live.record(0, 0, level, np.array([0.5]), "stop")
    for trial_id in range(1, 6):
        arrive(live, trial_id, float(trial_id))
    promotion = live.closing()  # two continue; 0 has done so
    assert promotion is not None
    assert (promotion.trial_id, promotion.level) == (1, 1)
    live.promoted(1, 0, 1)
    assert live.promotable() is None
    assert arrive(live, 1, 0.6, level=3) == "pause"  # 0 holds the only place at 9


@pytest.mark.parametrize(("scheduler", "n_trials"), [(Hyperband(27), 29), (SuccessiveHalving(27, first_rung=3), 2)])
def test_a_study_ends_though_the_best_of_its_last_bracket_ended_early(scheduler: Scheduler, n_trials: int) -> None:
    best = n_trials - 1
    driver = Driver(
        spec(scheduler=scheduler, objectives=Objectives([Metric("error", "min")])),
        Limits(max_trials=n_trials, finishers=4),
    )
    driver.curve = lambda config, epoch: 0.0 if config in [t.config for t in driver.state.trials[best:]] else 1.0
    while not isinstance(driver.fill(), Done):
        if driver.step() == best and driver.state.trials[best].resource == 2:
            driver.end(best, "done")
    assert driver.state.trials[best].state is TrialState.COMPLETED
    assert driver.state.trials[best].resource == 2
    assert driver.state.n_full == min(driver.state.limits.n_finishers, n_trials)


def test_a_report_beyond_a_rung_stands_for_it() -> None:
    live = begun(SuccessiveHalving(27, bracket_size=9), 9)
    assert arrive(live, 0, 0.5, level=9) == "pause"
    assert live.finishers() == [(0, 1)]  # not yet let to 3
    for trial_id in range(1, 9):
        arrive(live, trial_id, float(trial_id))
    assert [pair for pair in live.finishers() if pair[0] == 0] == [(0, 3)]
    assert promotions(live) == [(1, 1), (2, 1)]  # 0 continues too, and is there
    assert arrive(live, 1, 0.6, level=3) == "pause"
    assert arrive(live, 2, 0.7, level=3) == "pause"
    assert promotions(live) == [(0, 9)]  # best of 3 by its loss at 9, and alone at 9
    assert arrive(live, 0, 0.4, level=27) == "stop"


def test_a_bracket_goes_on_where_first_rungs_are_never_reported() -> None:
    scheduler = SuccessiveHalving(max_steps=1000, bracket_size=3)
    driver = Driver(spec(scheduler=scheduler), Limits(max_trials=3, finishers=0), stride=lambda trial_id: 100)
    driver.run()
    assert sorted(trial.resource for trial in driver.state.trials) == [100, 100, 1000]
    closed_short = Driver(
        spec(scheduler=SuccessiveHalving(max_steps=1000)), Limits(max_trials=5, finishers=0), stride=lambda _: 100
    )
    closed_short.run()
    assert closed_short.state.n_full == 1


def test_one_trial_of_longer_strides_holds_no_bracket() -> None:
    scheduler = SuccessiveHalving(max_steps=900, first_rung=100, bracket_size=9)
    for coarse in range(9):
        driver = Driver(
            spec(scheduler=scheduler),
            Limits(max_trials=9, finishers=0),
            stride=lambda i, c=coarse: 400 if i == c else 100,
        )
        driver.run()
        reached = [sum(trial.resource >= level for trial in driver.state.trials) for level in scheduler.levels]
        assert reached[0] == 9
        assert reached[1] in (3, 4)  # the coarse one is there unasked
        assert reached[2] == 1


@settings(max_examples=40, deadline=None)
@given(
    n_trials=st.integers(1, 40),
    eta=st.sampled_from([2, 3, 2.5]),
    seed=st.integers(0, 1000),
    make=st.sampled_from([SuccessiveHalving, Hyperband]),
)
def test_studies_train_as_many_as_the_table_says(n_trials: int, eta: float, seed: int, make: type[Scheduler]) -> None:
    scheduler = make(9, eta=eta)
    driver = Driver(spec(scheduler=scheduler, seed=seed), Limits(max_trials=n_trials, finishers=0))
    driver.run()
    trials = driver.state.trials
    reached = {level: sum(trial.resource >= level for trial in trials) for level in scheduler.levels}
    assert reached == dict(scheduler.expected(n_trials))


def test_each_promotion_in_a_study_is_of_the_best_of_its_rung() -> None:
    study = spec(scheduler=SuccessiveHalving(9))
    driver = Driver(study, Limits(max_trials=27, finishers=0))
    driver.run()
    for bracket in range(3):
        members = [trial for trial in driver.state.trials if trial.bracket == bracket]
        for level, n_go_on in ((1, 3), (3, 1)):
            there = [trial for trial in members if trial.resource >= level]
            losses = [study.objectives.loss(trial.at(level).values) for trial in there]
            best = {there[i].trial_id for i in total_order(losses)[:n_go_on]}
            assert best == {trial.trial_id for trial in there if trial.resource > level}


@given(st.integers(1, 500), st.sampled_from([Fraction(2), Fraction(3), Fraction(5, 2)]), st.integers(1, 6))
def test_sizes_fall_by_eta_to_at_least_one(n_trials: int, eta: Fraction, n_levels: int) -> None:
    sizes = bracket_sizes(n_trials, eta, n_levels)
    assert sizes[0] == n_trials
    assert sizes == tuple(max(1, math.floor(n_trials / eta**k)) for k in range(n_levels))


def test_hyperband_has_the_brackets_of_the_paper() -> None:
    # algorithm 1 with R = 81 and eta = 3: ceil(5 / (s + 1) * 3**s) for s = 4 to 0
    assert [hyperband_size(Fraction(3), 5, first) for first in range(5)] == [81, 34, 15, 8, 5]
    assert hyperband_size(Fraction(3), 1, 0) == 1


@pytest.mark.parametrize(
    ("make", "given", "argument"),
    [
        (SuccessiveHalving, {"bracket_size": 0}, "bracket_size"),
        (SuccessiveHalving, {"bracket_size": 2.5}, "bracket_size"),
        (SuccessiveHalving, {"within": "nearest"}, "within"),
        (Hyperband, {"brackets": 5}, "brackets"),
        (Hyperband, {"type": "sync"}, "type"),
        (Hyperband, {"eta": 1}, "eta"),
        (Hyperband, {"first_rung": 28}, "first_rung"),
    ],
)
def test_wrong_settings_are_refused(make: type[Scheduler], given: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"`{argument}`"):
        make(27, **given)
