"""Noise and soft order against loops over the definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.soft_ranking import CrissCross, orders_agree
from lightning_hwtune.errors import ArgumentError

VALUE = st.integers(0, 8).map(float)


def slow_noise(curves: list[list[float]], above: int) -> float:
    """epsilon of complete curves over resources 1, 2, ...; a NaN is passed over."""
    gaps = []
    for b, second in enumerate(curves):
        for first in curves[:b]:
            both = [r for r, pair in enumerate(zip(first, second, strict=False), 1) if all(map(math.isfinite, pair))]
            signs = [first[r - 1] > second[r - 1] for r in both]
            turns = sum(x != y for x, y in itertools.pairwise(signs))
            if turns >= 2 and both[-1] > above:
                gaps.append(abs(first[both[-1] - 1] - second[both[-1] - 1]))
    return float(np.percentile(gaps, 90)) if gaps else math.nan


def slow_agreement(lower: np.ndarray, upper: np.ndarray, epsilon: np.ndarray) -> bool:
    """Each trial's upper front is between those that it gets by moving alone at the lower rung."""
    after = front_ranks(upper)
    for i in range(len(lower)):
        fronts = []
        for shift in (-epsilon, epsilon):
            moved = lower.copy()
            moved[i] += shift
            fronts.append(int(front_ranks(moved)[i]))
        if not fronts[0] <= after[i] <= fronts[1]:
            return False
    return True


@st.composite
def reports(draw: st.DrawFn) -> tuple[list[list[float]], list[int]]:
    """Curves of different lengths, and the order in which their reports come."""
    value = st.one_of(*[VALUE] * 7, st.just(math.nan))
    curves = draw(st.lists(st.lists(value, min_size=1, max_size=9), min_size=1, max_size=6))
    return curves, draw(st.permutations([i for i, curve in enumerate(curves) for _ in curve]))


@settings(max_examples=80)
@given(reports(), st.integers(0, 5), st.integers(0, 5))
def test_noise_is_that_of_the_definition(drawn: tuple[list[list[float]], list[int]], above: int, later: int) -> None:
    curves, sequence = drawn
    live, n_reported = CrissCross(1), [0] * len(curves)
    for trial_id in sequence:
        n_reported[trial_id] += 1
        live.observe(trial_id, n_reported[trial_id], [curves[trial_id][n_reported[trial_id] - 1]])
        so_far = [curve[:n] for curve, n in zip(curves, n_reported, strict=True)]
        assert live.noise(above)[0] == pytest.approx(slow_noise(so_far, above), nan_ok=True)
    assert live.noise(later)[0] == pytest.approx(slow_noise(curves, later), nan_ok=True)


def test_each_objective_has_its_own_noise() -> None:
    live = CrissCross(2)
    assert np.isnan(live.noise(above=3)).all()
    for resource, (first, second) in enumerate([(1.0, 2.0), (2.0, 1.0), (1.0, 1.5)], 1):
        live.observe(0, resource, [first, float(resource)])
        live.observe(1, resource, [second, 2.0 * resource])
    assert math.isnan(live.noise(above=3)[0])
    found = live.noise(above=1)
    assert found[0] == 0.5
    assert math.isnan(found[1])


def test_work_done_again_and_other_resources_change_nothing() -> None:
    live = CrissCross(1)
    for resource, (first, second) in enumerate([(1.0, 2.0), (2.0, 1.0), (1.0, 1.5)], 1):
        live.observe(7, 10 * resource, [first])
        live.observe(3, 10 * resource, [second])
        live.observe(3, 10 * resource, [99.0])  # again, after its checkpoint was lost
        live.observe(5, 10 * resource - 5, [1.25])  # no other trial reports there
    assert live.noise(above=10).tolist() == [0.5]


@st.composite
def rungs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_objectives, n = draw(st.integers(2, 3)), draw(st.integers(2, 9))
    rows = st.lists(st.lists(VALUE, min_size=n_objectives, max_size=n_objectives), min_size=n, max_size=n)
    lower = np.array(draw(rows))
    change = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 3.0])
    moves = st.lists(st.lists(change, min_size=n_objectives, max_size=n_objectives), min_size=n, max_size=n)
    epsilon = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=n_objectives, max_size=n_objectives))
    return lower, lower + np.array(draw(moves)), np.array(epsilon)


@settings(max_examples=300)
@given(rungs())
@pytest.mark.slow
def test_fronts_agree_as_the_definition_says(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert orders_agree(*drawn) == slow_agreement(*drawn)


@settings(max_examples=80)
@given(
    st.integers(2, 8).flatmap(lambda n: st.tuples(*[st.lists(VALUE, min_size=n, max_size=n, unique=True)] * 2)),
    st.sampled_from([0.0, 1.0, 2.0, 5.0]),
)
def test_one_objective_twice_is_one_objective(drawn: tuple[list[float], list[float]], epsilon: float) -> None:
    lower, upper = (np.array(values)[:, None] for values in drawn)
    twice = [np.repeat(values, 2, axis=1) for values in (lower, upper)]
    # half a step more than epsilon, so that no trial moves onto another's place exactly
    noise = epsilon + 0.5
    assert orders_agree(lower, upper, [noise]) == orders_agree(*twice, [noise, noise])


def test_noise_forgives_and_its_bound_is_inclusive() -> None:
    lower, upper = [[1.0], [2.0], [4.0]], [[0.2], [0.1], [0.3]]
    assert not orders_agree(lower, upper, [0.9])
    assert orders_agree(lower, upper, [1.0])
    assert not orders_agree(lower, [[0.3], [0.2], [0.1]], [1.0])


def test_what_is_not_finite_is_left_out() -> None:
    lower, upper = [[1.0], [2.0], [3.0]], [[math.nan], [0.1], [0.2]]
    assert orders_agree(lower, upper, [0.0])
    assert orders_agree([[1.0], [math.inf]], [[2.0], [1.0]], [0.0])
    assert orders_agree(np.empty((0, 2)), np.empty((0, 2)), [0.0, 0.0])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError):
        orders_agree([[1.0]], [[1.0], [2.0]], [0.0])
    with pytest.raises(ArgumentError):
        orders_agree([[1.0]], [[1.0]], [0.0, 0.0])
    with pytest.raises(ArgumentError):
        CrissCross(2).observe(0, 1, [1.0])
