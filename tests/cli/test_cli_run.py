"""`hwtune run` and `hwtune check` as users start them: separate processes, real segments, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app

pytestmark = pytest.mark.training
LIMIT_S = 120.0
REPOSITORY = Path(__file__).parents[2]

FUNCTIONS = """\
import time

def train(trial):
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        time.sleep(0.02)
        print("epoch", epoch, flush=True)
        if trial.report(epoch, error=abs(trial["x"] - 0.3) + 1 / epoch).kind != "continue":
            trial.save(epoch)
            return

def endless(trial):
    trial.report(1, error=1.0)
    time.sleep(600)

def failing(trial):
    raise RuntimeError("the data are not there")
"""
STUDY_FILE = """\
study: toy
train: functions:train
space:
  x: {type: float, low: 0, high: 1}
objectives: [{metric: error, mode: min}, train_s]
scheduler: {name: asha, max_epochs: 3, first_rung: 1}
pool: {accelerator: cpu, devices: 2}
enqueue: [{x: 0.25}, {x: 0.75}]
max_trials: 6
finishers: 2
"""
PROBE = """
import sys
from lightning_hwtune.cli.commands import main
try:
    main()
finally:
    print("frameworks:", [name for name in ("torch", "lightning") if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "study.yaml").write_text(STUDY_FILE)
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Starts `hwtune` in the folder, with its output in files: a pipe would be held open by the fork server."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-c", PROBE, *words],
            cwd=folder,
            stdout=out,
            stderr=err,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )


def hwtune(folder: Path, *words: str, status: int = 0) -> str:
    """Runs `hwtune` to its end; returns what it printed."""
    assert start(folder, *words).wait(LIMIT_S) == status, said(folder)
    return (folder / "out").read_text()


def said(folder: Path) -> str:
    return (folder / "err").read_text()


def wait_for_segment(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a trial of this session has reported."""
    deadline = time.monotonic() + LIMIT_S
    while not running(folder):
        assert process.poll() is None, said(folder)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(folder: Path) -> list[Any]:
    try:
        state = hwt.Study.load("toy", folder / "hwtune").state()
    except hwt.HwTuneError:
        return []
    return [segment for segment in state.running.values() if segment.reached > segment.resource]


@pytest.mark.slow
def test_a_second_run_is_refused_or_waits_for_its_turn(folder: Path):
    words = ("run", "study.yaml", "--no-check", "max_trials=1", "~enqueue")
    first = start(folder, *words, "train=functions:endless")
    wait_for_segment(first, folder)
    hwtune(folder, *words, status=1)
    assert f"study 'toy' is run by process {first.pid}" in said(folder)
    second = start(folder, *words, "--wait")
    deadline = time.monotonic() + LIMIT_S
    while "another process runs this study; waiting until it has ended" not in said(folder):
        assert second.poll() is None, said(folder)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    assert second.wait(LIMIT_S) == 0, said(folder)
    first.wait(LIMIT_S)
    assert hwt.Study.load("toy", folder / "hwtune").state().n_full == 1


def test_runs_a_file_and_does_nothing_the_second_time(folder: Path):
    first = hwtune(folder, "run", "study.yaml")
    assert "frameworks: []" in said(folder)
    study = hwt.Study.load("toy", folder / "hwtune")
    state = study.state()
    assert [trial.config for trial in state.trials[:2]] == [{"x": 0.25}, {"x": 0.75}]
    assert (len(state.trials), state.closed.state if state.closed else "") == (6, "finished")
    assert first.index("rungs of 6 trials") < first.index("trial 0 starts") < first.index("front of toy")
    assert "hwtune/toy/trials/" in first[first.index("front of toy") :]
    for kind in ("front", "timeline"):
        assert f"{kind}: hwtune/toy/{kind}.png" in first
        assert (study.dir / f"{kind}.png").exists()
    drawn_ns = (study.dir / "front.png").stat().st_mtime_ns

    second = hwtune(folder, "run", "study.yaml")
    assert "starts" not in second
    assert second[second.index("front of toy") :] == first[first.index("front of toy") :]
    assert len(study.state().segments) == len(state.segments)
    assert (study.dir / "front.png").stat().st_mtime_ns == drawn_ns
    quiet = hwtune(folder, "run", "study.yaml", "--quiet")
    shown_last = second[second.index("front of toy") :]
    assert "next: hwtune front --study toy   hwtune why TRIAL --study toy\n" in shown_last
    advice = ("next: ", "To continue, ")
    assert quiet == "".join(line for line in shown_last.splitlines(keepends=True) if not line.startswith(advice))
    assert not study.state().enqueued


@pytest.mark.parametrize(("output", "status"), [("full disk", 1), ("closed pipe", -signal.SIGPIPE)])
def test_an_output_that_goes_away_costs_the_study_nothing(folder: Path, output: str, status: int):
    if output == "full disk":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        read, out = os.pipe()
        os.close(read)
    with (folder / "err").open("w") as err:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, "run", "study.yaml", "--no-check"],
            cwd=folder,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            timeout=LIMIT_S,
        )
    os.close(out)
    assert done.returncode == status, said(folder)
    assert "Traceback" not in said(folder)
    study = hwt.Study.load("toy", folder / "hwtune")
    state = study.state()
    assert (len(state.trials), state.closed.state if state.closed else "") == (6, "finished"), said(folder)
    assert {segment.outcome for segment in state.segments} == {"done"}


@pytest.mark.slow
def test_a_signal_ends_it_and_the_line_it_prints_goes_on(folder: Path):
    words = ("run", "study.yaml", "--no-check", "max_trials=2", "~enqueue", "--max-time", "1h")
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = start(folder, *words, "train=functions:endless")
        wait_for_segment(process, folder)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(LIMIT_S) == status, said(folder)
        assert "hwtune run study.yaml max_trials=2 '~enqueue' train=functions:endless --no-check --max-time 1h" in said(
            folder
        )
        assert "Traceback" not in said(folder)
        _, left = psutil.wait_procs(family, timeout=5.0)
        assert [" ".join(p.cmdline()) for p in left if p.status() != psutil.STATUS_ZOMBIE] == []
        state = hwt.Study.load("toy", folder / "hwtune").state()
        assert state.closed is not None
        assert state.closed.state == "interrupted"
        assert not state.running
    hwtune(folder, *words)
    assert hwt.Study.load("toy", folder / "hwtune").state().n_full >= 1


@pytest.mark.slow
def test_another_terminal_stops_a_trial_queues_a_configuration_and_ends_the_session(folder: Path):
    words = ("run", "study.yaml", "--no-check", "max_trials=4", "~enqueue", "pool.devices=1")
    process = start(folder, *words, "train=functions:endless")
    wait_for_segment(process, folder)
    asked = CliRunner()

    def ask(*given: str, status: int = 0) -> str:
        result = asked.invoke(app, [*given, "--dir", str(folder / "hwtune")])
        assert result.exit_code == status, result.output
        return result.output

    def state() -> Any:
        return hwt.Study.load("toy", folder / "hwtune").state()

    assert "a number from 0.0 to 1.0" in ask("enqueue", "x=7", status=1)
    assert "try it next" in ask("enqueue", "x=0.625")
    assert "to stop trial 0 for good" in ask("stop", "--trial", "0")
    assert "the only trial" in ask("stop", "--trial", "9", status=1)
    deadline = time.monotonic() + LIMIT_S
    while len(found := state().trials) < 2 or not running(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found[0].state, found[0].stopped_because) == ("stopped", "the user asked for it")
    assert found[1].config == {"x": 0.625}
    assert "It was stopped for good: the user asked for it." in ask("why", "0")
    assert "asked study toy to end its session" in ask("stop")
    assert process.wait(LIMIT_S) == 0, said(folder)
    assert "trial 0 is stopped for good" in (folder / "out").read_text() + said(folder)
    assert state().closed.state == "interrupted"
    assert "the user asked for it" in state().closed.reason
    assert "is not running" in ask("stop", status=1)
    assert "it tries the configuration first when it continues" in ask("enqueue", "x=0.125")
    hwtune(folder, *words)  # a trial that ends between two epochs, and the configuration that waited
    configs = [trial.config["x"] for trial in state().trials]
    assert configs[2] == 0.125
    assert "has this configuration already" in ask("enqueue", "x=0.125")


def test_a_failing_function_is_shown_with_its_traceback(folder: Path):
    out = hwtune(folder, "run", "study.yaml", "train=functions:failing", status=1)
    assert "front of" not in out
    assert "RuntimeError: the data are not there" in said(folder)
    assert "functions.py" in said(folder)
    assert "entry/cli.py" not in said(folder)


def test_check(folder: Path):
    found = json.loads(hwtune(folder, "check", "study.yaml", "--format", "json"))
    assert found["logged"] == ["error"]
    assert found["num_devices"] == 1
    assert not list(folder.glob("hwtune/toy/study.db"))
