"""Multiruns through launchers of Hydra's: rungs as batches, one device per trial."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from sweeps import LIGHTNING, PLAIN, load, start, sweep

from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training
POOL = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 2}"
LAUNCHERS = {"basic": "", "joblib": "JoblibLauncher", "submitit_local": "LocalLauncher"}


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "key"), [("basic", None), ("joblib", None), ("submitit_local", "ckpt_path")])
def test_a_sweep_completes_through_each_launcher(launcher: str, key: str | None, tmp_path: Path) -> None:
    """The second trial pauses, and resumes from its checkpoint in a separate job."""
    output = sweep(
        LIGHTNING,
        [
            f"hydra/launcher={launcher}",
            "lr=interval(0.01,0.2)",
            "hydra.sweeper.hwtune.enqueue=[{lr: 0.2}, {lr: 0.02}]",
            "hydra.sweeper.hwtune.scheduler={name: asha, first_rung: 1}",
            "hydra.sweeper.n_trials=2",
            "hydra.sweeper.hwtune.finishers=2",
            "hydra.sweeper.study_name=s",
            f"hydra.sweeper.hwtune.ckpt_path_key={key or 'null'}",
            "hydra.sweep.dir=out",
            "hydra.sweep.subdir=lr_${lr}",
            POOL,
        ],
        tmp_path,
    )
    name = LAUNCHERS[launcher]
    assert (f"{name} runs batches: trials train to their next rung together, on one device each" in output) == bool(
        name
    )
    state = load("s", tmp_path).state()
    assert [trial.state for trial in state.trials] == [TrialState.COMPLETED] * 2
    assert state.trials[1].segment == 2
    assert [segment.resource for segment in state.segments if segment.trial_id == 1] == [0, 1]
    for lr in (0.2, 0.02):
        folder = tmp_path / "out" / f"lr_{lr}"
        assert len((folder / "tested.txt").read_text().splitlines()) == 4, "tested after a pause, too"
        assert OmegaConf.load(folder / ".hydra" / "config.yaml").lr == lr
    resumed = OmegaConf.load(tmp_path / "out" / "lr_0.02" / ".hydra" / "segment_02" / "config.yaml")
    assert (resumed.ckpt_path is not None) == (key is not None)
    values = {trial.last.values["val/loss"] for trial in state.trials if trial.last}
    assert OmegaConf.load(tmp_path / "out" / "optimization_results.yaml").best_value == min(values)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_trials_of_several_devices_are_refused_with_the_remedy(launcher: str, tmp_path: Path) -> None:
    done = start(PLAIN, [f"hydra/launcher={launcher}", "+trainer.devices=choice(1,2)", POOL], tmp_path)
    assert done.returncode == 1
    assert f"{LAUNCHERS[launcher]} for trials on 2 devices" in done.stdout
    assert "Leave out hydra/launcher" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_job_has_its_trials_number_in_every_run(tmp_path: Path) -> None:
    """Launchers count from 0 in each run."""
    command = [
        "hydra/launcher=joblib",
        "+x=choice(0,100)",
        "+y='${oc.decode:1${hydra:job.id}${hydra:job.num}}'",
        "hydra.sweeper.study_name=s",
        POOL,
    ]
    for n_trials in (1, 2):
        sweep(PLAIN, [*command, f"hydra.sweeper.n_trials={n_trials}"], tmp_path)
    trials = load("s", tmp_path).state().trials
    assert [trial.last.values["value"] - trial.config["x"] ** 2 for trial in trials if trial.last] == [100, 111]


@pytest.mark.slow
def test_a_job_that_dies_and_one_that_raises_are_told(tmp_path: Path) -> None:
    """What a launcher raises for its batch is one trial's fault; the sweep continues."""
    faults = ["none", "raise", "kill", "exit_with_3", "none_again"]
    sweep(
        PLAIN,
        [
            "hydra/launcher=submitit_local",
            f"+fault=choice({','.join(faults)})",
            f"hydra.sweeper.hwtune.enqueue=[{', '.join(f'{{fault: {fault}}}' for fault in faults)}]",
            f"hydra.sweeper.n_trials={len(faults)}",
            "hydra.sweeper.max_failure_rate=1.0",
            "hydra.sweeper.hwtune.max_retries=0",
            "hydra.sweeper.study_name=faults",
            POOL,
        ],
        tmp_path,
    )
    trials = {trial.config["fault"]: trial for trial in load("faults", tmp_path).state().trials}
    complete = [fault for fault, trial in trials.items() if trial.state is TrialState.COMPLETED]
    assert complete == ["none", "none_again"]
    assert "the data are not there" in trials["raise"].error
    assert "without a last message" in trials["kill"].error
    assert "sys.exit(3)" in trials["exit_with_3"].error
