"""The linear model of paces: the fit, the choice of the penalty, and when it says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_hwtune.core.pace_model import PaceModel


def points(n: int, n_columns: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, n_columns))


@pytest.mark.parametrize("n_trials", [8, 20, 200])
@pytest.mark.parametrize("weights", [(3.0, 0.0, 0.0, 0.0), (2.0, -1.0, 0.5, 0.0), (0.0, 0.0, 0.0, -4.0)])
def test_a_pace_that_follows_the_configuration_is_predicted(weights: tuple[float, ...], n_trials: int) -> None:
    known, new = points(n_trials), points(50, seed=1)
    noise = 0.05 * np.random.default_rng(2).standard_normal(n_trials)
    model = PaceModel(known, known @ np.array(weights) + noise + 7.0)
    assert model.is_useful
    found, true = model.log_pace(new), new @ np.array(weights)
    assert np.corrcoef(found, true)[0, 1] > 0.95
    assert np.std(found - true) < 0.35 * np.std(true)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_trials", [2, 5, 6, 30, 200])
def test_paces_that_do_not_follow_it_give_no_model(n_trials: int, seed: int) -> None:
    logs = np.random.default_rng(seed + 100).standard_normal(n_trials)
    model = PaceModel(points(n_trials, seed=seed), logs)
    if n_trials >= 30 or n_trials < 6:
        assert not model.is_useful
        assert not model.log_pace(points(3)).any()


@pytest.mark.parametrize("n_columns", [1, 3, 12])
@pytest.mark.parametrize("noise", [0.2, 0.6])
def test_the_weights_are_those_of_the_penalty_with_the_least_error_over_refits(n_columns: int, noise: float) -> None:
    """An independent calculation: as many refits as trials for each penalty, each by the normal equations."""
    n_trials = 20
    x, rng = points(n_trials, n_columns), np.random.default_rng(5)
    y = 5.0 * x[:, 0] + noise * rng.standard_normal(n_trials)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    design = np.column_stack([np.ones(n_trials), scaled])

    def weights(rows: np.ndarray, penalty: float) -> np.ndarray:
        ridge = np.diag([0.0, *[penalty] * n_columns])
        return np.linalg.solve(design[rows].T @ design[rows] + ridge, design[rows].T @ y[rows])

    def error(penalty: float) -> float:
        rest = [np.arange(n_trials) != i for i in range(n_trials)]
        return float(np.mean([(y[~rows] - design[~rows] @ weights(rows, penalty)) ** 2 for rows in rest]))

    best = min((0.3, 1.0, 3.0, 10.0, 30.0), key=error)
    expected = design @ weights(np.full(n_trials, True), best)
    found = PaceModel(x, y).log_pace(x)
    assert found - found.mean() == pytest.approx(expected - expected.mean())


def test_columns_that_never_vary_and_equal_paces_are_no_problem() -> None:
    x = points(12)
    x[:, 1] = 0.5
    assert PaceModel(x, 2 * x[:, 0]).is_useful
    assert not PaceModel(x, np.zeros(12)).is_useful
    assert not PaceModel(np.full((12, 2), 0.5), np.arange(12.0)).is_useful
    assert not PaceModel(np.zeros((0, 3)), np.zeros(0)).is_useful
