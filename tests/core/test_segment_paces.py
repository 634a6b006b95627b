"""The pace of each segment, and the spread of the paces of one trial."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from smooth_curves import SPACE, Smooth

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.segment_paces import LEAST_SPREAD, segment_paces, spread_of
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.executor import Speeds, simulate


def state(
    spread: float, *, n: int = 60, seed: int = 0, scheduler: Scheduler | None = None, per_trial: bool = False
) -> StudyFacts:
    objectives = Objectives([Metric("error", "min"), TrainSeconds(0)])
    spec = StudySpec("s", SPACE, objectives, scheduler or ASHA(27, first_rung=1), Random(), Pool("cpu", 4), seed=seed)
    return simulate(spec, Smooth(), Limits(n), speeds=Speeds(spread, seed, per_trial))


@pytest.mark.parametrize("spread", [0.1, 0.2, 0.5])
def test_the_spread_is_estimated_from_trials_with_several_segments(spread: float) -> None:
    found = [spread_of(segment_paces(state(spread, seed=seed))) for seed in range(3)]
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
    assert spread_of(segment_paces(quiet())) == LEAST_SPREAD


def test_one_segment_that_hung_does_not_make_all_seconds_noisy() -> None:
    found = state(0.1)
    before = spread_of(segment_paces(found))
    slow = next(segment for segment in found.segments if segment.number == 2 and segment.reached > segment.resource)
    slow.train_s += 1e5
    assert spread_of(segment_paces(found)) < 1.5 * before


def test_segments_on_other_devices_are_not_compared() -> None:
    """Eight times the devices for some trials, and so a shorter time, is not noise."""
    found = state(0.1)
    for segment in found.segments:
        if segment.number == 2 and segment.trial_id % 2 == 0:
            segment.allocation = Allocation(devices=8)
            segment.train_s = segment.base_train_s + (segment.train_s - segment.base_train_s) / 5
    assert spread_of(segment_paces(found)) < 0.15


def test_a_pace_has_no_warm_up() -> None:
    """A trial's first epoch takes half as long again. A segment that has no further one is corrected by that factor."""
    found = state(0.0)
    paces = segment_paces(found)
    assert {works[0].end for works in paces.values()} >= {1, 3}  # without and with further epochs
    for trial_id, of_trial in paces.items():
        width = found.trials[trial_id].config["width"]
        assert [work.log_pace for work in of_trial] == pytest.approx([width] * len(of_trial), abs=0.01)


def test_repeated_epochs_count_once() -> None:
    found = state(0.0)
    before = segment_paces(found)
    trial_id = next(trial_id for trial_id, works in before.items() if len(works) > 1)
    second = next(s for s in found.segments if s.trial_id == trial_id and s.number == 2)
    lost = copy.copy(second)
    found.segments.insert(found.segments.index(second), lost)  # the same epochs, in a segment that was lost
    assert segment_paces(found) == before


def test_without_segments_there_are_no_paces() -> None:
    empty = StudyFacts(state(0.1, n=1).spec)
    assert segment_paces(empty) == {}
    assert spread_of({}) == LEAST_SPREAD
