"""Commands whose output goes away: they end as other commands do, without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stored_study import store

COMMANDS = [("trials",), ("why", "0"), ("front", "--format", "json"), ("--help",)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("studies"), n_trials=1).root.parent


def ended(words: tuple[str, ...], folder: Path, out: int) -> tuple[int, str]:
    """Runs a command with this standard output; returns its status and what it says on standard error."""
    options = () if words == ("--help",) else ("--dir", str(folder))
    command = [sys.executable, "-m", "lightning_hwtune", *words, *options]
    try:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(out)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.slow
def test_a_closed_pipe_ends_a_command_as_it_ends_others(words: tuple[str, ...], folder: Path) -> None:
    read, out = os.pipe()
    os.close(read)
    assert ended(words, folder, out) == (-signal.SIGPIPE, "")  # a shell shows 141


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.slow
def test_a_full_disk_is_a_line_and_a_status(words: tuple[str, ...], folder: Path) -> None:
    out = os.open("/dev/full", os.O_WRONLY)
    assert ended(words, folder, out) == (1, "hwtune: write error: No space left on device\n")
