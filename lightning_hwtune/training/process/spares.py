"""Spare ranks: processes that the fork server forks before they are needed, so that a segment does not wait for one.

A spare has left the server's session and waits. It has run no user code, has used no device, and has taken no
environment, working folder, seed or log file: these come with the order, as for every rank. It trains one rank of one
segment, or none. It ends with the server. A spare that ends by itself is not replaced, since the memory may be full.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Collection, Sequence
from typing import final

from lightning_hwtune.host.memory import free_bytes
from lightning_hwtune.training.process.forked_process import run_spare_of

__all__ = ["Spares"]

_QUIET_MS = 50  # a spare is forked when nothing has happened for so long, so a fork never delays a request
_SHORT_MS = 1000  # between two looks at the memory


@final
class Spares:
    """The spares of this process, which is the fork server."""

    def __init__(self) -> None:
        self._n_wanted = self._least_free_bytes = 0
        self._waiting: dict[int, socket.socket] = {}  # process id -> the server's end of a socket pair, oldest first
        self._is_memory_short = False

    @property
    def pids(self) -> Collection[int]:
        """The process ids of the spares."""
        return self._waiting.keys()

    @property
    def patience_ms(self) -> int | None:
        """After how many quiet milliseconds `make` should be called; None if no spare is missing."""
        if len(self._waiting) >= self._n_wanted:
            return None
        return _SHORT_MS if self._is_memory_short else _QUIET_MS

    def want(self, n: int, least_free_bytes: int) -> None:
        """Sets how many spares should wait, and the free memory below which none is forked."""
        self._n_wanted, self._least_free_bytes, self._is_memory_short = n, least_free_bytes, False
        self.end(keep=n)

    def make(self, fork: Callable[[Callable[[], None]], int]) -> None:
        """Forks a spare if one is missing and the memory is not short.

        Args:
            fork: does what it is given in a new process; returns the process id, or a negative errno.
        """
        if len(self._waiting) >= self._n_wanted:
            return
        free = free_bytes()
        self._is_memory_short = free is not None and free < self._least_free_bytes
        if self._is_memory_short:
            return
        (ours, theirs), server = socket.socketpair(), os.getpid()

        def wait() -> None:
            ours.close()
            run_spare_of(server, theirs)

        pid = fork(wait)
        theirs.close()
        if pid > 0:
            self._waiting[pid] = ours
        else:
            ours.close()
            self._n_wanted = 0

    def give(self, descriptors: Sequence[int]) -> int:
        """Makes the oldest spare a rank with these descriptors; returns its process id, or 0 if there is no spare."""
        while self._waiting:
            pid = next(iter(self._waiting))
            with self._waiting.pop(pid) as end:
                try:
                    socket.send_fds(end, [b"R"], descriptors)
                except OSError:  # it has just ended
                    self._n_wanted = 0
                else:
                    return pid
        return 0

    def lost(self, pid: int) -> None:
        """Records that a child of the server has ended; if it was a spare, no further one is forked."""
        if (end := self._waiting.pop(pid, None)) is not None:
            end.close()
            self._n_wanted = 0

    def end(self, keep: int = 0) -> None:
        """Ends the newest spares until at most `keep` are left."""
        while len(self._waiting) > keep:
            pid, end = self._waiting.popitem()
            end.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def close_ends(self) -> None:
        """Closes the descriptors, in a process that the server has forked."""
        for end in self._waiting.values():
            end.close()
