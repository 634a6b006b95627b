"""The knee: on the first front, near the best of every objective, whatever the units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.knee import knee


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(0.0, 9.0), (1.0, 1.0), (9.0, 0.0)], 1),
        ([(9.0, 0.0), (0.0, 9.0), (4.0, 6.0), (2.0, 2.0)], 3),
        ([(0.5, 100.0), (0.2, 300.0), (0.21, 120.0)], 2),  # another unit for each objective
        ([(0.0, 1.0, 5.0), (1.0, 0.0, 5.0), (0.1, 0.1, 5.0)], 2),  # one objective that never varies
        ([(3.0, 3.0)], 0),
        ([(1.0, 2.0), (2.0, 1.0)], 0),  # two ends only: the first
        ([(1.0, 1.0), (0.0, 1e6), (5.0, 5.0), (1e6, 0.0)], 0),  # a dominated point next to it
    ],
)
def test_the_compromise_is_found(losses: list[tuple[float, ...]], expected: int) -> None:
    assert knee(losses) == expected


@given(st.lists(st.tuples(*[st.floats(0.0, 1.0)] * 3), min_size=1, max_size=12), st.tuples(*[st.floats(0.1, 9.0)] * 3))
def test_it_is_on_the_front_and_does_not_depend_on_units(
    losses: list[tuple[float, ...]], factors: tuple[float, ...]
) -> None:
    matrix = np.round(np.array(losses), 3)
    assert front_ranks(matrix)[knee(matrix)] == 0
    unit = matrix * np.array([2.0**3, 2.0**-4, 2.0])  # exact in floating point
    assert knee(unit) == knee(matrix)


def test_an_exploded_loss_does_not_move_the_knee() -> None:
    losses = [(0.10, 100.0), (0.12, 50.0), (0.2, 20.0), (0.5, 10.0), (0.6, 9.0)]
    assert knee([*losses, (1e6, 4.0)]) == knee(losses) == 2
