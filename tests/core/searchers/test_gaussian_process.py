"""The Gaussian process of TPE: against plain formulas, and what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.gaussian_process import GaussianProcess, _surprise, log_improvement
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace

SPACE = SearchSpace(
    x=Float(0, 1),
    width=Int(1, 64, log=True),
    kind=Choice(["a", "b", "c"]),
    momentum=Float(0, 1, when={"kind": "a"}),
)
CELLS = Cells(SPACE)


def sampled(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return CELLS.rows([SPACE.sample(rng) for _ in range(n)])


def wave(rows: np.ndarray) -> np.ndarray:
    """Depends on x and on the kind, not on the width."""
    return np.asarray(np.sin(3 * rows[:, 0]) + 0.5 * (rows[:, 2] == 1))


def plain_covariance(left: np.ndarray, right: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Matern's with nu = 5/2, pair by pair."""

    def of(a: np.ndarray, b: np.ndarray) -> float:
        squares = 0.0
        for place, length in enumerate(lengths):
            if place == 2:
                squares += (0.0 if a[place] == b[place] else 0.49) / length**2
            else:
                ends = [0.5 if math.isnan(end) else end for end in (a[place], b[place])]
                squares += (ends[0] - ends[1]) ** 2 / length**2
        way = math.sqrt(5 * squares)
        return (1 + way + way**2 / 3) * math.exp(-way)

    return np.array([[of(a, b) for b in right] for a in left])


@pytest.mark.parametrize("n", [1, 2, 12])
def test_predictions_are_those_of_the_formula(n: int) -> None:
    rows, others = sampled(n), sampled(7, seed=1)
    losses = 3 + 10 * wave(rows)
    process = GaussianProcess(CELLS, rows, losses)
    lengths, noise = process._weights**-0.5, process._noise + 1e-8
    scaled = (losses - losses.mean()) / (losses.std() or 1.0)
    inverse = np.linalg.inv(plain_covariance(rows, rows, lengths) + noise * np.eye(n))
    shared = plain_covariance(others, rows, lengths)
    variance = max(scaled @ inverse @ scaled / n, 1e-6)
    expected, deviation = process.predict(others)
    assert expected == pytest.approx(shared @ inverse @ scaled, abs=1e-6)
    left = np.maximum(1 - np.einsum("ij,jk,ik->i", shared, inverse, shared), 1e-8)
    assert deviation == pytest.approx(np.sqrt(left * variance), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random((15, 3))
    squares = ((points[:, None] - points) ** 2).transpose(2, 0, 1)
    theta, losses = rng.normal(-0.5, 0.5, 4), rng.standard_normal(15)
    value, slope = _surprise(theta, squares, losses)
    assert math.isfinite(value)
    for place in range(4):
        step = 1e-5 * np.eye(4)[place]
        ends = [_surprise(theta + sign * step, squares, losses)[0] for sign in (1, -1)]
        assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_it_predicts_what_it_has_not_seen_and_finds_out_what_matters() -> None:
    rows, others = sampled(60), sampled(200, seed=1)
    losses = wave(rows)
    process = GaussianProcess(CELLS, rows, losses)
    expected, _ = process.predict(others)
    errors = expected * losses.std() + losses.mean() - wave(others)
    assert np.abs(errors).mean() < 0.05
    lengths = process._weights**-0.5
    assert lengths[1] > 3 * lengths[0]  # the width does not matter


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_the_losses_does_not_matter(scale: float) -> None:
    rows, others = sampled(20), sampled(5, seed=1)
    reference = GaussianProcess(CELLS, rows, wave(rows)).predict(others)
    found = GaussianProcess(CELLS, rows, 7 * scale + scale * wave(rows)).predict(others)
    assert np.array(found) == pytest.approx(np.array(reference), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_equal_losses_and_equal_points_give_finite_predictions(n: int) -> None:
    rows = sampled(n)
    for points, losses in ((rows, np.zeros(n)), (rows[:1].repeat(n, axis=0), np.arange(float(n)))):
        assert np.isfinite(GaussianProcess(CELLS, points, losses).predict(sampled(5, seed=1))).all()


def test_a_running_trial_makes_it_surer_and_expects_nothing_else() -> None:
    rows, others = sampled(20), sampled(50, seed=2)
    running = others[:1]
    before = GaussianProcess(CELLS, rows, wave(rows)).predict(others)
    after = GaussianProcess(CELLS, rows, wave(rows)).expecting(running).predict(others)
    assert after[0] == pytest.approx(before[0], abs=0.02)
    assert after[1][0] < 0.3 * before[1][0]
    assert (after[1] < before[1] + 1e-9).all()
    assert GaussianProcess(CELLS, rows, wave(rows)).expecting(rows[:0]).predict(others)[1] == pytest.approx(before[1])


@pytest.mark.parametrize("below", [-2.0, -0.3, 0.0, 1.0, 4.0])
def test_the_expected_improvement_is_an_integral(below: float) -> None:
    deviation, best = 0.7, 0.2
    middle = best - below
    density = stats.norm(middle, deviation).pdf
    expected, _ = integrate.quad(lambda loss: (best - loss) * density(loss), best - 30, best)
    found = log_improvement(np.array([middle]), np.array([deviation]), best)
    assert math.exp(found[0]) == pytest.approx(expected, rel=1e-6)


def test_the_expected_improvement_falls_without_end() -> None:
    found = log_improvement(np.linspace(-3, 60, 500), np.full(500, 1.0), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0.02).all()  # the two formulas meet at 5 deviations
    assert found[-1] < -1000


def test_the_covariance_beforehand_is_on_the_scale_of_the_losses() -> None:
    rows = sampled(12)
    process, larger = (GaussianProcess(CELLS, rows, scale * wave(rows)) for scale in (1.0, 10.0))
    lengths = process._weights**-0.5
    expected = process._variance * np.var(wave(rows)) * plain_covariance(rows, rows, lengths)
    assert process.prior_covariance() == pytest.approx(expected)
    assert larger.prior_covariance() == pytest.approx(100 * expected)


def test_further_columns_are_numbers() -> None:
    """A column behind those of the parameters explains losses that the parameters cannot explain."""
    rows = sampled(20)
    more = np.column_stack([rows, np.linspace(0, 1, 20)])
    losses = 5 * more[:, -1]
    expected, _ = GaussianProcess(CELLS, more[::2], losses[::2]).predict(more[1::2])
    assert np.corrcoef(expected, losses[1::2])[0, 1] > 0.95
