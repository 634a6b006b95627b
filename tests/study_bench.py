"""What the tests of whole studies share: a small study, its log in questions, scripts in separate processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.host.file_trees import digest_of as digest

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 120.0


def small_study(folder: Path, name: str = "study", **changes: Any) -> hwt.Study:
    """One parameter, one objective, rungs at 1, 3 and 9, two CPU devices."""
    settings: dict[str, Any] = {
        "space": hwt.SearchSpace(x=hwt.Float(0.0, 1.0)),
        "objectives": [hwt.Metric("error", "min")],
        "scheduler": hwt.ASHA(max_epochs=9, first_rung=1),
        "pool": hwt.Pool("cpu", devices=2),
        "dir": folder,
    }
    settings |= changes
    return hwt.Study(name, settings.pop("space"), settings.pop("objectives"), **settings)


def run(study: hwt.Study, train: Callable[[Any], Any], **limits: Any) -> hwt.Study:
    """Runs quietly and without the check, to four fully trained trials by default."""
    return study.run(train, **{"progress": False, "check": False, "finishers": 4, **limits})


def of_kind(study: hwt.Study, kind: type[Any]) -> list[Any]:
    return [event for event in study.events() if isinstance(event, kind)]


def states(study: hwt.Study) -> Counter[TrialState]:
    return Counter(trial.state for trial in study.state().trials)


def trained(study: hwt.Study) -> list[tuple[int, int]]:
    """Every (trial, epoch) that was really begun, as the training functions left it."""
    path = study.dir / "epochs"
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []  # type: ignore[misc]


def check_log(study: hwt.Study) -> StudyState:
    """Asserts what holds of every study at rest; returns its state."""
    state = study.state()
    decided = Counter((e.trial_id, e.level) for e in of_kind(study, ev.Reported) if e.level is not None)
    assert all(count == 1 for count in decided.values()), "decided twice"
    assert not state.running
    check_files(study)
    return state


def check_files(study: hwt.Study) -> None:
    """Asserts that the checkpoints on the disk are those of the log, whole.

    A segment that was interrupted may have written one which the log does not know yet: the next session deletes it.
    """
    state = study.state()
    known = {t.checkpoint.path: t.checkpoint for t in state.trials if t.checkpoint is not None}
    there = {path.relative_to(study.dir).as_posix() for path in study.dir.glob("trials/*/checkpoints/*")}
    last = {segment.trial_id: segment.outcome for segment in state.segments}
    unconfirmed = {path for path in there - set(known) if last[int(path.split("/")[1])] == "interrupted"}
    assert there - unconfirmed == set(known)
    for path, checkpoint in known.items():
        assert digest(study.dir / path) == checkpoint.digest


def until(condition: Callable[[], bool], what: str = "") -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {LIMIT_S:.0f} s for {what or condition}"
        time.sleep(0.02)


@contextmanager
def signal_to_self(number: signal.Signals, when: Callable[[], bool]) -> Iterator[None]:
    """Sends this process a signal as soon as something is true, from another thread."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            if when():
                os.kill(os.getpid(), number)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def n_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


# ---------------------------------------------------------------------- processes


def start_script(folder: Path, text: str, name: str = "script.py") -> subprocess.Popen[str]:
    """Starts a user's script in a separate process; it finds the package and these test modules."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, str(path)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"},
    )


def run_script(folder: Path, text: str, name: str = "script.py") -> subprocess.CompletedProcess[str]:
    """Runs a script to its end."""
    process = start_script(folder, text, name)
    out, err = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess([name], process.returncode, out, err)


def family(pid: int) -> list[psutil.Process]:
    """Returns a process's descendants."""
    return psutil.Process(pid).children(recursive=True)


def check_gone(processes: list[psutil.Process], within_s: float = 5.0) -> None:
    """Asserts that these processes end by themselves."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    for process in left:
        process.kill()
    assert not left, f"orphans after {within_s:.0f} s: {left}"
