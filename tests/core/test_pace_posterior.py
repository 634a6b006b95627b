"""The joint distribution of true paces, against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_hwtune.core.pace_posterior import PacePosterior


def test_one_measurement_is_as_uncertain_as_its_noise() -> None:
    found = PacePosterior(np.array([[100.0]]), np.array([3.0]), np.array([0.04]), 0.04)
    assert found.mean == pytest.approx([3.0])
    assert found.covariance[0, 0] == pytest.approx(0.04, rel=0.01)


def test_it_is_the_conditional_normal_distribution() -> None:
    """Blocks of the joint covariance of true and measured values; the effects are so large that few can be pulled."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((5, 5))
    shared, logs, noise = factor @ factor.T, rng.standard_normal(5), np.linspace(0.1, 0.5, 5)
    found = PacePosterior(shared, logs, noise, 0.2)
    prior = np.linalg.inv(np.linalg.inv(found.covariance) - np.diag(1 / noise))  # precisions add up
    assert np.linalg.eigvalsh(prior).min() > 0
    assert np.diag(prior - shared).min() > 0  # it contains the covariance, the mean and the effects
    away = logs - logs.mean()
    assert found.mean == pytest.approx(logs.mean() + prior @ np.linalg.solve(prior + np.diag(noise), away))


def test_samples_have_the_mean_and_the_covariance() -> None:
    shared = np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = PacePosterior(shared, np.array([0.0, 0.1, 1.0]), np.full(3, 0.25), 0.01)
    samples = found.sample(40000, np.random.default_rng(0))
    assert samples.mean(axis=0) == pytest.approx(found.mean, abs=0.02)
    assert np.cov(samples.T) == pytest.approx(found.covariance, abs=0.01)
    assert np.corrcoef(samples.T)[0, 1] > np.corrcoef(samples.T)[0, 2] + 0.3


@pytest.mark.parametrize("away", [2.0, -2.0, 5.0])
def test_an_exceptional_trial_is_not_pulled_to_what_its_configuration_lets_expect(away: float) -> None:
    rng = np.random.default_rng(0)
    logs = 0.1 * rng.standard_normal(30)
    logs[7] = away
    found = PacePosterior(np.full((30, 30), 1.0), logs, np.full(30, 0.01), 0.01)
    assert found.mean[7] == pytest.approx(away, abs=0.1)
    assert np.std(np.delete(found.mean, 7)) < 0.9 * np.std(np.delete(logs, 7))  # the ordinary ones are


def test_noise_alone_does_not_count_as_effects_of_the_trials() -> None:
    rng = np.random.default_rng(0)
    noise, n = 0.01, 100
    found = [
        PacePosterior(np.full((n, n), 1.0), x, np.full(n, noise), noise) for x in 0.1 * rng.standard_normal((5, n))
    ]
    left = [float(np.std(each.mean)) for each in found]
    assert np.median(left) < 0.025  # of 0.1


@pytest.mark.parametrize("logs", [[1.0, 1.0, 1.0], [0.0] * 12])
def test_equal_measurements_are_not_certainly_equal(logs: list[float]) -> None:
    n = len(logs)
    found = PacePosterior(np.full((n, n), 1e-9), np.array(logs), np.full(n, 0.0025), 0.0025)
    gap = found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1]
    assert np.sqrt(gap) > 0.02
