"""Real trials that share one device: they train at the same time, with their part of its threads, in one log."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import check_log, of_kind, run, small_study
from study_functions import leave, study_dir, wait_for

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import Outcome

pytestmark = pytest.mark.training


def _meet(trial: hwt.Trial) -> None:
    """Trains only when the other trial of the pair trains, too."""
    import torch

    leave(trial, f"began_{trial.id}", torch.get_num_threads())
    wait_for(study_dir(trial) / f"began_{trial.id ^ 1}")
    for epoch in range(1, trial.max_epochs + 1):
        if trial.report(epoch, error=trial["x"] + 1 / epoch).kind != "continue":
            trial.save(epoch)
            return


def _meet_or_run_out(trial: hwt.Trial) -> None:
    """The second trial has no memory while it shares its device."""
    leave(trial, "segments", f"{trial.id} {trial.segment}")
    if trial.id == 1 and trial.segment == 1:
        wait_for(study_dir(trial) / "ended_0")
        raise MemoryError("too much for half a device")
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        leave(trial, f"ended_{trial.id}")
        if trial.report(epoch, error=trial["x"] + 1 / epoch).kind != "continue":
            trial.save(epoch)
            return


def test_two_trials_train_on_one_device_at_the_same_time(tmp_path: Path) -> None:
    pool = hwt.Pool("cpu", devices=1, threads_per_device=2, per_device=2, usd_per_device_hour=3600.0)
    objectives = [hwt.Metric("error", "min"), hwt.Cost()]
    study = run(small_study(tmp_path, pool=pool, objectives=objectives, scheduler=hwt.RunToEnd(2)), _meet, max_trials=2)
    started, ended = of_kind(study, ev.SegmentStarted), of_kind(study, ev.SegmentEnded)
    assert [(event.trial_id, list(event.slots), event.allocation.per_device) for event in started] == [
        (0, [0], 2),
        (1, [0], 2),
    ]
    assert [(study.dir / f"began_{i}").read_text().split() for i in range(2)] == [["1"], ["1"]]
    assert all(event.outcome == "done" for event in ended)
    assert all(event.billed_usd == pytest.approx(event.wall_s / 2) for event in ended)
    check_log(study)
    assert "1/2 of a device (0)" in study.why(1)
    assert study.plot("timeline") is not None


def test_a_trial_without_memory_gets_a_device_to_itself(tmp_path: Path) -> None:
    pool = hwt.Pool("cpu", devices=1, per_device=2)
    study = run(small_study(tmp_path, pool=pool, scheduler=hwt.RunToEnd(2)), _meet_or_run_out, max_trials=3)
    events = list(study.events())
    place = next(
        i for i, e in enumerate(events) if isinstance(e, ev.SegmentEnded) and e.outcome == Outcome.OUT_OF_MEMORY
    )
    failed, later = events[place], [event for event in events[place:] if isinstance(event, ev.SegmentStarted)]
    assert isinstance(failed, ev.SegmentEnded)
    assert (failed.trial_id, failed.next_allocation.per_device) == (1, 1)
    assert {event.allocation.per_device for event in later} == {1}
    assert (1, 2) in {(event.trial_id, event.segment) for event in later}
    assert all(trial.state == "completed" for trial in check_log(study).trials)
