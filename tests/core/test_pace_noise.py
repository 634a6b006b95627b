"""The noise of measured seconds: samples of the true ones."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from smooth_curves import SPACE, Smooth

from lightning_hwtune.core import pace_noise
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.pace_noise import PaceNoise
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.schedulers import ASHA, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.executor import Speeds, simulate


def state(spread: float, *, n: int = 60, seed: int = 0, scheduler: Scheduler | None = None) -> StudyFacts:
    objectives = Objectives([Metric("error", "min"), TrainSeconds(0)])
    spec = StudySpec("s", SPACE, objectives, scheduler or ASHA(27, first_rung=1), Random(), Pool("cpu", 4), seed=seed)
    return simulate(spec, Smooth(), Limits(n), speeds=Speeds(spread, seed))


def errors(found: StudyFacts, trials: list[TrialRecord], n_samples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Returns the errors of the measured logarithms, and those of the samples of the true ones."""
    true = np.array([math.log(Smooth().elapsed_s(t.config, t.last.resource, 1)) for t in trials])
    measured = np.array([math.log(t.last.train_s) for t in trials])
    samples = PaceNoise(found).sample([(t, t.last) for t in trials], n_samples, np.random.default_rng(0))
    return measured - true, measured + samples - true


def test_denoised_seconds_are_closer_to_the_true_ones() -> None:
    """The seconds are a smooth function of the width here, so much of the noise is removed."""
    found = state(0.3, n=120)
    raw, sampled = errors(found, found.trials)
    assert np.std(sampled.mean(axis=0)) < 0.6 * np.std(raw)


@pytest.mark.parametrize("spread", [0.2, 0.3])
def test_the_luck_of_the_trials_that_were_promoted_is_partly_removed(spread: float) -> None:
    """Fully trained trials were promoted, among other things, because they were measured as faster than they are."""
    off = []
    for seed in range(3):
        found = state(spread, seed=seed, scheduler=ASHA(27, first_rung=3))
        raw, sampled = errors(found, [t for t in found.trials if t.state is TrialState.COMPLETED])
        off.append((raw.mean(), sampled.mean()))
    raw_mean, mean = np.mean(off, axis=0)
    assert raw_mean < 0
    assert abs(mean) < 0.75 * abs(raw_mean)


def test_several_segments_are_less_noisy_than_one() -> None:
    found = state(0.3, n=40)
    several = next(t for t in found.trials if t.segment >= 3 and t.last is not None)
    alone = next(t for t in found.trials if t.segment == 1 and t.last is not None)
    samples = PaceNoise(found).sample([(t, t.last) for t in (several, alone)], 2000, np.random.default_rng(0))
    assert samples.std(axis=0)[0] < samples.std(axis=0)[1]


def test_a_trial_that_was_not_fitted_has_the_noise_of_one_segment() -> None:
    found = state(0.1, n=5)
    noise, trial = PaceNoise(found), copy.copy(found.trials[0])
    trial.trial_id = 999
    samples = noise.sample([(trial, trial.last)], 4000, np.random.default_rng(0))
    assert samples.std() == pytest.approx(noise.spread, rel=0.1)
    assert abs(samples.mean()) < 0.01


def test_fully_trained_trials_are_fitted_in_every_study(monkeypatch: pytest.MonkeyPatch) -> None:
    found = state(0.1, n=40)
    full = next(trial for trial in found.trials if trial.state is TrialState.COMPLETED)
    monkeypatch.setattr(pace_noise, "_MOST_FITTED", 20)
    noise = PaceNoise(found)
    assert len(noise._places) == 20
    assert (full.trial_id, 1) in noise._places


def test_a_study_without_reports_has_no_posterior() -> None:
    empty = StudyFacts(state(0.1, n=1).spec)
    assert PaceNoise(empty).sample([], 10, np.random.default_rng(0)).shape == (10, 0)
