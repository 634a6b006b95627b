"""The noise of measured seconds: estimated from segments, and removed with a regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.pace_noise import LEAST_SPREAD, PaceNoise
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.executor import Speeds, simulate

SPACE = SearchSpace(width=Float(0, 4), lr=Float(0, 1))


class Smooth:
    """The error falls with the width, which the seconds grow with: every trial is on the front."""

    metrics = ("error",)
    max_resource = 27

    def values(self, config, resource):
        return {"error": 1 / (1 + config["width"]) + 0.1 / resource}

    def elapsed_s(self, config, resource, num_devices):
        return resource * math.exp(config["width"]) + (0.5 * math.exp(config["width"]) if resource else 0.0)

    def usd_per_s(self, config, num_devices):
        return 0.0


def state(
    spread: float, *, n: int = 60, seed: int = 0, scheduler: Scheduler | None = None, per_trial: bool = False
) -> StudyFacts:
    objectives = Objectives([Metric("error", "min"), TrainSeconds(0)])
    spec = StudySpec("s", SPACE, objectives, scheduler or ASHA(27, first_rung=1), Random(), Pool("cpu", 4), seed=seed)
    return simulate(spec, Smooth(), Limits(n), speeds=Speeds(spread, seed, per_trial))


@pytest.mark.parametrize("spread", [0.1, 0.2, 0.5])
def test_the_spread_is_estimated_from_trials_with_several_segments(spread: float) -> None:
    found = [PaceNoise(state(spread, seed=seed)).spread for seed in range(3)]
    assert np.mean(found) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: state(0.0),  # a warm-up in each trial's first epoch does not count as noise
        lambda: state(0.01),
        lambda: state(0.2, scheduler=RunToEnd(27), n=10),  # one segment per trial says nothing
        lambda: state(0.2, per_trial=True),
        lambda: state(0.2, n=1, scheduler=RunToEnd(27)),
    ],
)
def test_a_least_spread_is_assumed(quiet) -> None:
    assert PaceNoise(quiet()).spread == LEAST_SPREAD


def test_one_segment_that_hung_does_not_make_all_seconds_noisy() -> None:
    found = state(0.1)
    before = PaceNoise(found).spread
    slow = next(segment for segment in found.segments if segment.number == 2 and segment.reached > segment.resource)
    slow.train_s += 1e5
    assert PaceNoise(found).spread < 1.5 * before


def test_denoised_seconds_are_closer_to_the_true_ones() -> None:
    """The regression knows the true form here, so most of the noise is removed, and the deviation says how much."""
    found = state(0.3, n=120)
    noise, raw, denoised, stated = PaceNoise(found), [], [], []
    for trial in found.trials:
        true = math.log(Smooth().elapsed_s(trial.config, trial.last.resource, 1))
        known, measured = noise.log_seconds(trial, trial.last), math.log(trial.last.train_s)
        raw.append(measured - true)
        denoised.append(measured + known.shift - true)
        stated.append(known.deviation)
    assert np.std(denoised) < 0.6 * np.std(raw)
    assert max(stated) <= noise.spread + 1e-12


def test_several_segments_are_less_noisy_than_one() -> None:
    found = state(0.3)
    noise = PaceNoise(found)
    several = next(t for t in found.trials if t.segment >= 3 and t.last is not None)
    first, last = (noise._noise(several, m) for m in (several.measurements[0], several.last))
    assert last < first == noise.spread


def test_a_study_without_reports_has_no_regression() -> None:
    empty = StudyFacts(state(0.1, n=1).spec)
    assert PaceNoise(empty).spread == LEAST_SPREAD
