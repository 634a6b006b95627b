"""Violators of a constraint in the order of a rung: behind all feasible trials, the least violation first."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.feasibility import LARGEST_LOSS, excess, is_violator, place_of, violator_mask
from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.core.ranking.fronts import front_ranks, is_dominated, non_dominated_mask
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.ranking.rung import RungRanking

ORDERS = [*WITHIN, "weighted", "weighted:3,1", "objective:0", "objective:1"]
amounts = st.one_of(st.floats(min_value=5e-324), st.sampled_from([1e-300, 1e-12, 0.1, 0.25, 1.0, 1e300, math.inf]))


@given(amounts, amounts)
def test_a_greater_violation_has_a_greater_place(one: float, other: float) -> None:
    first, second = place_of(one), place_of(other)
    assert LARGEST_LOSS < first < math.inf
    assert is_violator((first, first))
    if one * (1 + 1e-11) < other:
        assert first < second
    if one <= other:
        assert first <= second


@pytest.mark.parametrize(
    ("value", "at_most", "at_least", "amount"),
    [
        (0.25, 0.2, None, 0.25),
        (0.2, 0.2, None, 0.0),
        (0.1, None, 0.2, 0.5),
        (0.2, None, 0.2, 0.0),
        (-3.0, -4.0, None, 0.25),
        (-5.0, None, -4.0, 0.25),
        (0.3, 0.0, None, 0.3),
        (5.0, 4.0, 2.0, 0.25),
        (1.0, 4.0, 2.0, 0.5),
        (3.0, 4.0, 2.0, 0.0),
        (math.nan, 1.0, None, math.inf),
        (math.inf, None, 1.0, math.inf),
        (-math.inf, 1.0, None, math.inf),
        (math.nan, None, None, 0.0),
        (1e308, -1e308, None, math.inf),
    ],
)
def test_the_amount_is_relative_to_the_bound(
    value: float, at_most: float | None, at_least: float | None, amount: float
) -> None:
    assert excess(value, at_most, at_least) == pytest.approx(amount)


@st.composite
def rungs(draw: st.DrawFn) -> list[list[float]]:
    m = draw(st.integers(1, 3))
    number = st.one_of(st.integers(0, 5).map(float), st.sampled_from([-1e300, LARGEST_LOSS, math.nan]))
    feasible = st.lists(number, min_size=m, max_size=m)
    violating = st.sampled_from([1e-9, 0.5, 0.5, 2.0, math.inf]).map(lambda amount: [place_of(amount)] * m)
    return draw(st.lists(st.one_of(feasible, violating), min_size=1, max_size=20))


def groups(rows: Any) -> list[int]:
    """Returns 0 for a feasible trial, 1 for a violator and 2 for a trial with a loss that is not finite."""
    return [2 if not np.isfinite(row).all() else int(is_violator(row)) for row in rows]


@settings(max_examples=60)
@given(rows=rungs(), order=st.sampled_from(ORDERS), data=st.data())
def test_no_violator_comes_before_a_feasible_trial_in_any_order(
    rows: list[list[float]], order: str, data: st.DataObject
) -> None:
    m = len(rows[0])
    if (order.endswith(":1") and m == 1) or (order == "weighted:3,1" and m != 2):
        order = "weighted"
    rung, ids = RungRanking(m, order), data.draw(st.permutations(range(len(rows))))
    for trial_id in ids:
        foreseen = rung.arrival(trial_id, rows[trial_id], 3)
        rung.insert(trial_id, rows[trial_id])
        place = rung.place(trial_id, 3)
        assert place == foreseen
        assert place.is_feasible == (groups([rows[trial_id]]) != [1])
        there = rung.order()
        assert place.first <= there.index(trial_id) <= place.last
        if place.is_finite:
            assert place.is_in == (there.index(trial_id) < 3)
        known = [rows[i] for i in there]
        assert groups(known) == sorted(groups(known))
        places = [row[0] for row, group in zip(known, groups(known), strict=True) if group == 1]
        assert places == sorted(places)
        assert rung.open_order() == [i for i in there if groups([rows[i]]) != [2]]
        best = rung.first_open(3, ())
        assert best == next((i for i in there[:3] if groups([rows[i]]) != [2]), None)
    if order in WITHIN:
        assert rung.order() == total_order(rows, order).tolist()
    first = rung.order()[0]
    rung.shut(first)
    assert not rung.is_open_among(first, len(rows))


@given(rungs())
def test_fronts_are_those_of_constraint_domination(rows: list[list[float]]) -> None:
    """Deb et al., 2002, section VI: feasible trials by Pareto, then violators by their violation."""
    finite = [row for row in rows if np.isfinite(row).all()]
    for a, b in itertools.permutations(finite, 2):
        if is_violator(a) or is_violator(b):
            key_a, key_b = ((is_violator(row), row[0] if is_violator(row) else 0.0) for row in (a, b))
            assert is_dominated(b, [a]) == (key_a < key_b)
    if finite:
        mask, is_violating = non_dominated_mask(finite), violator_mask(np.array(finite))
        assert is_violating.all() or not (mask & is_violating).any()
        assert (front_ranks(finite)[is_violating] >= front_ranks(finite)[~is_violating].max(initial=-1)).all()


def test_violators_do_not_change_the_scale_or_the_order_of_the_others() -> None:
    rng = np.random.default_rng(0)
    for order in WITHIN:
        losses = rng.random((30, 2))
        alone, mixed = RungRanking(2, order), RungRanking(2, order)
        for i, row in enumerate(losses):
            alone.insert(i, row)
            mixed.insert(i, row)
            mixed.insert(100 + i, np.full(2, place_of(rng.random())))
        assert mixed.order()[:30] == alone.order()
