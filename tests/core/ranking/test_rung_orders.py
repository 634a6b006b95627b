"""The orders of a rung that have a name, against plain sorting."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import slow_ranking as slow

from lightning_hwtune.core.ranking.front_order import crowding_distances
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.rung_orders import checked_order, resolved_order
from lightning_hwtune.errors import ArgumentError

VALUE = st.integers(0, 12).map(float)


def weighted_sums(losses: list[list[float]], weights: list[float]) -> list[float]:
    scaled = slow.unit(losses)
    return [math.fsum(w * x for w, x in zip(weights, row, strict=True)) for row in scaled]


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[float]]:
    n_objectives = draw(st.integers(2, 3))
    return draw(st.lists(st.lists(VALUE, min_size=n_objectives, max_size=n_objectives), min_size=1, max_size=25))


@settings(max_examples=60)
@given(arrivals(), st.data())
def test_a_weighted_rung_is_sorted_by_its_sums(losses: list[list[float]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(losses[0]), max_size=len(losses[0])))
    rung = RungRanking(len(losses[0]), "weighted:" + ",".join(map(str, weights)))
    for trial_id, loss in enumerate(losses):
        k = data.draw(st.integers(0, 8))
        foreseen = rung.arrival(trial_id, loss, k)
        rung.insert(trial_id, loss)
        assert foreseen == rung.place(trial_id, k)
        sums = weighted_sums(losses[: trial_id + 1], weights)
        order = rung.order()
        assert sorted(order) == list(range(trial_id + 1))
        assert [sums[i] for i in order] == pytest.approx(sorted(sums))
        assert foreseen.first == order.index(trial_id)
        shut = data.draw(st.integers(0, trial_id))
        rung.shut(shut)
        assert shut not in rung.open_order()
        assert rung.first_open(k) == next((i for i in order[:k] if i in rung.open_order()), None)


@settings(max_examples=40)
@given(arrivals(), st.integers(0, 1))
def test_one_objective_alone_decides(losses: list[list[float]], index: int) -> None:
    rung, plain = RungRanking(len(losses[0]), f"objective:{index}"), RungRanking(1)
    for trial_id, loss in enumerate(losses):
        assert rung.arrival(trial_id, loss, 3) == plain.arrival(trial_id, loss[index : index + 1], 3)
        rung.insert(trial_id, loss)
        plain.insert(trial_id, loss[index : index + 1])
    assert rung.order() == plain.order()


@pytest.mark.parametrize("within", ["weighted", "objective:1", "crowding"])
def test_a_loss_that_is_not_finite_comes_last(within: str) -> None:
    rung = RungRanking(2, within)
    for trial_id, loss in enumerate([[math.nan, 0.0], [5.0, 5.0], [1.0, 1.0]]):
        rung.insert(trial_id, loss)
    assert rung.order() == [2, 1, 0]
    assert rung.open_order() == [2, 1]


def test_crowding_distances_by_hand() -> None:
    front = np.array([[0.0, 1.0], [0.1, 0.6], [0.5, 0.5], [1.0, 0.0]])
    expected = [np.inf, 0.5 / 1.0 + 0.5 / 1.0, 0.9 / 1.0 + 0.6 / 1.0, np.inf]
    assert crowding_distances(np.arange(4), front) == pytest.approx(expected)
    assert crowding_distances(np.array([7, 3, 5, 4]), front[[3, 1, 1, 0]]).tolist()[2] == -1.0  # 5 is 3 once more


def test_crowding_distances_are_those_of_pymoo() -> None:
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    rng = np.random.default_rng(0)
    for _ in range(20):
        first = np.sort(rng.random(12))
        front = np.column_stack([first, np.sort(rng.random(12))[::-1]])
        shuffled = rng.permutation(12)
        ours = crowding_distances(np.arange(12), front[shuffled])
        theirs = calc_crowding_distance(front[shuffled])
        assert ours == pytest.approx(theirs * 2)  # theirs is a mean over the objectives


@pytest.mark.parametrize(
    "name",
    ["crowdin", "weighted:", "weighted:1,x", "weighted:0,0", "weighted:-1,2", "weighted:nan,1", "objective:", 3, ""],
)
def test_what_is_no_order_is_refused(name: object) -> None:
    with pytest.raises(ArgumentError, match="within"):
        checked_order(name)  # type: ignore[arg-type]


def test_names_become_places() -> None:
    names = ["error", "train_s"]
    assert resolved_order("objective:train_s", 2, names) == "objective:1"
    assert resolved_order("objective:0", 2, names) == "objective:0"
    assert resolved_order("weighted:2,1", 2, names) == "weighted:2,1"
    for wrong in ("objective:eror", "objective:2", "weighted:1,1,1"):
        with pytest.raises(ArgumentError, match="within"):
            resolved_order(wrong, 2, names)
    with pytest.raises(ArgumentError, match="error"):
        resolved_order("objective:eror", 2, names)
