"""The engine's side of the fork server: starts it, follows its imports, and requests ranks from it.

One server serves all executors of this process, because its imports take seconds. It is a child of this process in a
separate session, so Ctrl-C in a terminal does not reach it. It ends when this process ends, however that happens and
whichever thread started it (`training.process.fork_server`). Nothing here waits for the server; `poll` reads what it
has sent so far.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

from lightning_hwtune.engine.guard import Guard
from lightning_hwtune.errors import TrialError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.host.import_path import import_path
from lightning_hwtune.host.process_limit import why_no_process
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.training.process.fork_server import HEADER

__all__ = ["PRELOAD", "ForkServer", "fork_server"]

PRELOAD = "lightning_hwtune.training.process.preload"
"""The module whose import makes the server ready for a rank of any training."""


@final
class ForkServer:
    """The handle of a fork server; get it from `fork_server()`. All methods may be called from several threads.

    Attributes:
        generation: the number of the server that is running or ran last.
        n_deaths: how many servers have ended by themselves so far.
        importing: the module that is being imported.
        importing_since: when that import began, on the monotonic clock.
        failed: modules that could not be imported, and why.
        folder: a folder for sockets, with a short path; empty before the first start.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._guard: Guard | None = None
        self._control: socket.socket | None = None
        self._buffer = b""
        self._asked: set[str] = set()
        self._n_open_requests = 0
        self._runs: set[object] = set()
        self._is_kept = False
        self._spares: dict[object, tuple[int, int]] = {}  # what each executor wants: number, least free bytes
        self._sent_spares = (0, 0)
        self.generation = self.n_deaths = 0
        self.importing, self.importing_since = "", 0.0
        self.failed: dict[str, str] = {}
        self.folder = ""

    # ------------------------------------------------------------------ start and end

    @contextlib.contextmanager
    def run(self, modules: Iterable[str]) -> Iterator[None]:
        """Starts the server for a run and its imports; ends it after the run if no rank was ever requested from it.

        So a run that is refused, or that has nothing left to do, leaves no process. A server that has started a rank
        stays for later runs, as does one that `warm_up` started. Modules that could not be imported are tried again.

        Raises:
            TrialError: the server cannot be started.
        """
        run = object()
        try:
            with self._lock, uninterrupted():
                self._runs.add(run)
                self._asked.difference_update(self.failed)
                self.failed.clear()
                self.require(modules)
            yield
        finally:
            with self._lock:
                self._runs.discard(run)
                if not self._runs and not self._is_kept:
                    self.end()

    def warm_up(self) -> None:
        """Starts the server and its imports, for any later run.

        Raises:
            TrialError: the server cannot be started.
        """
        with self._lock, uninterrupted():
            self.require([PRELOAD])
            self._is_kept = True

    def require(self, modules: Iterable[str], limits: Mapping[str, float] | None = None) -> None:
        """Starts the server if there is none, and makes it import those modules that it has not imported yet.

        Args:
            limits: after how many seconds the import of a module is interrupted. Until it ends, the server can start
                no rank, and if it has to be killed, all its ranks end.
        """
        with self._lock:
            self.poll()
            if self._control is None:
                self._start()
            wanted = [name for name in dict.fromkeys(modules) if name not in self._asked]
            if wanted or not self._asked:
                self._asked.update(wanted)
                self._n_open_requests += 1
                self.importing_since = time.monotonic()
                self._send(b"I", [import_path(), wanted, dict(os.environ), dict(limits or {})])
            self._send_spares()

    def _start(self) -> None:
        self._end_guard()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._guard = Guard(theirs)
            except OSError as error:
                ours.close()
                why = why_no_process(error.errno) if error.errno in (errno.EAGAIN, errno.ENOMEM) else error
                raise TrialError(
                    spelled(f"the fork server, which starts the trials' processes, cannot be started: {why}")
                ) from error
        self.folder = self._guard.folder
        self._control, self._buffer, self._asked, self._n_open_requests = ours, b"", set(), 0
        self._is_kept, self._sent_spares = False, (0, 0)
        self.generation += 1
        self.failed.clear()

    def poll(self) -> None:
        """Reads what the server has sent, and detects that it has ended."""
        with self._lock:
            if self._control is None:
                return
            try:
                while data := self._control.recv(65536, socket.MSG_DONTWAIT):
                    self._buffer += data
            except BlockingIOError:
                self._take()
                return
            except OSError:
                pass
            self._forget()
            self._end_guard()
            self.n_deaths += 1

    def _take(self) -> None:
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            value, self._buffer = json.loads(self._buffer[HEADER.size : end]), self._buffer[end:]
            self.importing_since = time.monotonic()
            if kind == b"I":
                self.importing = value
            elif kind == b"F":
                self.failed[value[0]] = value[1]
            elif kind == b"D":
                self._n_open_requests -= 1
                self.importing = ""

    @property
    def is_ready(self) -> bool:
        """True if it has imported all required modules, so that it can start a rank at once."""
        return self._control is not None and self._n_open_requests == 0

    @property
    def pid(self) -> int | None:
        """The process id of the guard, with which everything else ends; None if no server is running."""
        guard = self._guard
        return None if guard is None else guard.pid

    @property
    def waitable(self) -> list[socket.socket]:
        """The sockets that become readable when `poll` has something to read."""
        control = self._control
        return [] if control is None else [control]

    def give_up(self, generation: int) -> None:
        """Ends a server that was killed or does not answer and counts it as dead, unless a newer one is running."""
        with self._lock:
            if generation == self.generation and self._control is not None:
                self.end()
                self.n_deaths += 1

    def end(self) -> None:
        """Ends the server, all ranks and the processes that they started. Idempotent; `require` starts a new one."""
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(OSError):
                    self._control.shutdown(socket.SHUT_RDWR)  # works even if a fork of this process has a copy
                self._forget()
            self._end_guard()

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None

    def _end_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.end()

    # ------------------------------------------------------------------ ranks

    def keep_spares(self, owner: object, n: int, least_free_bytes: int = 0) -> None:
        """Sets how many spare ranks the server keeps for an executor; a later server does the same.

        Args:
            owner: the executor; a later call replaces what it set before.
            least_free_bytes: no spare is forked while less memory is free.
        """
        with self._lock:
            self._spares[owner] = (n, least_free_bytes)
            if n == 0:
                del self._spares[owner]
            with contextlib.suppress(ConnectionError):  # the next server gets it
                self._send_spares()

    def _send_spares(self) -> None:
        counts, limits = [n for n, _ in self._spares.values()], [least for _, least in self._spares.values()]
        wanted = (sum(counts), max(limits, default=0))
        if self._control is not None and wanted != self._sent_spares:
            self._send(b"S", wanted)
            self._sent_spares = wanted

    def start_rank(self, status: int, channel: int, listener: int | None) -> None:
        """Requests the fork of a rank with these descriptors; the caller keeps its own copies of them.

        Raises:
            ConnectionError: the server has ended.
        """
        with self._lock:
            self._is_kept = True
            self._send(b"R", None, [status, channel, *([] if listener is None else [listener])])

    def _send(self, kind: bytes, value: Any, descriptors: Sequence[int] = ()) -> None:
        if self._control is None:
            raise ConnectionError("the fork server has ended")
        body = json.dumps(value).encode()
        try:
            socket.send_fds(self._control, [HEADER.pack(kind, len(body)) + body], descriptors)
        except OSError as error:
            raise ConnectionError("the fork server has ended") from error


_servers: dict[int, ForkServer] = {}  # by process id: a fork of this process must not use its parent's server
_lock = threading.Lock()


def fork_server() -> ForkServer:
    """Returns the handle of this process's fork server, which may not be running yet."""
    with _lock:
        if os.getpid() not in _servers:
            _servers[os.getpid()] = ForkServer()
            atexit.register(_end_at_exit, os.getpid())
        return _servers[os.getpid()]


def _end_at_exit(pid: int) -> None:
    if pid != os.getpid():
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would only print a traceback
    _servers[pid].end()
