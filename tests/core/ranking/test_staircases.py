from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from front_store_rules import Points, check_arrivals, points, stored

from lightning_hwtune.core.ranking.layers import Layers
from lightning_hwtune.core.ranking.staircases import Staircases


@settings(max_examples=60)
@given(points(st.just(2)), st.data())
def test_fronts_are_those_that_are_peeled_from_all_points(arriving: Points, data: st.DataObject) -> None:
    closing = data.draw(st.lists(st.integers(0, 24), min_size=len(arriving), max_size=len(arriving)))
    check_arrivals(Staircases(), arriving, closing)


@settings(max_examples=30)
@given(points(st.just(2), max_size=40))
def test_the_members_of_a_front_are_in_the_order_of_its_steps(arriving: Points) -> None:
    stairs, layers = Staircases(), Layers(2)
    for trial_id, loss in enumerate(arriving):
        front = stairs.front_of(loss)
        assert stairs.insert(trial_id, loss, front) == layers.insert(trial_id, loss, layers.front_of(loss))
    for front in range(stairs.n_fronts):
        firsts, seconds = stairs.members(front)[1].T
        assert (np.diff(firsts) >= 0).all()
        assert (np.diff(seconds) <= 0).all()
    assert stored(stairs) == stored(layers)


@pytest.mark.parametrize(
    ("loss", "front", "pushed_back"),
    [
        ((0.0, 0.0), 0, [0, 1, 2]),
        ((2.0, 2.0), 0, []),  # a duplicate shares its step
        ((1.5, 1.5), 0, [1]),
        ((0.5, 4.0), 0, []),
        ((4.0, 4.0), 1, []),
    ],
)
def test_an_arrival_pushes_back_the_steps_that_it_dominates(
    loss: tuple[float, float], front: int, pushed_back: list[int]
) -> None:
    store = Staircases()
    for trial_id, step in enumerate([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]):
        store.insert(trial_id, step, 0)
    assert store.front_of(loss) == front
    store.insert(3, loss, front)
    behind = [i for i in stored(store)[1] if i != 3] if store.n_fronts > 1 else []
    assert behind == pushed_back
