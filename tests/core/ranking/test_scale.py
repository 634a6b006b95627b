"""The scale that decides: what one bad trial changes, and a growing scale against one from scratch."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import slow_ranking as slow

from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.scale import GrowingScale, Scale

Losses = list[list[float]]
ORDERS = [*WITHIN, "weighted", "weighted:1,0,2", "objective:0", "objective:1"]
VALUE = st.one_of(st.integers(0, 9).map(float), st.floats(-50, 50), st.sampled_from([400.0, 1e6, 1e300, -1e6]))
# a rung with errors of 0.1 to 0.6 in 9 to 100 seconds
RUNG: Losses = [[0.10, 100.0], [0.12, 50.0], [0.2, 20.0], [0.5, 10.0], [0.6, 9.0]]


def rows(n_objectives: st.SearchStrategy[int], max_size: int = 20) -> st.SearchStrategy[Losses]:
    return n_objectives.flatmap(
        lambda m: st.lists(st.lists(VALUE, min_size=m, max_size=m), min_size=1, max_size=max_size)
    )


def order(losses: Losses, within: str) -> list[int]:
    rung = RungRanking(len(losses[0]), within)
    for trial_id, loss in enumerate(losses):
        rung.insert(trial_id, loss)
    return rung.order()


def fitting(within: str, n_objectives: int) -> str:
    kind, _, weights = within.partition(":")
    return f"{kind}:{','.join(weights.split(',')[:n_objectives])}" if "," in weights else within


@pytest.mark.parametrize("within", ORDERS)
@settings(max_examples=60)
@given(losses=rows(st.integers(2, 3)), beyond=st.lists(st.sampled_from([0.0, 1.0, 30.0, 1e6, 1e300]), min_size=3))
def test_the_worst_in_every_objective_does_not_reorder_the_others(
    within: str, losses: Losses, beyond: list[float]
) -> None:
    within = fitting(within, len(losses[0]))
    worst = [max(column) + more for column, more in zip(zip(*losses, strict=True), beyond, strict=False)]
    before = order(losses, within)
    assert [i for i in order([*losses, worst], within) if i < len(losses)] == before
    if within in WITHIN:
        assert [i for i in total_order([*losses, worst], within).tolist() if i < len(losses)] == before


@pytest.mark.parametrize("within", ORDERS[:-2])
@pytest.mark.parametrize("loss", [40.0, 1e3, 1e6, 1e300])
@pytest.mark.parametrize("seconds", [1e-3, 8.0, 11.0, 60.0, 500.0])
@pytest.mark.parametrize("is_second", [False, True], ids=["error", "seconds"])
def test_an_exploded_loss_does_not_reorder_the_others(
    within: str, loss: float, seconds: float, is_second: bool
) -> None:
    within = fitting(within, 2)
    scale = [1.0, 100.0] if is_second else [1.0, 1.0]  # errors in seconds' place: 10 to 60
    losses = [([y, x * scale[1]] if is_second else [x, y]) for x, y in RUNG]
    new = [seconds, loss * scale[1]] if is_second else [loss, seconds]
    others = order(losses, within)
    after = order([*losses, new], within)
    assert [i for i in after if i < 5] == others
    assert after[-1] == 5 or (within == "weighted:1,0" and is_second)


@pytest.mark.parametrize("within", [*WITHIN, "weighted"])
def test_several_exploded_losses_do_not_reorder_the_others(within: str) -> None:
    bad = [[1e6, 60.0], [3e5, 7.0], [40.0, 4.0]]
    assert [i for i in order([*RUNG, *bad], within) if i < 5] == order(RUNG, within)
    assert [i - 3 for i in order([*bad, *RUNG], within) if i > 2] == order(RUNG, within)


def test_the_order_of_a_weighted_sum_is_not_that_of_time() -> None:
    assert order(RUNG, "weighted") == [2, 1, 3, 0, 4]
    assert order([*RUNG, [1e6, 60.0]], "weighted") == [2, 1, 3, 0, 4, 5]


@settings(max_examples=150)
@given(rows(st.integers(1, 4), max_size=40))
@example([[0.0, 0.0]] * 3 + [[float(2**i), -float(3**i)] for i in range(14)])
def test_a_growing_scale_is_that_from_scratch(losses: Losses) -> None:
    growing = GrowingScale(len(losses[0]))
    for n, loss in enumerate(losses, 1):
        expected = Scale.of(np.array(losses[:n]))
        assert growing.with_one_more(loss) == expected
        assert growing.add(loss) == expected


@settings(max_examples=100)
@given(rows(st.integers(1, 3), max_size=12).filter(lambda losses: all(abs(x) < 1e7 for row in losses for x in row)))
def test_the_scale_is_that_of_the_definition(losses: Losses) -> None:
    matrix, scale = np.array(losses), Scale.of(np.array(losses))
    expected = slow.unit(losses)
    assert scale.exploded(matrix).tolist() == [max(row) == math.inf for row in expected]
    for row, slowly in zip(scale.unit(matrix).tolist(), expected, strict=True):
        for x, y in zip(row, slowly, strict=True):
            assert y == math.inf or x == pytest.approx(y, rel=1e-9, abs=1e-9)


def test_an_ordinary_range_is_the_scale() -> None:
    """From 1 to 1000 seconds, evenly in the logarithm: none of them has exploded."""
    seconds = np.geomspace(1.0, 1000.0, 13)
    losses = np.column_stack([seconds**-0.5, seconds])
    scale = Scale.of(losses)
    assert not scale.exploded(losses).any()
    assert (scale.low, scale.high) == (tuple(losses.min(axis=0)), tuple(losses.max(axis=0)))


def test_many_poor_trials_are_no_reason_to_call_the_good_ones_exploded() -> None:
    """Most trials have the error of guessing, up to 0.0001; a few have learned something."""
    error = [0.9 + 0.0001 * i / 20 for i in range(20)] + [0.05, 0.2, 0.3]
    losses = np.column_stack([error, np.arange(23.0)[::-1]])
    scale = Scale.of(losses)
    assert not scale.exploded(losses).any()
    assert scale.low[0] == 0.05


def test_scale_survives_huge_and_constant_objectives() -> None:
    losses = np.array([[-1.7e308, 3.0, 1.0], [1.7e308, 3.0, 0.0]])
    assert Scale.of(losses).unit(losses).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_a_question_about_another_trial_does_not_change_the_scale() -> None:
    growing, losses = GrowingScale(2), [[0.3, 3.0], [0.1, 7.0], [0.2, 5.0]]
    for n, loss in enumerate(losses, 1):
        growing.with_one_more([9.0, 0.5])
        growing.with_one_more([0.25, 4.0])
        assert growing.add(loss) == Scale.of(np.array(losses[:n]))


def test_a_list_that_its_owner_changes_after_the_question_counts_as_another_trial() -> None:
    growing, loss = GrowingScale(2), [0.3, 3.0]
    growing.add([0.1, 7.0])
    growing.with_one_more(loss)
    loss[:] = [0.5, 1.0]
    assert growing.add(loss) == Scale.of(np.array([[0.1, 7.0], [0.5, 1.0]]))
