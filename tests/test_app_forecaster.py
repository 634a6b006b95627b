"""A library that owns its Trainer, used as its users use it: fit, then predict. In all ways in, paused and killed.

Every trial's values are those of a study that trains each configuration without a pause, to the last digit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lightning_hwtune as hwt

APP = Path(__file__).parent / "apps" / "forecaster"
sys.path.insert(0, str(APP))
from study import CONFIGS, study, train  # noqa: E402 - next to the library, as in the user's folder

pytestmark = [pytest.mark.training, pytest.mark.slow]
LIMIT_S = 240.0
Values = dict[str, float]


def values(of: hwt.Study) -> Values:
    """Return the final value of each configuration; all are trained to the end."""
    trials = of.state().trials
    assert {trial.state.value for trial in trials} == {"completed"}, [trial.error for trial in trials]
    assert all((of.dir / "trials" / f"{trial.trial_id:03d}" / "backtest.txt").exists() for trial in trials)
    return {str(trial.config["lr"]): trial.last.values["val_loss"] for trial in trials if trial.last}


def n_resumed(of: hwt.Study) -> int:
    return sum(segment.number > 1 for segment in of.state().segments)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Values:
    """One device, no pause."""
    whole = study("run_to_end", 1, tmp_path_factory.mktemp("whole"))
    whole.run(train, max_trials=3, executor="inline", progress=False)
    assert n_resumed(whole) == 0
    return values(whole)


def test_inline(tmp_path: Path, uninterrupted: Values) -> None:
    paused = study("asha", 1, tmp_path)
    paused.run(train, max_trials=3, finishers=3, executor="inline", progress=False)
    assert n_resumed(paused) >= 2
    assert values(paused) == uninterrupted
    texts = [note.text for note in paused.state().notes]
    assert len([text for text in texts if "after" in text and "paused" in text]) <= 2, "said once per study"


def test_ask_and_tell(tmp_path: Path, uninterrupted: Values) -> None:
    paused = study("asha", 1, tmp_path)
    while (trial := paused.ask(max_trials=3, finishers=3)) is not None:
        try:
            train(trial)
        except Exception as error:
            if not trial.is_paused_or_stopped:  # a paused trial has no forecast
                raise error
        paused.tell(trial)
    assert n_resumed(paused) >= 2
    assert values(paused) == uninterrupted


def begin(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(APP / "study.py"), *words], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )


def ends(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.wait(LIMIT_S) == 0, (folder / "output.txt").read_text()


def kill_at(folder: Path, name: str, n_reports: int, process: subprocess.Popen[bytes]) -> None:
    """Kill a study after so many reports."""
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            trials = hwt.Study.load(name, dir=folder / "hwtune").state().trials
        except hwt.HwTuneError:
            trials = []
        if sum(len(trial.measurements) for trial in trials) >= n_reports:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_script_that_is_killed_continues_with_the_same_command(tmp_path: Path, uninterrupted: Values) -> None:
    process = begin(tmp_path, "asha", "1")
    kill_at(tmp_path, "asha-1", 4, process)
    ends(begin(tmp_path, "asha", "1"), tmp_path)
    found = hwt.Study.load("asha-1", dir=tmp_path / "hwtune")
    assert n_resumed(found) >= 2
    assert values(found) == uninterrupted
    assert len(found.state().trials) == len(CONFIGS)


def test_two_devices(tmp_path: Path) -> None:
    for scheduler in ("run_to_end", "asha"):
        ends(begin(tmp_path, scheduler, "2"), tmp_path)
    whole, paused = (hwt.Study.load(f"{name}-2", dir=tmp_path / "hwtune") for name in ("run_to_end", "asha"))
    assert {segment.num_devices for segment in paused.state().segments} == {2}
    assert n_resumed(paused) >= 2
    assert values(paused) == values(whole)


def test_a_hydra_app(tmp_path: Path) -> None:
    judged = "hydra.sweeper.hwtune.objectives=[{metric: val_loss, mode: min}]"
    keys = [f"hydra.sweeper.hwtune.{key}" for key in ("max_epochs_key=n_epochs", "devices_key=devices")]
    pool = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1}"
    grid = ["lr=choice(0.03,0.003)", "hydra.sweeper.hwtune.searcher=grid", "hydra.sweeper.n_trials=2"]
    found: list[Values] = []
    for name, scheduler in {"paused": "{name: asha, first_rung: 1, eta: 2}", "whole": "run_to_end"}.items():
        words = [f"hydra.sweeper.hwtune.scheduler={scheduler}", f"hydra.sweeper.study_name={name}"]
        command = [sys.executable, str(APP / "app.py"), "-m", "hydra/sweeper=hwtune", *grid, judged, *keys, pool]
        command += [*words, "hydra.sweeper.hwtune.finishers=2", f"hydra.sweep.dir={name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        trials = hwt.Study.load(name, dir=tmp_path / "hwtune").state().trials
        found.append({str(trial.config["lr"]): trial.last.values["val_loss"] for trial in trials if trial.last})
        if name == "paused":
            assert max(trial.segment for trial in trials) == 2
            assert "the app returned" in done.stdout + done.stderr, "its error is another one than val_loss"
    assert found[0] == found[1]
