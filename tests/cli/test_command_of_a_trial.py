"""`hwtune command`: what it prints is run, and trains what the trial trained."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.command import _as_job, _overrides
from lightning_hwtune.cli.commands import app
from lightning_hwtune.engine.payload import write_payload
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.settings import StudySettings

ROOT = Path(__file__).parents[2]
FUNCTION = """
def train(trial):
    state = trial.load() or {"epoch": 0}
    for epoch in range(state["epoch"] + 1, 10):
        if trial.report(epoch, loss=trial["lr"] + trial.config.get("momentum", 0.0) + 1 / epoch).kind != "continue":
            trial.save({"epoch": epoch})
            return
"""
STUDY = """
study: small
train: alone_function:train
space:
  lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
  optimizer: {type: choice, options: [sgd, "it's"]}
  momentum: {type: float, low: 0.0, high: 1.0, when: {optimizer: sgd}}
objectives: [{metric: loss, mode: min}]
scheduler: {name: asha, max_epochs: 9, eta: 3, first_rung: 1}
pool: {accelerator: cpu, devices: 1}
executor: inline
max_trials: 6
check: false
"""


def hwtune(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.stderr


def run(command: str, folder: Path) -> str:
    """Runs a printed command with this interpreter, as a shell would."""
    first, *rest = shlex.split(command)
    start = [sys.executable, *(["-m", "lightning_hwtune"] if first == "hwtune" else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *rest], cwd=folder, env=env, text=True, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_function_is_trained_alone_by_its_study_file(folder: Path):
    (folder / "alone_function.py").write_text(FUNCTION)
    (folder / "study.yaml").write_text(STUDY)
    hwtune("run", "study.yaml", "--quiet")
    trials = hwt.Study.load("small", "hwtune").state().trials
    paused = [trial for trial in trials if trial.state.value == "paused"]
    chosen = next(trial for trial in paused if "momentum" not in trial.config)
    assert chosen.config["optimizer"] == "it's"
    run(hwtune("command", chosen.trial_id, "study.yaml", "--study", "small"), folder)
    [alone] = hwt.Study.load(f"small-trial-{chosen.trial_id}", "hwtune").state().trials
    assert alone.config == chosen.config
    assert (alone.state.value, alone.segment, alone.resource) == ("completed", 1, 9)
    assert "Give the study file: hwtune command 0 STUDY.yaml" in hwtune("command", 0, "--study", "small", status=1)
    assert "a trial from 0 to 5" in hwtune("command", 17, "study.yaml", "--study", "small", status=1)


def test_a_function_of_a_script_is_not_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "alone_function.py").write_text(FUNCTION)
    (folder / "study.yaml").write_text(STUDY)
    hwtune("run", "study.yaml", "--quiet")
    (folder / "net_of_a_script.py").write_text(FUNCTION)
    write_payload(importlib.import_module("net_of_a_script").train, folder / "hwtune" / "small")
    monkeypatch.delitem(sys.modules, "net_of_a_script")
    (folder / "net_of_a_script.py").unlink()
    assert "Give the study file: hwtune command 0 STUDY.yaml" in hwtune("command", 0, "--study", "small", status=1)


POINT = "{lr: 0.01, width: 9, depth: 1, dropout: 0, weight_decay: 0.01, batch_size: 64, devices: 1}"
DEVICES = "devices: {type: num_devices, counts: [1, 2]}"
SCHEDULER = "scheduler: {name: asha, max_epochs: 27, eta: 3}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed: 0": f"enqueue: [{POINT}]"},
        {SCHEDULER: "max_epochs: 27"},
        {DEVICES: "", "seed: 0": "allocation: {name: doubling, max_devices: 2}", "  - cost_usd": ""},
    ],
)
def test_what_does_not_suit_one_configuration_is_changed(folder: Path, changes: dict[str, str]) -> None:
    text = (ROOT / "configs" / "study" / "demo.yaml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text)
    spec = StudySettings.load("study.yaml").spec()
    trial = SimpleNamespace(config=spec.space.sample(np.random.default_rng(0)), num_devices=2)
    state = SimpleNamespace(spec=spec, trials=[trial], ladder=spec.scheduler.ladder)
    alone = StudySettings.load("study.yaml", _overrides(state, 0, Path("study.yaml")))
    assert alone.study == "demo-trial-0"
    assert alone.enqueue == []
    assert alone.spec().objectives.names == ("val_error", "train_s")
    assert alone.spec().scheduler.ladder.top == 27
    assert alone.spec().allocator.counts == (trial.config.get("devices", 2),)


@pytest.mark.training
@pytest.mark.slow
def test_a_hydra_app_is_trained_alone(folder: Path):
    plain = ROOT / "tests" / "apps" / "plain" / "app.py"
    words = ["+x=interval(-5,5)", "+y=choice(0,1)", "hydra.sweeper.study_name=square", "hydra.sweeper.n_trials=2"]
    run(shlex.join(["python", str(plain), "-m", "hydra/sweeper=hwtune", *words]), folder)
    trial = hwt.Study.load("square", "hwtune").state().trials[1]
    command = hwtune("command", 1)
    assert shlex.split(command)[:2] == ["python", str(plain)]
    before = set(folder.rglob("overrides.yaml"))
    run(command, folder)
    [written] = set(folder.rglob("overrides.yaml")) - before
    assert f"+x={trial.config['x']}" in written.read_text()


@pytest.mark.training
@pytest.mark.slow
def test_a_lightning_script_is_trained_alone(folder: Path):
    shutil.copytree(ROOT / "tests" / "apps_cli" / "products", folder, dirs_exist_ok=True)
    (folder / "space.yaml").write_text("{model.lr: {type: choice, options: [0.001, 0.002]}}")
    (folder / "alone.py").write_text(
        "from lightning.pytorch.cli import LightningCLI\nfrom parts import Data, Net\n"
        "if __name__ == '__main__':\n    cli = LightningCLI(Net, Data)\n    print('LR', cli.model.hparams.lr)\n"
    )
    short = ["scheduler.max_epochs=2", "max_trials=2", "finishers=1", "--no-check", "--quiet"]
    hwtune("cli-tune", "config.yaml", "--script", "alone.py", "--space", "space.yaml", *short)
    trial = hwt.Study.load("config", "hwtune").state().trials[1]
    printed = run(hwtune("command", 1), folder)
    assert f"LR {trial.config['model.lr']}" in printed


def test_the_same_as_a_job_of_slurm(folder: Path) -> None:
    (folder / "alone_function.py").write_text(FUNCTION)
    (folder / "study.yaml").write_text(STUDY)
    hwtune("run", "study.yaml", "--quiet")
    alone = hwtune("command", 2, "study.yaml").strip()
    words = shlex.split(hwtune("command", 2, "study.yaml", "--sbatch"))
    assert words[:2] == ["sbatch", "--job-name=small-trial-2"]
    assert words[-2:] == ["--wrap", alone]
    assert {"--nodes=1", "--ntasks=1", "--cpus-per-task=1"} <= set(words)
    assert not any("gpu" in word for word in words)


def job(pool: hwt.Pool, devices: int) -> list[str]:
    spec = SimpleNamespace(pool=pool, name="big")
    return _as_job(SimpleNamespace(spec=spec, trials=[SimpleNamespace(num_devices=devices)]), 0, "hwtune run")


def test_the_job_has_the_devices_of_the_trial() -> None:
    words = job(hwt.Pool("gpu", devices=8, threads_per_device=4), 2)
    assert words[2:-2] == ["--nodes=1", "--ntasks=1", "--gpus-per-node=2", "--cpus-per-task=8"]
    with pytest.raises(ArgumentError, match="one node"):
        job(hwt.Pool("gpu", devices=4, nodes=2, threads_per_device=4), 8)
