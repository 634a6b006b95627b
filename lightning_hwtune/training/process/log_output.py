"""The output of a rank, which goes to the trial's log. A full disk costs output, but never ends a trial."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import Any, final

from lightning_hwtune.host.disk_space import FULL_DISK_ERRORS
from lightning_hwtune.training.checkpointing import make_in_trial

__all__ = ["LogOutput", "flush_output"]

_FULL_DISK_S = 5.0
_DISK = "Is the disk full? See `df -h`, and `df -i` for inodes."


@final
class LogOutput:
    """Redirects all output of this process and its children to a file.

    On a full disk it waits a few seconds for free space. If the file cannot be opened, all output is dropped, and while
    it cannot be written, what is printed is dropped. Errors of the trial are also in the study's log.
    """

    def __init__(self, path: Path, trial_dir: Path) -> None:
        give_up_at, self._unopened = time.monotonic() + _FULL_DISK_S, ""
        while True:
            try:
                make_in_trial(path.parent, trial_dir)
                target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            except OSError as error:
                if error.errno in FULL_DISK_ERRORS and time.monotonic() < give_up_at:
                    time.sleep(0.05)
                    continue
                target, self._unopened = os.open(os.devnull, os.O_WRONLY), str(error)
            break
        flush_output()
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        self._files = _LogFile(1), _LogFile(2)
        sys.stdout, sys.stderr = (_text_stream(file) for file in self._files)

    def problem(self, rank: int) -> str:
        """Return what is to be noted about output that is lost; empty if nothing is lost so far."""
        if self._unopened:
            what, why = "is not kept, since its log file cannot be opened", self._unopened
        else:
            what = "is incomplete, since its log file could not be written"
            why = next((file.error for file in self._files if file.error), "")
        return f"the output of rank {rank} {what}: {why}. {_DISK}" if why else ""


def flush_output() -> None:
    """Write out what is buffered for standard output and standard error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


@final
class _LogFile(io.FileIO):
    """A descriptor to write to; what does not fit on the disk is dropped. `error`: why something was dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.error = ""

    def write(self, data: Any) -> int:
        """Write bytes; return how many were written or dropped."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in FULL_DISK_ERRORS:
                raise
            self.error = str(error)
            return memoryview(data).nbytes


def _text_stream(file: _LogFile) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="replace", line_buffering=True)
