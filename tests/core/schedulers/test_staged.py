"""A race whose stages are planned: who is waited for, who continues, late trials, and rebuilding from its history."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import SuccessiveHalving
from lightning_hwtune.core.schedulers.staged import Staged

LADDER = SuccessiveHalving(max_epochs=9).ladder
OBJECTIVES = Objectives([Metric("error", "min")])


def race(n_trials: int) -> Staged:
    made = Staged(LADDER, OBJECTIVES)
    made.staged(0, n_trials)
    for trial_id in range(n_trials):
        assert made.has_room
        made.joined(trial_id, 0)
    return made


def arrive(made: Staged, trial_id: int, level: int, loss: float) -> None:
    verdict = made.verdict(trial_id, 0, level, np.array([loss]))
    made.record(trial_id, 0, level, np.array([loss]), verdict.kind)


def continuing(made: Staged) -> list[int]:
    found = []
    while (promotion := made.promotable(exclude=found)) is not None:
        found.append(promotion.trial_id)
    return found


@settings(max_examples=30, deadline=None)
@given(losses=st.lists(st.floats(0, 1), min_size=1, max_size=8), n_kept=st.integers(1, 8))
def test_the_best_of_a_stage_continue_once_the_next_one_is_planned(losses: list[float], n_kept: int) -> None:
    made = race(len(losses))
    for trial_id, loss in enumerate(losses):
        assert not made.has_arrived
        arrive(made, trial_id, 1, loss)
        assert made.promotable() is None
    assert made.has_arrived
    assert not made.has_room
    assert made.survivors == sorted(range(len(losses)), key=lambda i: (losses[i], i))
    made.staged(1, n_kept)
    expected = sorted(range(len(losses)), key=lambda i: (losses[i], i))[:n_kept]
    assert continuing(made) == expected
    assert (made.reached, made.level, made.n_waiting) == (1, 3, len(expected))
    for trial_id in expected:
        assert made.is_promotable(trial_id, 1)
        made.promoted(trial_id, 0, 1)
        assert not made.is_promotable(trial_id, 1)


def test_a_late_trial_pauses_and_never_continues() -> None:
    made = race(3)
    arrive(made, 0, 1, 0.5)
    arrive(made, 1, 1, 0.4)
    made.staged(1, 1)
    assert continuing(made) == [1]
    assert not made.is_wanted(2)
    verdict = made.verdict(2, 0, 1, np.array([0.0]))
    assert verdict.kind == "pause"
    assert "has ended" in verdict.reason.text
    arrive(made, 2, 1, 0.0)
    assert continuing(made) == [1]


def test_failed_and_diverged_trials_are_not_waited_for_and_do_not_continue() -> None:
    made = race(4)
    arrive(made, 0, 1, float("nan"))
    made.withdraw(1)
    arrive(made, 2, 1, 0.9)
    assert not made.has_arrived
    arrive(made, 3, 1, 0.8)
    assert made.has_arrived
    made.staged(1, 4)
    assert continuing(made) == [3, 2]
    made.withdraw(3)
    assert continuing(made) == [2]


def test_a_trial_that_ended_early_by_itself_counts_as_arrived_in_later_stages() -> None:
    made = race(2)
    arrive(made, 0, 1, 0.1)
    for level in (3, 9):
        made.record(0, 0, level, np.array([0.1]), "stop")
    arrive(made, 1, 1, 0.2)
    made.staged(1, 2)
    assert continuing(made) == [1]
    assert made.n_arrived == 1


def test_a_plan_without_trials_keeps_the_stage_for_a_later_session() -> None:
    made = race(1)
    arrive(made, 0, 1, 0.1)
    made.staged(1, 0)
    assert made.promotable() is None
    made.staged(1, 1)
    assert continuing(made) == [0]
