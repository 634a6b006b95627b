from __future__ import annotations

import math
import sys
from pathlib import Path

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import slow_ranking

from lightning_hwtune.core.ranking.front_order import WITHIN, HypervolumeContribution, farthest_first
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.errors import ArgumentError

FINITE = st.integers(0, 8).map(float)
VALUE = st.one_of(FINITE, FINITE, FINITE, FINITE, st.sampled_from([math.nan, math.inf]))


def rows(value: st.SearchStrategy = VALUE, min_size: int = 1) -> st.SearchStrategy:
    return st.integers(1, 4).flatmap(
        lambda m: st.lists(st.lists(value, min_size=m, max_size=m), min_size=min_size, max_size=20)
    )


@given(rows(st.one_of(st.just(0.0), st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.just(math.nan))))
def test_total_order_is_that_of_the_definitions(points: list[list[float]]) -> None:
    # extremes 0 and 8 in every objective, and powers of two between: scaled distances are exact in both versions
    m = len(points[0])
    ends = [[0.0 if i == j else 8.0 for i in range(m)] for j in range(m)]
    points = [*ends, [0.0] * m, *points]
    assert total_order(points, "farthest_first").tolist() == slow_ranking.total_order(points)


@pytest.mark.parametrize("within", WITHIN)
@given(points=rows())
def test_order_is_a_permutation_by_fronts_with_the_infinite_last(within: str, points: list[list[float]]) -> None:
    order = total_order(points, within)
    assert sorted(order.tolist()) == list(range(len(points)))
    fronts = front_ranks(points)[order]
    assert (np.diff(fronts) >= 0).all()
    bad = [i for i in order.tolist() if not np.isfinite(points[i]).all()]
    assert order[len(order) - len(bad) :].tolist() == sorted(bad)


@pytest.mark.parametrize("within", WITHIN)
@given(points=rows())
def test_a_point_that_dominates_all_others_is_first(within: str, points: list[list[float]]) -> None:
    best = [-1.0] * len(points[0])
    assert total_order([*points, best], within)[0] == len(points)


@pytest.mark.parametrize("within", WITHIN)
@given(points=rows(FINITE), scale=st.sampled_from([1e-200, 1e-3, 1.0, 2.0**40, 1e300]))
def test_units_do_not_decide(within: str, points: list[list[float]], scale: float) -> None:
    power = 2.0 ** round(math.log2(scale))  # exact, so that no tie is broken by rounding
    scaled = np.array(points) * np.array([power] + [1.0] * (len(points[0]) - 1))
    assert total_order(scaled, within).tolist() == total_order(points, within).tolist()


@pytest.mark.parametrize("within", WITHIN)
def test_equal_points_come_by_index(within: str) -> None:
    assert total_order([[1.0, 2.0]] * 5, within).tolist() == [0, 1, 2, 3, 4]


def test_duplicates_come_after_what_is_new() -> None:
    points = np.array([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert list(farthest_first(points)) == [0, 3, 2, 1]
    assert list(HypervolumeContribution(np.array([7, 8, 9, 10]), points))[-1] == 8
    assert list(HypervolumeContribution(np.array([8, 7, 9, 10]), points))[-1] == 8


def test_farthest_first_does_not_depend_on_how_distances_are_kept() -> None:
    x = np.sort(np.random.default_rng(0).random(600))
    points = np.column_stack([x, 1 - x])
    order = list(farthest_first(points))
    assert sorted(order) == list(range(600))
    # by definition, up to rounding: each is as far from those before it as any that is left
    for i in (1, 2, 10, 100, 400):
        left = points[order[i:]]
        far = np.min(((left[:, None] - points[order[:i]]) ** 2).sum(-1), axis=1)
        assert far[0] == pytest.approx(far.max(), rel=1e-12)


@pytest.mark.parametrize("n_objectives", [2, 3, 4])
def test_contributions_are_those_of_moocore(n_objectives: int) -> None:
    cloud = np.random.default_rng(7).random((80, n_objectives))
    front = moocore.filter_dominated(cloud)
    expected = moocore.hv_contributions(front, ref=np.full(n_objectives, 1.1))
    assert list(HypervolumeContribution(np.arange(len(front)), front)) == np.argsort(-expected, kind="stable").tolist()


def test_no_rows_have_an_empty_order() -> None:
    assert total_order(np.empty((0, 2))).tolist() == []


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'farthest_first'"):
        total_order([[1.0]], "farthest-first")
