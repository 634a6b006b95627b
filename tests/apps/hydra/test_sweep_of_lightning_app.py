"""Multiruns of Lightning apps that do not use this package: what goes wrong in them, kills, and continuation."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from sweeps import LIGHTNING, TEMPLATE, begin, load, start, sweep, wait_for_events

from lightning_hwtune.core.record import TrialState

pytestmark = [pytest.mark.training, pytest.mark.slow]
POOL = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 2}"
SEARCH = "lr=interval(0.01,0.2)"
PAUSES = "hydra.sweeper.hwtune.scheduler={name: asha, first_rung: 1}"  # all but the best, from the first epoch on
FAULTS = ["none", "kill", "exit_with_0", "exit_with_3", "tuple", "forget", "break"]


def test_each_way_to_misbehave_is_told_and_the_sweep_goes_on(tmp_path: Path) -> None:
    rates = {fault: 0.02 if fault == "forget" else 0.2 for fault in FAULTS}  # a slow one pauses before it forgets
    enqueued = ", ".join(f"{{lr: {rate}, fault: {fault}}}" for fault, rate in rates.items())
    sweep(
        LIGHTNING,
        [
            SEARCH,
            PAUSES,
            f"fault=choice({','.join(FAULTS)})",
            f"hydra.sweeper.hwtune.enqueue=[{enqueued}]",
            f"hydra.sweeper.n_trials={len(FAULTS)}",
            f"hydra.sweeper.hwtune.finishers={len(FAULTS)}",
            "hydra.sweeper.max_failure_rate=1.0",
            "hydra.sweeper.study_name=faults",
            "hydra.sweeper.hwtune.ckpt_path_key=ckpt_path",
            "+trainer.min_epochs=2",
            "hydra.sweep.dir=out",
            "hydra.sweep.subdir=${hydra.job.num}_${fault}",
            POOL,
        ],
        tmp_path,
    )
    state = load("faults", tmp_path).state()
    told = {trial.config["fault"]: trial for trial in state.trials}
    complete = [fault for fault, trial in told.items() if trial.state is TrialState.COMPLETED]
    assert complete == ["none", "kill", "exit_with_0", "exit_with_3", "tuple"]
    assert all(told[fault].state is TrialState.FAILED for fault in FAULTS[5:])
    shown = " ".join(
        note.text for note in state.notes
    )  # after a complete training an error is shown, and does not count
    assert "sys.exit(3)" in shown
    assert "one number, val/loss" in shown
    for fault, words in {
        "kill": "SIGKILL",
        "forget": "Pass ckpt_path to fit in the app",
        "break": "ValueError: the loader broke",
    }.items():
        assert words in told[fault].error, fault
    assert any("min_epochs=2 of the Trainer has no effect" in note.text for note in state.notes)
    assert any("trials that pause or stop skip the test that follows the training" in note.text for note in state.notes)
    assert sum("`hydra.sweeper.hwtune.disk_budget` does not count" in note.text for note in state.notes) == 1

    folders = {path.name: path for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert set(folders) == {f"{index}_{fault}" for index, fault in enumerate(FAULTS)}
    tested = (folders["0_none"] / "tested.txt").read_text().splitlines()
    assert len(tested) == 4, "tested once, after the end: four batches"
    resumed = OmegaConf.load(folders["0_none"] / ".hydra" / "segment_02" / "config.yaml")
    assert Path(resumed.ckpt_path).name == "segment_01_epochs_1.ckpt"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["hydra.sweeper.hwtune.objectives=[{metric: val/los, mode: min}]"],
            ["'val/los' was never logged; logged names: 'val/loss', 'val/size'; did you mean 'val/loss'?"],
        ),
        (["fault=one_device", "trainer.devices=2"], ["'1 in a process group of 1'", "Pass trainer.devices"]),
    ],
)
def test_what_no_trial_can_do_is_found_in_the_first_two_batches(
    overrides: list[str], words: list[str], tmp_path: Path
) -> None:
    done = start(LIGHTNING, [SEARCH, POOL, "hydra.sweeper.study_name=s", *overrides], tmp_path)
    assert done.returncode == 1
    for text in words:
        assert text in done.stdout
    assert load("s", tmp_path).state().trials == []


def test_a_sweep_is_interrupted_killed_and_continued_by_the_same_command(tmp_path: Path) -> None:
    """Its directory has the time in it, its trials run on one device and on two, and none is lost or made twice."""
    command = [
        SEARCH,
        PAUSES,
        "trainer.devices=choice(1,2)",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.hwtune.finishers=2",
        "hydra.sweeper.study_name=s",
        POOL,
    ]
    with begin(LIGHTNING, command, tmp_path) as process:
        wait_for_events("s", tmp_path, 1, process)
        hold = tmp_path / "hold"
        hold.touch()
        second = start(LIGHTNING, command, tmp_path)
        assert second.returncode == 1
        assert f"process {process.pid}" in second.stdout
        assert "Traceback" not in second.stdout
        hold.unlink()
        wait_for_events("s", tmp_path, 4, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "To continue, run the study again: the same command continues it." in (tmp_path / "output.txt").read_text()
    with begin(LIGHTNING, command, tmp_path) as process:
        wait_for_events("s", tmp_path, 6, process)
        process.kill()
        process.wait()
    assert "4 trials (" in sweep(LIGHTNING, command, tmp_path)

    state = load("s", tmp_path).state()
    assert len(state.trials) == 4
    assert not any(trial.state is TrialState.FAILED for trial in state.trials)
    assert any(segment.world_size == 2 for segment in state.segments)
    assert any(segment.number > 1 and segment.resource == 1 for segment in state.segments)
    [day] = (tmp_path / "multirun").iterdir()
    [folder] = day.iterdir()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [f"trial_{n:03d}" for n in range(4)]
    assert OmegaConf.load(folder / "optimization_results.yaml").best_value >= 0


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_check_refuses_an_app_whose_returned_value_alone_counts_and_is_none(tmp_path: Path, is_checked: bool) -> None:
    done = start(
        TEMPLATE,
        [
            "model.optimizer.lr=interval(0.001,0.1)",
            "~callbacks",  # so no metric is monitored
            "optimized_metric=null",
            "trainer.max_epochs=3",
            "data.n_samples=300",
            "logger=csv",
            "test=false",
            "hydra.sweeper.study_name=s",
            "hydra.sweeper.n_trials=1",
            f"hydra.sweeper.hwtune.check={str(is_checked).lower()}",
            POOL,
        ],
        tmp_path,
    )
    assert done.returncode == 1
    assert "`the value that the app returned` is None; allowed: one number, value" in done.stdout
    assert len(load("s", tmp_path).state().trials) == (0 if is_checked else 1)  # found out by the first trial
    assert len(list(tmp_path.rglob("metrics.csv"))) == (0 if is_checked else 1)
