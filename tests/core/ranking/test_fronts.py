from __future__ import annotations

import math
import sys
from pathlib import Path

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

sys.path.insert(0, str(Path(__file__).parent))
from slow_ranking import dominates, fronts

from lightning_hwtune.core.ranking.fronts import front_ranks, is_dominated, non_dominated_mask
from lightning_hwtune.errors import ArgumentError


def matrices(min_size: int = 1, max_size: int = 24, max_objectives: int = 4, max_value: int = 6) -> st.SearchStrategy:
    """Small integers, so that ties and duplicates are common."""
    return st.integers(1, max_objectives).flatmap(
        lambda m: st.lists(
            st.lists(st.integers(0, max_value), min_size=m, max_size=m), min_size=min_size, max_size=max_size
        )
    )


@given(matrices(min_size=3))
def test_dominance_is_a_strict_partial_order(rows: list[list[int]]) -> None:
    def beats(a: list[int], b: list[int]) -> bool:
        return is_dominated(b, [a])

    for a in rows[:6]:
        assert not beats(a, a)
        for b in rows[:6]:
            assert beats(a, b) == dominates(a, b)
            assert not (beats(a, b) and beats(b, a))
            for c in rows[:6]:
                assert not (beats(a, b) and beats(b, c)) or beats(a, c)


@given(matrices())
def test_fronts_are_those_of_peeling_by_definition(rows: list[list[int]]) -> None:
    ranks = front_ranks(rows)
    assert [np.flatnonzero(ranks == r).tolist() for r in range(ranks.max() + 1)] == fronts(rows)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 5])
@pytest.mark.parametrize("grid", [None, 8])
def test_fronts_agree_with_moocore_and_pymoo(n_objectives: int, grid: int | None) -> None:
    losses = np.random.default_rng(n_objectives).random((300, n_objectives))
    if grid:
        losses = np.floor(losses * grid)
    ranks = front_ranks(losses)
    assert ranks.tolist() == moocore.pareto_rank(losses).tolist()
    for rank, members in enumerate(NonDominatedSorting().do(losses)):
        assert np.flatnonzero(ranks == rank).tolist() == sorted(members)


@given(matrices(), st.randoms(use_true_random=False))
def test_fronts_do_not_depend_on_the_order_of_rows(rows: list[list[int]], random) -> None:
    order = random.sample(range(len(rows)), len(rows))
    assert front_ranks([rows[i] for i in order]).tolist() == front_ranks(rows)[order].tolist()


@given(matrices())
def test_fronts_do_not_change_under_monotone_rescaling(rows: list[list[int]]) -> None:
    losses = np.array(rows, dtype=float)
    scales = [np.exp, lambda x: -1.0 / (x + 1), lambda x: 1e9 * x - 5, lambda x: x**3]
    warped = np.column_stack([scales[j](losses[:, j]) for j in range(losses.shape[1])])
    assert front_ranks(warped).tolist() == front_ranks(losses).tolist()


@given(matrices(), st.integers(1, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_rows_that_are_not_finite_share_the_last_front(rows: list[list[int]], n_bad: int, bad: float) -> None:
    worse = [[bad, *row[1:]] for row in rows[:n_bad]]
    ranks = front_ranks([*worse, *rows])
    assert ranks[len(worse) :].tolist() == front_ranks(rows).tolist()
    assert set(ranks[: len(worse)].tolist()) == {ranks[len(worse) :].max() + 1}
    mask = non_dominated_mask([*worse, *rows])
    assert not mask[: len(worse)].any()
    assert mask[len(worse) :].tolist() == (front_ranks(rows) == 0).tolist()


def test_only_rows_that_are_not_finite() -> None:
    assert front_ranks([[math.nan, 1.0], [math.inf, 0.0]]).tolist() == [0, 0]
    assert non_dominated_mask([[math.nan, 1.0]]).tolist() == [False]
    assert not is_dominated([math.nan], [[math.inf]])
    assert is_dominated([math.nan], [[1e300]])


def test_no_rows_at_all() -> None:
    assert front_ranks(np.empty((0, 3))).tolist() == []
    assert non_dominated_mask(np.empty((0, 1))).tolist() == []


@pytest.mark.parametrize("losses", [[1.0, 2.0], np.empty((3, 0)), 1.0])
def test_other_shapes_are_refused(losses: object) -> None:
    with pytest.raises(ArgumentError, match="n_points, n_objectives"):
        front_ranks(losses)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_large_clouds_of_three_objectives_agree_with_moocore(seed: int) -> None:
    losses = np.random.default_rng(seed).integers(0, 12, (120, 3))
    assert front_ranks(losses).tolist() == moocore.pareto_rank(losses).tolist()


@pytest.mark.parametrize("n_rows", [10, 256, 257, 600])
@pytest.mark.parametrize("n_objectives", [3, 4])
def test_the_mask_of_many_rows_is_that_of_the_ranks(n_rows: int, n_objectives: int) -> None:
    rows = np.random.default_rng(n_rows).integers(0, 8, (n_rows, n_objectives)).astype(float)  # with duplicates
    rows[::7, 0] = math.inf
    finite = np.isfinite(rows).all(axis=1)
    assert (non_dominated_mask(rows) == ((front_ranks(rows) == 0) & finite)).all()
