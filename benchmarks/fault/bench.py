"""What every fault needs: a study in its own process, and the counts that are made afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import lightning_hwtune as hwt
from benchmarks.crash import missing_and_repeated
from benchmarks.fault.study import NAME
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.store.files import StudyFiles

__all__ = ["Bench", "NotPossible"]

_ROOT = Path(__file__).resolve().parents[2]
_TAG = "HWTUNE_FAULT_TAG"  # an environment variable that marks every process of a study
_LIMIT_S = 240.0  # for a whole study, imports included
_ORPHAN_S = 5.0
_LOOK_S = 0.02


class NotPossible(Exception):
    """A fault that this machine does not allow, such as a mount without the necessary rights."""


class Bench:
    """One fault's folder, processes and counts.

    Attributes:
        lost: reports that are missing in the log or in it twice, missing or damaged checkpoints, trials without an end.
        orphaned: processes that outlived their trial or study, and files left in temporary folders.
        hung: waits that did not end.
        wrong: other broken promises, such as a bare traceback or a retry that was charged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study_dir = folder / NAME
        self.lost = self.orphaned = self.hung = self.wrong = 0
        self.signal_s: list[float] = []  # from a signal to the end of the process
        self._tag = uuid.uuid4().hex
        self.temporary = folder / "t"
        self.temporary.mkdir()

    # ------------------------------------------------------------------ running

    def start(self, environ: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Starts or continues the study in its own process."""
        command = [sys.executable, "-u", "-m", "benchmarks.fault.study", str(self.folder), json.dumps(options)]
        path = os.pathsep.join([str(_ROOT), str(self.folder), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            command,
            cwd=_ROOT,
            env={
                **os.environ,
                _TAG: self._tag,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": path,
                "TMPDIR": str(self.temporary),
                **(environ or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as in its own terminal, where Ctrl-C is a signal to the group
            preexec_fn=_default_signals,  # the process that runs the benchmark may ignore them, as nohup does
        )

    def finish(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Waits until it ends; returns its output. Another exit status or a traceback is wrong."""
        try:
            output, _ = process.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.hung += 1
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        has_traceback = "Traceback (most recent call last)" in output
        if process.returncode != status or has_traceback:
            self.wrong += 1
            print(f"status {process.returncode} where {status} is right:\n{output[-3000:]}", file=sys.stderr)
        return output

    def run(self, status: int = 0, **options: Any) -> str:
        """Runs the study to its end; returns its output."""
        return self.finish(self.start(**options), status)

    def wait(self, condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        """Waits until the study has done something."""
        deadline = time.monotonic() + _LIMIT_S
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the study did not come so far: {process.communicate(timeout=10)[0][-3000:]}")
            time.sleep(_LOOK_S)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command that reads the study; anything but success or a clear message is wrong."""
        ended = subprocess.run(
            [sys.executable, "-m", "lightning_hwtune", *arguments, "--dir", str(self.folder), "--study", NAME],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            capture_output=True,
            timeout=_LIMIT_S,
        )
        if b"Traceback" in ended.stdout + ended.stderr or len(ended.stdout) > 1_000_000:
            self.wrong += 1
            print(ended.stderr.decode(errors="replace")[-2000:], file=sys.stderr)
        return ended

    # ------------------------------------------------------------------ the state of a running study

    def n_witnessed(self) -> int:
        """Returns how many reports were answered so far."""
        return len(self._witnessed())

    def _witnessed(self) -> list[tuple[int, int, int]]:
        lines = [line for path in self.study_dir.glob("witnesses/*.txt") for line in path.read_text().splitlines()]
        return [tuple(map(int, line.split())) for line in lines if line.count(" ") == 2]  # type: ignore[misc]

    def pids(self) -> list[int]:
        """Returns the processes that trials have started."""
        path = self.study_dir / "pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def fork_server(self, process: subprocess.Popen[str]) -> tuple[psutil.Process, psutil.Process]:
        """Returns the guard and the server of a study; waits for both."""
        found: list[psutil.Process] = []

        def look() -> bool:
            children = psutil.Process(process.pid).children()
            guards = [child for child in children if "forkserver(" in " ".join(child.cmdline())]
            found[:] = [*guards, *(server for guard in guards for server in guard.children())]
            return len(found) >= 2

        self.wait(look, process)
        return found[0], found[1]

    # ------------------------------------------------------------------ counts

    def count_orphans(self) -> None:
        """Counts processes that are still running, and files that were left in the temporary folder."""
        deadline = time.monotonic() + _ORPHAN_S
        while left := [*self._alive(), *self._temporary_files()]:
            if time.monotonic() > deadline:
                self.orphaned += len(left)
                print(f"left: {left}", file=sys.stderr)
                for process in self._alive():
                    process.kill()
                return
            time.sleep(_LOOK_S)

    def _alive(self) -> list[psutil.Process]:
        noted, found = set(self.pids()), []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.pid in noted or process.environ().get(_TAG) == self._tag:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _temporary_files(self) -> list[Path]:
        folders = [path for path in self.temporary.rglob("*") if path.name.startswith(("pymp-", "hwtune-"))]
        return [*folders, *(path for path in self.temporary.rglob("*") if path.is_socket())]

    def count_losses(self, trials: int = 4, *, retries: int = 0, name: str = NAME) -> None:
        """Counts what is missing in a finished study; each retry above `retries` is wrong."""
        study = hwt.Study.load(name, dir=self.folder)
        state, files = study.state(), StudyFiles(self.folder, name)
        self.lost += sum(missing_and_repeated(self._witnessed(), study.events()))
        self.lost += trials - sum(trial.state is TrialState.COMPLETED for trial in state.trials)
        self.wrong += max(sum(trial.n_retries for trial in state.trials) - retries, 0)
        for trial in state.trials:
            try:
                if trial.checkpoint is not None:
                    files.verify(trial.checkpoint)
            except hwt.CheckpointError:
                self.lost += 1

    def checkpoints(self, name: str = NAME) -> set[Path]:
        """Returns the checkpoint files of a folder, relative to it."""
        root = self.folder / name
        return {path.relative_to(root) for path in root.glob("trials/*/checkpoints/*")}


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
