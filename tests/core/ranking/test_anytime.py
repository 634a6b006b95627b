from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightning_hwtune.core.ranking.anytime import hypervolume_curve
from lightning_hwtune.core.ranking.hypervolume import hypervolume

CELLS = st.one_of(st.floats(-0.2, 1.2), st.just(float("nan")), st.sampled_from([0.0, 0.5, 1.0]))


@given(losses=hnp.arrays(float, st.tuples(st.integers(0, 12), st.integers(2, 3)), elements=CELLS))
def test_each_value_is_the_hypervolume_of_the_rows_so_far(losses: np.ndarray) -> None:
    corner = np.ones(losses.shape[1])
    curve = hypervolume_curve(losses, corner)
    assert curve == pytest.approx([hypervolume(losses[: n + 1], corner) for n in range(len(losses))])
    assert (np.diff(curve) >= -1e-12).all()
