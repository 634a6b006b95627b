"""A LightningCLI script whose callbacks look for a learning rate and a batch size with their own fits.

In all ways in, paused and killed: every trial's values are those of a training without a pause, to the last digit.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lightning_hwtune as hwt

APP = Path(__file__).parent / "apps_cli" / "finders"
sys.path.insert(0, str(APP))

pytestmark = [pytest.mark.training, pytest.mark.slow]
LIMIT_S = 240.0
SCHEDULERS = {"whole": hwt.RunToEnd(max_epochs=4), "paused": hwt.ASHA(4, first_rung=1, eta=2)}
Values = dict[str, float]


def values(study: hwt.Study) -> Values:
    trials = study.state().trials
    assert {trial.state.value for trial in trials} == {"completed"}, [trial.error for trial in trials]
    return {str(trial.config): trial.last.values["val_loss"] for trial in trials if trial.last}


def n_resumed(study: hwt.Study) -> int:
    return sum(segment.number > 1 for segment in study.state().segments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has the app's files; its loggers write to `runs/finders/shared`, one folder for all trials."""
    shutil.copytree(APP, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------- a training function that calls the LightningCLI


def train(trial: hwt.Trial) -> None:
    from lightning.pytorch.cli import LightningCLI
    from main import Data, Net

    words = [f"--model.width={trial['width']}", f"--trainer.default_root_dir={trial.dir}"]
    LightningCLI(Net, Data, args=["fit", "--config", str(APP / "config.yaml"), *words])


def study(name: str, folder: Path) -> hwt.Study:
    return hwt.Study(
        name, {"width": hwt.Choice([4, 16])}, [hwt.Metric("val_loss", "min")], scheduler=SCHEDULERS[name],
        searcher=hwt.Grid(), pool=hwt.Pool("cpu", devices=1), dir=folder,
    )  # fmt: skip


def test_a_function_inline_and_asked(folder: Path) -> None:
    whole = study("whole", folder / "a")
    whole.run(train, max_trials=2, executor="inline", progress=False)
    paused = study("paused", folder / "b")
    paused.run(train, max_trials=2, finishers=2, executor="inline", progress=False)
    assert n_resumed(paused) >= 2
    assert values(paused) == values(whole)
    asked = study("paused", folder / "c")
    while (trial := asked.ask(max_trials=2, finishers=2)) is not None:
        train(trial)
        asked.tell(trial)
    assert values(asked) == values(whole)


# ---------------------------------------------------------------------- hwtune cli-tune


def command(name: str) -> list[str]:
    scheduler = {"whole": "{name: run_to_end}", "paused": "{name: asha, first_rung: 1, eta: 2}"}[name]
    words = ["config.yaml", "--space", "space.yaml", "--script", "main.py", "--study", name, f"scheduler={scheduler}"]
    more = ["max_trials=2", "finishers=2", "max_parallel=1", "objectives=[{metric: val_loss, mode: min}]"]
    return [sys.executable, "-m", "lightning_hwtune", "cli-tune", *words, *more]


def begin(name: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command(name), cwd=folder, stdout=output, stderr=subprocess.STDOUT)


def test_cli_tune_that_is_killed_in_a_shared_log_folder(folder: Path) -> None:
    assert begin("whole", folder).wait(LIMIT_S) == 0, (folder / "output.txt").read_text()
    process, deadline, reports = begin("paused", folder), time.monotonic() + LIMIT_S, 0
    while reports < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        try:
            trials = hwt.Study.load("paused", dir=folder / "hwtune").state().trials
        except hwt.HwTuneError:
            continue
        reports = sum(len(trial.measurements) for trial in trials)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert begin("paused", folder).wait(LIMIT_S) == 0, (folder / "output.txt").read_text()
    whole, paused = (hwt.Study.load(name, dir=folder / "hwtune") for name in ("whole", "paused"))
    assert n_resumed(paused) >= 2
    assert values(paused) == values(whole)
    said = (folder / "output.txt").read_text()
    assert said.count("LearningRateFinder runs only in the first segment of a trial") == 1
    assert "shared/config.yaml belongs to another run and was not changed" in said
    saved = (folder / "runs" / "finders" / "shared" / "config.yaml").read_text()
    assert "trials/000" in saved, "the first trial's, which the others have left alone"
