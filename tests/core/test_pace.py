"""Paces as a log shows them: first epochs warm up, device counts differ, a check counts as one more trial."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import spec
from test_reference_count import Moving, is_moved, trained

from lightning_hwtune.core import pace
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.epoch_times import EpochTimes, TrialEpochs
from lightning_hwtune.core.pace import Pace, SeenPaces
from lightning_hwtune.core.pace_model import PaceModel
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState

EPOCH_S, WARM_UP_S, STARTUP_S = 2.0, 0.5, 3.0


@pytest.fixture(scope="module")
def moved() -> Moving:
    """Some trials move from one device to two after their first rung."""
    return trained(12, range(12), moves_from=2)


def controller() -> Controller:
    made = Controller(StudyState(spec()), lambda events: None)
    made.create(0.0)
    made.open(Limits(max_trials=9), 0.0, "host", 1, "0")
    return made


def train(
    made: Controller, now: float, *, epoch_s: float = EPOCH_S, startup_s: float = STARTUP_S, power: int = -1
) -> float:
    """Runs the next segment alone; its first epoch takes longer. With power 1, each trial is worse than those before.

    Returns when it has ended.
    """
    decision = made.ask(now, 2)
    assert isinstance(decision, Start | Resume)
    segment = made.begin(decision, tuple(range(decision.num_devices)), now)
    trained_s = WARM_UP_S
    for epoch in range(segment.resource + 1, made.state.race.max_resource + 1):
        trained_s += epoch_s
        end = now + startup_s + trained_s
        verdict = made.report(segment.trial_id, epoch, {"error": (segment.trial_id + 1.0) ** power}, trained_s, end)
        if verdict.kind != "continue":
            if verdict.kind == "pause":
                made.saved(segment.trial_id, f"{segment.trial_id}", "", 0, epoch, trained_s, end)
            break
    made.tell(segment.trial_id, end, "done")
    return end


def height(config: Mapping[str, Any]) -> float:
    """Returns the place of a learning rate in its range, from 0 to 1."""
    return (math.log10(config["lr"]) + 4) / 3


def test_first_epochs_are_not_the_pace_and_start_ups_contain_the_warm_up() -> None:
    made, now = controller(), 0.0
    assert not SeenPaces(made.state)
    now = train(made, now)
    only = SeenPaces(made.state)
    assert only.epochs_s == {0: pytest.approx(EPOCH_S + WARM_UP_S)}  # nothing better is known yet
    while not any(segment.epochs > 1 for segment in made.state.segments):
        now = train(made, now)
    seen = SeenPaces(made.state)
    assert set(seen.epochs_s) == {trial.trial_id for trial in made.state.trials}
    assert list(seen.epochs_s.values()) == pytest.approx([EPOCH_S] * len(seen.epochs_s))
    assert seen.startup_s(1) == pytest.approx(STARTUP_S + WARM_UP_S)


@pytest.mark.parametrize("warm_up_s", [0.0, 0.5, 5.0])
def test_a_check_tells_the_warm_up_of_the_first_trials_and_is_one_trial_among_others(warm_up_s: float) -> None:
    made = controller()
    train(made, 0.0)
    seen = SeenPaces(made.state, Pace({1: 8.0}, 1.0, warm_up_s))
    first_s = EPOCH_S + WARM_UP_S
    assert seen.epochs_s == {0: pytest.approx(max(first_s - warm_up_s, first_s / 2))}
    num_devices = made.state.trials[0].num_devices
    donors = dict(seen.donors(num_devices))
    assert donors[0] == seen.epochs_s[0]
    assert donors.get(None) == (8.0 if num_devices == 1 else None)


def test_before_the_log_knows_anything_the_check_counts_alone() -> None:
    seen = SeenPaces(controller().state, Pace({1: 8.0, 2: 4.0}, 1.5))
    assert (list(seen.donors(1)), list(seen.donors(2)), list(seen.donors(3))) == (
        [(None, 8.0)], [(None, 4.0)], [(None, 6.0)]
    )  # fmt: skip
    assert seen.startup_s(1) == seen.startup_s(2) == 1.5


@pytest.mark.parametrize("n_later", [1, 2, 3])
def test_one_slow_first_start_up_does_not_count_for_all(n_later: int) -> None:
    made = controller()
    now = train(made, 0.0, startup_s=60.0)
    [first] = made.state.segments
    while sum(segment.num_devices == first.num_devices for segment in made.state.segments) <= n_later:
        now = train(made, now)
    assert SeenPaces(made.state).startup_s(first.num_devices) < 10.0


@pytest.mark.parametrize("slow", [1.0, 20.0])
def test_a_new_trial_gets_the_pace_of_its_own_configuration(slow: float) -> None:
    """The largest learning rate makes an epoch `slow` times as long as the smallest."""
    made, now = controller(), 0.0
    made.open(Limits(max_trials=40), 0.0, "host", 1, "0")
    while len(made.state.trials) < 30:
        decision = made.ask(now, 2)
        assert isinstance(decision, Start | Resume)
        config = decision.config if isinstance(decision, Start) else made.state.trials[decision.trial_id].config
        now = train(made, now, epoch_s=EPOCH_S * slow ** height(config))
    seen, rng = SeenPaces(made.state), np.random.default_rng(0)
    trials = sorted(made.state.trials, key=lambda trial: height(trial.config))
    low, high = (float(np.median([seen.draw(trial, rng)[1] for _ in range(300)])) for trial in (trials[0], trials[-1]))
    assert high / low == pytest.approx(slow ** (height(trials[-1].config) - height(trials[0].config)), rel=0.35)


@pytest.mark.parametrize("slow", [1.0, 20.0])
def test_a_pace_is_a_trials_own_or_the_one_expected_of_its_configuration(slow: float) -> None:
    made, now = controller(), 0.0
    made.open(Limits(max_trials=40), 0.0, "host", 1, "0")
    assert SeenPaces(made.state).expected_epoch_s(TrialRecord(-1, {}, 0, 0, 1, 0.0)) == 0.0  # nothing is known yet
    while len(made.state.trials) < 30:
        decision = made.ask(now, 2)
        assert isinstance(decision, Start | Resume)
        config = decision.config if isinstance(decision, Start) else made.state.trials[decision.trial_id].config
        now = train(made, now, epoch_s=EPOCH_S * slow ** height(config))
    times = EpochTimes()
    seen = SeenPaces(made.state, times=times)
    for trial in made.state.trials:
        assert seen.expected_epoch_s(trial) == seen.epochs_s[trial.trial_id]
    low, high = (
        seen.expected_epoch_s(TrialRecord(-1, {"lr": lr, "batch_size": 32, "devices": 1}, 0, 0, 1, 0.0))
        for lr in (1e-4, 1e-1)
    )
    assert high / low == pytest.approx(slow, rel=0.35)
    train(made, now)
    assert SeenPaces(made.state, times=times).epochs_s == SeenPaces(made.state).epochs_s  # what is remembered is right


def test_resumed_segments_have_their_own_start_up() -> None:
    made, now = controller(), 0.0
    made.open(Limits(max_trials=40), 0.0, "host", 1, "0")
    while sum(segment.resource > 0 for segment in made.state.segments) < 3:
        decision = made.ask(now, 2)
        now = train(made, now, startup_s=9.0 if isinstance(decision, Resume) else 3.0, power=1)
    seen = SeenPaces(made.state)
    assert seen.startup_s(1, is_resumed=True) == pytest.approx(9.0 + WARM_UP_S)
    assert seen.startup_s(1, is_resumed=False) == pytest.approx(3.0 + WARM_UP_S)


def test_the_model_is_fitted_when_a_pace_is_drawn_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []

    class Counted(PaceModel):
        def __init__(self, points: Any, logs: Any) -> None:
            fitted.append(len(points))
            super().__init__(points, logs)

    monkeypatch.setattr(pace, "PaceModel", Counted)
    made, now = controller(), 0.0
    for _ in range(3):
        now = train(made, now)
    seen = SeenPaces(made.state)
    assert seen.startup_s(1) > 0
    assert seen.donors(1)
    assert not fitted
    for _ in range(2):
        seen.draw(made.state.trials[0], np.random.default_rng(0))
    assert fitted == [len(seen.epochs_s)]


def test_after_a_move_the_pace_is_that_of_the_present_devices(moved: Moving) -> None:
    """They are 1.6 times as fast as one device. Start-ups take no time here, whatever the devices."""
    seen = SeenPaces(moved.state)
    counts = {1: 0, 2: 0}
    for trial in moved.state.trials:
        counts[trial.num_devices] += 1
        expected = moved.pace_s(trial.trial_id) / moved.speed_ups[trial.num_devices]
        assert seen.epochs_s[trial.trial_id] == pytest.approx(expected)
    assert min(counts.values()) > 1
    for devices in (1, 2):
        assert seen.startup_s(devices) == pytest.approx(0.0, abs=1e-9)


def test_before_its_first_report_there_the_pace_is_that_of_the_devices_before(moved: Moving) -> None:
    trial = next(trial for trial in moved.state.trials if is_moved(moved, trial.trial_id)).copied()
    segments = [s for s in moved.state.segments if s.trial_id == trial.trial_id and s.num_devices == 1]
    assert TrialEpochs(trial, segments).epoch_s(0.0) == pytest.approx(moved.pace_s(trial.trial_id))
