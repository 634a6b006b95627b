from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV

from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.errors import ArgumentError


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_two_objectives_on_a_grid_count_the_dominated_cells(points: list[tuple[int, int]]) -> None:
    cells = sum(any(a <= x and b <= y for a, b in points) for x in range(4) for y in range(4))
    assert hypervolume(points, [4, 4]) == pytest.approx(cells)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
def test_agrees_with_pymoo(n_objectives: int) -> None:
    losses = np.random.default_rng(3).random((40, n_objectives))
    reference = np.full(n_objectives, 0.9)
    expected = HV(ref_point=reference)(losses) if n_objectives > 1 else 0.9 - losses.min()
    assert hypervolume(losses, reference) == pytest.approx(expected)


def test_rows_that_are_not_finite_or_beyond_the_reference_add_nothing() -> None:
    assert hypervolume([[math.nan, 0.0], [-math.inf, 0.0], [2.0, 0.0]], [1.0, 1.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("reference", [[1.0], [1.0, math.inf], [1.0, 1.0, 1.0]])
def test_a_reference_that_does_not_fit_is_refused(reference: list[float]) -> None:
    with pytest.raises(ArgumentError, match="reference"):
        hypervolume([[0.0, 0.0]], reference)
