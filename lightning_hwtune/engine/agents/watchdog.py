"""Ends the ranks of an agent that is stopped, or that hangs, so that it cannot end them itself."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import struct
import subprocess
import sys
import time
from types import TracebackType
from typing import Self, final

from lightning_hwtune.host.import_path import import_path

__all__ = ["Watchdog", "main"]

_FORMAT = struct.Struct("!dq")
_LOOK_S = 3600.0
_PROGRAM = "import sys; sys.path[:] = {path!r}; from lightning_hwtune.engine.agents.watchdog import main; main(0)"


@final
class Watchdog:
    """A process that ends the agent's fork server, and with it all ranks, unless the agent extends its time.

    It has its own session, so that what stops the agent, such as Ctrl-Z, does not stop it. It ends with the agent.
    """

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", _PROGRAM.format(path=import_path())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)
        assert self._process.stdin is not None
        self._end = self._process.stdin.fileno()
        os.set_blocking(self._end, False)
        return self

    def extend(self, until: float, pid: int | None) -> None:
        """Lets a fork server live until this time on the monotonic clock.

        Args:
            pid: of its guard; None: there is no server.
        """
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # the agent itself still ends its ranks
            os.write(self._end, _FORMAT.pack(until, pid or 0))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate()


def main(reader: int) -> None:
    """Watches until the agent has ended, and with it the other end of the pipe.

    Args:
        reader: the descriptor from which it reads what `Watchdog.extend` writes.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    until, pid = math.inf, 0
    while True:
        left_s = min(max(until - time.monotonic(), 0.0), _LOOK_S)
        if select.select([reader], [], [], left_s)[0]:
            data = os.read(reader, _FORMAT.size)
            if len(data) < _FORMAT.size:
                return
            until, pid = _FORMAT.unpack(data)
        elif time.monotonic() >= until:
            if pid:  # a stopped agent has not waited for this process, so no other one has its number
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until = math.inf
