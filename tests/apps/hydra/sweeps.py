"""Sweeps as users start them: each command in its own process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning_hwtune as hwt

APPS = Path(__file__).parents[1]
PLAIN, LIGHTNING, TEMPLATE = APPS / "plain" / "app.py", APPS / "lightning" / "app.py", APPS / "template" / "train.py"
LIMIT_S = 240.0


def _command(app: Path, overrides: Sequence[str]) -> list[str]:
    return [sys.executable, str(app), "-m", "hydra/sweeper=hwtune", *overrides]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}


@contextlib.contextmanager
def begin(app: Path, overrides: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Begins a multirun in `folder`, its output in `output.txt`; it does not outlive the block."""
    with (folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            _command(app, overrides), cwd=folder, env=_environment(), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_events(name: str, folder: Path, n: int, process: subprocess.Popen[bytes]) -> None:
    """Returns once the sweep has written so many further events."""
    target, deadline = count_events(name, folder) + n, time.monotonic() + LIMIT_S
    while count_events(name, folder) < target:
        output = (folder / "output.txt").read_text
        assert process.poll() is None, f"the sweep has ended:\n{output()}"
        assert time.monotonic() < deadline, f"the sweep takes too long:\n{output()}"
        time.sleep(0.05)


def count_events(name: str, folder: Path) -> int:
    """Returns how many events a study's log has."""
    try:
        return len(load(name, folder).events())
    except hwt.HwTuneError:  # not yet there
        return 0


def start(
    app: Path, overrides: Sequence[str], folder: Path, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one multirun in `folder`; output and errors together."""
    return start_command(_command(app, overrides)[1:], folder, environment=environment)


def start_command(
    arguments: Sequence[str], folder: Path, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `python` in `folder`; output and errors together."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def sweep(app: Path, overrides: Sequence[str], folder: Path) -> str:
    """Runs a multirun that must succeed; returns its output."""
    done = start(app, overrides, folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def load(name: str, folder: Path, storage: str | None = None) -> hwt.Study:
    """Returns the study behind a sweep."""
    return hwt.Study.load(name, dir=folder / "hwtune", storage=storage)
