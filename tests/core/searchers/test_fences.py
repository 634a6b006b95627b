"""Losses for a Gaussian process: the fence of exploded losses, and violators behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.searchers.fences import fenced_losses

LOSS = Objectives([Metric("loss", "min")])
TIMED = Objectives([Metric("loss", "min"), TrainSeconds(resolution=0), Cost(resolution=0)])


@pytest.mark.parametrize("n", [12, 40, 200])
@pytest.mark.parametrize(("share", "most"), [(0.1, 1.0), (0.26, 2.0), (1 / 3, 2.0), (0.45, 8.0), (0.55, 8.0)])
@pytest.mark.parametrize("exploded", ["alike", "spread", "huge"])
def test_exploded_losses_do_not_hide_the_others_however_many_they_are(
    n: int, share: float, most: float, exploded: str
) -> None:
    rng, k = np.random.default_rng(n), round(share * n)
    usual = rng.uniform(0.1, 0.5, n - k)
    far = {"alike": np.full(k, 1e6), "spread": 10 ** rng.uniform(2, 9, k), "huge": rng.uniform(1e200, 1.7e308, k)}
    losses = rng.permutation(np.append(usual, far[exploded]))
    found = fenced_losses(losses[:, None], LOSS)[:, 0]
    better = np.sort(usual)[: len(usual) // 2]
    assert np.sort(found)[: len(better)] == pytest.approx(better)
    assert (np.diff(found[np.argsort(losses)]) >= 0).all()
    assert better.max() < found.max() < most


@pytest.mark.parametrize("objectives", [TIMED, Objectives([Metric("a", "min"), Metric("b", "max")])])
def test_each_objective_has_its_own_fence(objectives: Objectives) -> None:
    rng, n = np.random.default_rng(0), len(objectives)
    losses = rng.uniform(1.0, 2.0, (40, n))
    losses[::3, 0], losses[1::3, 1] = 1e9, 1e30
    found = fenced_losses(losses, objectives)
    assert np.ptp(found[1::3, 0]) > 0.2
    assert np.ptp(found[::3, 1]) > 0.2
    assert np.ptp(found, axis=0).max() < 5


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_losses_that_converge_keep_the_differences_of_the_others(steps: int) -> None:
    rng = np.random.default_rng(steps)
    losses = np.append(rng.uniform(0.2, 1.0, 20), 10.0 ** -rng.uniform(1, 1 + steps, 25))
    found = fenced_losses(losses[:, None], LOSS)[:, 0]
    assert found == pytest.approx(losses, abs=0.2)


@pytest.mark.parametrize("values", [[0.3], [0.3] * 5, [0.3, 0.3, 0.3, 0.7], [-1e308, 1e308], [math.nan] * 3, []])
def test_few_or_equal_losses_are_finite(values: list[float]) -> None:
    found = fenced_losses(np.array(values, dtype=float)[:, None], LOSS)
    assert np.isfinite(found).all()
    assert np.isfinite(np.ptp(found)) if values else found.shape == (0, 1)


def test_violators_are_behind_the_fence_in_the_order_of_their_violations() -> None:
    bounded = Objectives([Metric("loss", "min"), TrainSeconds()], [Constraint("size", at_most=1.0)])
    sizes = [0.5, 0.5, 3.0, 2.0, 0.5, 2.0]
    values = [0.0, 0.1, 0.0, 0.1, 0.2, 0.3]
    rows = [
        bounded.loss({"loss": value, "train_s": 1.0 + n, "size": size})
        for n, (value, size) in enumerate(zip(values, sizes, strict=True))
    ]
    found = fenced_losses(np.array(rows), bounded)
    usual = [0, 1, 4]
    assert found[usual, 0] == pytest.approx([0.0, 0.1, 0.2])
    assert (found[[2, 3, 5]].min(axis=0) >= found[usual].max(axis=0)).all()
    assert (found[2] > found[3]).all()
    assert found[3] == pytest.approx(found[5])
    alone = fenced_losses(np.array(rows)[[2, 3]], bounded)
    assert (alone[0] > alone[1]).all()


def test_seconds_and_dollars_count_in_their_logarithm() -> None:
    losses = np.array([[0.1, 1.0, 2.0], [0.2, 10.0, 20.0], [0.3, 100.0, 200.0]])
    found = fenced_losses(losses, TIMED)
    assert found[:, 0] == pytest.approx([0.1, 0.2, 0.3])
    assert np.diff(found[:, 1]) == pytest.approx([math.log(10)] * 2)
    assert np.diff(found[:, 2]) == pytest.approx([math.log(10)] * 2)
    assert np.isfinite(fenced_losses(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, math.nan]]), TIMED)).all()


@pytest.mark.parametrize("worst", [1e6, 1e300, math.inf, math.nan, -math.inf])
def test_a_loss_that_exploded_counts_as_the_fence(worst: float) -> None:
    usual = np.linspace(0.1, 0.5, 20)
    found = fenced_losses(np.append(usual, worst)[:, None], LOSS)[:, 0]
    assert found[:-1] == pytest.approx(usual)
    assert 0.5 <= found[-1] < 1.5


@given(arrays(float, st.integers(1, 30), elements=st.floats(-1e6, 1e6) | st.sampled_from([math.inf, math.nan])))
def test_the_order_of_losses_stays(losses: np.ndarray) -> None:
    found = fenced_losses(losses[:, None], LOSS)[:, 0]
    assert np.isfinite(found).all()
    order = np.argsort(np.where(np.isfinite(losses), losses, np.inf), kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()
