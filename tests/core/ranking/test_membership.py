"""Probabilities of being on the front, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from lightning_hwtune.core.ranking.membership import front_probabilities

EXACT = math.nan


def probabilities(losses, deviations, steps=(EXACT, 0.0), members=None, shifts=None):
    matrix = np.array(losses, dtype=float)
    chosen = np.arange(len(matrix)) if members is None else np.array(members)
    moved = np.zeros(len(matrix)) if shifts is None else np.array(shifts)
    rng = np.random.default_rng(0)
    factors = moved + np.array(deviations, dtype=float) * rng.standard_normal((1000, len(matrix)))
    return front_probabilities(matrix, chosen, np.array(steps), factors)


def test_without_noise_it_is_membership() -> None:
    losses = [[0.1, 10.0], [0.2, 5.0], [0.3, 6.0], [0.2, 5.0]]
    assert probabilities(losses, [0.0] * 4).tolist() == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("gap", [-0.2, 0.0, 0.1, 0.5])
def test_of_two_equal_errors_the_faster_one_is_on_the_front(gap: float) -> None:
    """The probability that one log-normal time is smaller than another one."""
    found = probabilities([[0.1, 10.0], [0.1, 10.0 * math.exp(gap)]], [0.15, 0.1])
    expected = norm.cdf(gap / math.hypot(0.15, 0.1))
    assert found == pytest.approx([expected, 1 - expected], abs=0.04)


def test_the_shift_moves_the_seconds() -> None:
    losses, deviations = [[0.1, 10.0], [0.1, 9.0]], [1e-3, 1e-3]
    assert probabilities(losses, deviations).tolist() == [0.0, 1.0]
    assert probabilities(losses, deviations, shifts=[-0.2, 0.0]).tolist() == [1.0, 0.0]


def test_noise_that_two_points_share_does_not_change_their_order() -> None:
    losses = np.array([[0.1, 10.0], [0.1, 11.0]])
    shared = np.random.default_rng(0).standard_normal((500, 1)) * np.ones(2)
    assert front_probabilities(losses, np.arange(2), np.array([EXACT, 0.0]), shared).tolist() == [1.0, 0.0]


def test_the_best_of_an_exact_objective_is_certain() -> None:
    losses = [[0.1, 10.0], [0.11, 10.0], [0.12, 10.0]]
    found = probabilities(losses, [0.3] * 3)
    assert found[0] == 1.0
    assert found == pytest.approx([1.0, 0.5, 1 / 3], abs=0.05)  # the fastest so far, among so many


def test_ties_within_the_resolution_stay_on_the_front() -> None:
    losses = [[0.1, 10.0], [0.1, 10.01]]
    assert probabilities(losses, [0.001, 0.001], steps=(EXACT, 0.0))[1] < 0.5
    cell = math.log(10.0) / round(math.log(10.0) / 0.1)  # 10 is the centre of a cell
    assert probabilities(losses, [0.001, 0.001], steps=(EXACT, cell)).tolist() == [1.0, 1.0]


def test_time_and_money_share_their_noise() -> None:
    """Three times the seconds is three times the money: neither makes the other one uncertain."""
    losses = [[10.0, 1.0], [20.0, 0.4]]  # seconds and dollars of one and of several devices
    assert probabilities(losses, [0.05] * 2, steps=(0.0, 0.0)).tolist() == [1.0, 1.0]


def test_only_the_members_in_question_are_answered_and_zero_seconds_are_fine() -> None:
    losses = np.column_stack([np.linspace(0.5, 0.1, 3000), np.arange(3000.0)])
    assert probabilities(losses, [0.01] * 3000, members=[0, 5, 2999]) == pytest.approx([1.0, 1.0, 1.0], abs=0.02)
