"""Sweeps as users start them: commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import lightning_hwtune as hwt

APPS = Path(__file__).parents[1] / "apps"
PLAIN, TEMPLATE = APPS / "plain" / "app.py", APPS / "template" / "train.py"
LIMIT_S = 240.0


def start(
    app: Path, overrides: Sequence[str], folder: Path, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one multirun in `folder`; output and errors together."""
    return subprocess.run(
        [sys.executable, str(app), "-m", "hydra/sweeper=hwtune", *overrides],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", **(environment or {})},
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


def load(name: str, folder: Path) -> hwt.Study:
    """Returns the study behind a sweep."""
    return hwt.Study.load(name, dir=folder / "hwtune")
