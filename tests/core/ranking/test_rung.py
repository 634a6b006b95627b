from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.errors import ArgumentError, IllegalMoveError

Arrivals = list[tuple[int, list[float]]]


class PlainRung:
    """Sorts everything again after each arrival."""

    def __init__(self, within: str) -> None:
        self.within, self.losses, self.shut = within, dict[int, Sequence[float]](), set[int]()
        self.order: list[int] = []
        self.front: dict[int, int] = {}

    def insert(self, trial_id: int, loss: Sequence[float]) -> None:
        self.losses[trial_id] = loss
        ids = sorted(self.losses)
        rows = [self.losses[i] for i in ids]
        self.order = [ids[i] for i in total_order(rows, self.within)]
        self.front = dict(zip(ids, front_ranks(rows).tolist(), strict=True))

    def is_finite(self, trial_id: int) -> bool:
        return all(map(math.isfinite, self.losses[trial_id]))

    def candidates(self, k: int | None = None) -> list[int]:
        return [i for i in self.order[:k] if i not in self.shut and self.is_finite(i)]

    def first_open(self, k: int, exclude: set[int]) -> int | None:
        return next((i for i in self.candidates(k) if i not in exclude), None)


@st.composite
def arrivals(draw: st.DrawFn, max_size: int = 26) -> Arrivals:
    m = draw(st.integers(1, 4))
    value = st.one_of(st.integers(0, 7).map(float), st.sampled_from([0.5, 3.5, math.nan]))
    losses = draw(st.lists(st.lists(value, min_size=m, max_size=m), min_size=1, max_size=max_size))
    ids = draw(st.permutations(range(len(losses))))
    return list(zip(ids, losses, strict=True))


@settings(max_examples=80)
@given(
    arriving=arrivals(),
    within=st.sampled_from(sorted(WITHIN)),
    exact_up_to=st.sampled_from([0, 200]),
    eta=st.integers(2, 4),
    data=st.data(),
)
def test_incremental_and_plain_ranking_answer_alike(
    arriving: Arrivals, within: str, exact_up_to: int, eta: int, data: st.DataObject
) -> None:
    plain, rung = PlainRung(within), RungRanking(len(arriving[0][1]), within, exact_up_to=exact_up_to)
    for trial_id, loss in arriving:
        k = (len(rung) + 1) // eta
        foreseen = rung.arrival(trial_id, loss, k)
        assert trial_id not in rung
        rung.insert(trial_id, loss)
        plain.insert(trial_id, loss)
        order = plain.order
        rank = order.index(trial_id)
        for place in (foreseen, rung.place(trial_id, k)):
            assert place.n_trials == len(rung) == len(order)
            assert place.is_finite == plain.is_finite(trial_id)
            assert place.is_in == (rank < k and place.is_finite)
            assert 0 <= place.first <= rank <= place.last < place.n_trials
            assert place.first == place.last or exact_up_to == 0
            assert place.front in (None, plain.front[trial_id])
            assert (place.front is None) == (len(loss) == 1 or not place.is_finite)
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(order))
            rung.shut(gone)
            plain.shut.add(gone)
        exclude = set(order[:2]) if data.draw(st.booleans()) else set()
        for quota in (k, len(order)):
            assert rung.first_open(quota, exclude) == plain.first_open(quota, exclude)
            assert [i for i in order if rung.is_open_among(i, quota)] == plain.candidates(quota)
    assert rung.order() == plain.order
    assert rung.open_order() == plain.candidates()


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("n_objectives", [1, 2, 3])
@pytest.mark.parametrize("shape", ["cloud", "front", "correlated", "grid", "falling"])
def test_hundreds_of_arrivals_end_in_the_plain_order(n_objectives: int, shape: str, within: str) -> None:
    n = 400
    losses = cloud(shape, n, n_objectives)
    rung = RungRanking(n_objectives, within)
    ids = np.random.default_rng(1).permutation(n).tolist()
    for i, trial_id in enumerate(ids):
        if i % 40 == 0:
            order = total_order(losses[sorted(ids[: i + 1])], within)
            best = [sorted(ids[: i + 1])[j] for j in order[: (i + 1) // 3]]
            assert rung.arrival(trial_id, losses[trial_id], (i + 1) // 3).is_in == (trial_id in best)
        rung.insert(trial_id, losses[trial_id])
        if i % 3 == 0:
            promoted = rung.first_open((i + 1) // 3)
            if promoted is not None:
                rung.shut(promoted)
    assert rung.order() == total_order(losses, within).tolist()


def cloud(shape: str, n: int, n_objectives: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    losses = rng.random((n, n_objectives))
    if shape == "front" and n_objectives > 1:
        losses[:, -1] = n_objectives - losses[:, :-1].sum(axis=1)
    if shape == "correlated":
        losses = losses[:, :1] + 0.05 * losses
    if shape == "grid":
        losses = np.floor(losses * 6)
    if shape == "falling":  # each dominates nearly all that came before it
        losses = losses * 0.1 - np.arange(n)[:, None]
    return losses


def test_nobody_is_in_a_rung_twice() -> None:
    rung = RungRanking(2)
    rung.insert(3, [1.0, 2.0])
    with pytest.raises(IllegalMoveError, match="trial 3 is already in this rung"):
        rung.insert(3, [0.0, 0.0])
    assert rung.order() == [3]


def test_a_question_changes_no_answer() -> None:
    rung, asked = RungRanking(2), RungRanking(2)
    rng = np.random.default_rng(5)
    for trial_id in range(120):
        loss = rng.random(2)
        for other in rng.random((3, 2)):
            asked.arrival(trial_id, other, 20)
        asked.arrival(trial_id, loss, 20)
        asked.arrival(trial_id + 1000, loss, 20)
        asked.first_open(20)
        for each in (rung, asked):
            each.insert(trial_id, loss)
    assert rung.order() == asked.order()


def test_an_empty_rung() -> None:
    rung = RungRanking(3)
    assert (len(rung), rung.order(), rung.first_open(5), rung.is_open_among(0, 5)) == (0, [], None, False)
    assert rung.arrival(0, [1.0, 1.0, 1.0], 1).is_in


@pytest.mark.parametrize("loss", [[1.0], [1.0, 2.0, 3.0], 1.0])
def test_a_loss_of_another_length_is_refused(loss: object) -> None:
    with pytest.raises(ArgumentError, match="2 numbers"):
        RungRanking(2).insert(0, loss)


def test_a_rung_needs_an_objective() -> None:
    with pytest.raises(ArgumentError, match="n_objectives"):
        RungRanking(0)
