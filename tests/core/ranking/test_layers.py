from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import slow_ranking as slow
from front_store_rules import Points, check_arrivals, points, stored

from lightning_hwtune.core.ranking.layers import Layers


@settings(max_examples=60)
@given(points(st.integers(2, 4)), st.data())
def test_fronts_are_those_that_are_peeled_from_all_points(arriving: Points, data: st.DataObject) -> None:
    closing = data.draw(st.lists(st.integers(0, 24), min_size=len(arriving), max_size=len(arriving)))
    check_arrivals(Layers(len(arriving[0])), arriving, closing)


@pytest.mark.parametrize("n", [63, 64, 65, 150])
def test_fronts_survive_the_growth_of_the_matrix(n: int) -> None:
    losses = [tuple(row) for row in np.random.default_rng(n).integers(0, 9, (n, 3)).astype(float).tolist()]
    store = Layers(3)
    for trial_id, loss in enumerate(losses):
        store.insert(trial_id, loss, store.front_of(loss))
    assert [sorted(front) for front in stored(store)] == slow.fronts(losses)
    assert all(store.is_open(front).all() for front in range(store.n_fronts))


def test_duplicates_share_a_front_and_a_point_that_dominates_them_moves_all_of_them() -> None:
    store = Layers(3)
    for trial_id in range(3):
        assert list(store.insert(trial_id, (1.0, 1.0, 1.0), 0)) == [0]
    assert list(store.insert(3, (1.0, 1.0, 0.5), 0)) == [0, 1]
    assert [sorted(front) for front in stored(store)] == [[3], [0, 1, 2]]
