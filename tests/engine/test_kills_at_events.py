"""SIGKILL exactly at a promotion and while a session closes: nothing is lost, and no epoch is trained twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_hwtune as hwt

pytestmark = pytest.mark.slow

SCRIPT = """
import os, signal, sys
from pathlib import Path
import lightning_hwtune as hwt
from lightning_hwtune.engine.session import Session

kind, phase, number = sys.argv[1:4]
left, append = [int(number)], Session._append

def killing(self, events):
    left[0] -= sum(type(event).__name__ == kind for event in events)
    is_there = any(type(event).__name__ == kind for event in events) and left[0] == 0
    if is_there and phase == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, events)
    if is_there:
        os.kill(os.getpid(), signal.SIGKILL)

Session._append = killing

def train(trial):
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        with open("epochs", "a") as file:
            file.write(f"{Path(trial.dir).name} {epoch}\\n")
        verdict = trial.report(epoch, error=trial["x"] / epoch)
        trial.save(epoch)
        if verdict.kind != "continue":
            return

if __name__ == "__main__":
    study = hwt.Study(
        "s", hwt.SearchSpace(x=hwt.Float(0, 1)), [hwt.Metric("error", "min")], searcher=hwt.Random(), seed=3,
        scheduler=hwt.ASHA(4, eta=2, first_rung=1), pool=hwt.Pool("cpu", devices=1), dir="hwtune",
    )
    study.run(train, max_trials=5, finishers=2, check=False, progress=False)
"""


@pytest.mark.parametrize(
    ("kind", "phase", "number"),
    [("SegmentStarted", "after", 3), ("SessionClosed", "before", 1), ("SessionClosed", "after", 1)],
)
def test_a_study_that_is_killed_at_an_event_continues_as_if_it_was_not(
    tmp_path: Path, kind: str, phase: str, number: int
) -> None:
    (tmp_path / "killed.py").write_text(SCRIPT)
    statuses = []
    for words in ((kind, phase, str(number)), ("none", "never", "0")):
        command = [sys.executable, "killed.py", *words]
        done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), stderr=subprocess.DEVNULL, timeout=120)
        statuses.append(done.returncode)
    assert statuses == [-signal.SIGKILL, 0]
    state = hwt.Study.load("s", tmp_path / "hwtune").state()
    assert [str(trial.state) for trial in state.trials].count("completed") == 2
    assert [trial.n_retries for trial in state.trials] == [0] * 5
    epochs = (tmp_path / "epochs").read_text().splitlines()
    assert sorted(epochs) == sorted(set(epochs)), "an epoch was trained twice"
    assert len(epochs) == sum(trial.resource for trial in state.trials)
