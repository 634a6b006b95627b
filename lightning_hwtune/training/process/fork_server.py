"""The fork server: a process with torch loaded that forks one process per rank, in advance or on request.

The program runs as two processes. The *guard* imports nothing. Its child, the *server*, makes the imports. If the
controller, the guard, the server or a rank is killed, the others end the processes that it leaves behind:

- When the controller ends, even during the server's imports, the guard ends the server and all descendants.
- When the server ends, its ranks end with it. Their child processes pass to the guard, which ends them.
- When the guard ends, the server ends its ranks and all descendants.
- When a rank ends, its child processes pass to the server, which ends them and then reports the rank's end.

The imports create a million objects and hardly any garbage, so without the garbage collector they take a fifth less
time. It stays off in the server, which only forks. A rank freezes the inherited objects and switches the collector on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import final

from lightning_hwtune.host.process_family import Sweep, adopt_orphans, children_of, die_with_parent, end_children
from lightning_hwtune.training.process.forked_process import run_process, run_rank_of
from lightning_hwtune.training.process.spares import Spares

__all__ = ["HEADER", "INHERITED", "SHIELD", "STATUS", "main"]

SHIELD = "HWTUNE_SHIELD"
"""The environment variable that makes the server and everything that it starts block SIGTERM.

A batch system sends it to all processes on a node, as a warning. Those that train then continue until the study, which
is warned as well, has paused them.
"""

HEADER = struct.Struct("!cI")
"""The header of each message between engine and server: its kind, and the length of the JSON that follows.

To the server: I, the import path and a list of modules to import; R, start a rank, with the descriptors of its status
pipe, of its channel and, for rank 0 of several, of its listening socket; S, the number of spares to keep, and the free
memory in bytes below which none is forked. From the server: I, the module that it is importing; F, a module that
failed, and why; D, all modules of the list are done.
"""

STATUS = struct.Struct("!q")
"""The format of a rank's status pipe: its process id, then its exit code; a negative errno if the fork failed."""

INHERITED = set(os.environ)
"""Names of the environment variables that the fork server has from the engine, not from an import."""

_LOOK_MS = 500  # interval of checks whether the parent is alive, in case nothing else shows its end
_SWEEP_MS = 20
_SERVER_GRACE_S = 1.0  # time for the server to end its ranks and their child processes
_MAX_DESCRIPTORS = 3


def main(control_fd: int, controller: int, folder: str) -> None:
    """Runs the guard, and the server as its child, until the controller ends.

    Args:
        control_fd: the server's end of the socket pair to the engine.
        controller: process id of the parent.
        folder: the folder for temporary files of the ranks; deleted at the end.
    """
    blocked = [signal.SIGTERM] if os.environ.get(SHIELD) else []
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # the thread that started this process may have blocked others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    guard, server = os.getpid(), os.fork()
    if server == 0:
        try:
            _serve(socket.socket(fileno=control_fd), guard)
        except ConnectionError:  # the controller has ended
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    try:
        _watch(control_fd, controller, server)
    finally:
        end_children(grace_s=_SERVER_GRACE_S)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _watch(control_fd: int, controller: int, server: int) -> None:
    """Returns when the controller or the server has ended."""
    (woken, _), poll = _wake_up_on(signal.SIGCHLD), select.poll()
    poll.register(control_fd, 0)  # only to detect that the other end is closed
    poll.register(woken, select.POLLIN)
    while os.getppid() == controller:
        if any(fd == control_fd for fd, _ in poll.poll(_LOOK_MS)):
            return
        _drain(woken)
        if os.waitpid(server, os.WNOHANG)[0]:
            return


class _TooLong(BaseException):
    """An import takes too long; no library catches this."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupts the block after some seconds, unless it waits inside an extension; 0 for no limit.

    Raises:
        _TooLong: it was interrupted.
    """

    def interrupt(*_: object) -> None:
        raise _TooLong(f"it takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _wake_up_on(*numbers: signal.Signals) -> tuple[int, int]:
    """Returns both ends of a pipe that becomes readable after one of these signals."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader, writer


def _drain(descriptor: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 65536)
    return b""


# ---------------------------------------------------------------------- the server


def _serve(control: socket.socket, guard: int) -> None:
    """Imports and forks until the controller or the guard has ended; then ends all ranks."""
    die_with_parent(guard, signal.SIGKILL if os.environ.get(SHIELD) else signal.SIGTERM)
    adopt_orphans()
    gc.disable()
    server = _Server(control)
    try:
        server.run()
    finally:
        end_children(at_once=server.forked)


@final
class _Server:
    """Serves three sources in one loop: requests of the engine, ends of children, and SIGTERM."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.ranks: dict[int, int] = {}  # process id -> the writing end of its status pipe
        self._ended: list[tuple[int, int]] = []  # status pipe and exit code of ranks whose end is not reported yet
        self._sweep = Sweep()
        self._own: set[int] = set()  # process ids of processes that the imports have started
        self._pipe = (-1, -1)
        self._spares = Spares()

    @property
    def forked(self) -> set[int]:
        """The process ids of the ranks and of the spares."""
        return {*self.ranks, *self._spares.pids}

    def run(self) -> None:
        """Serves until the engine's end of the socket is closed, or SIGTERM arrives."""
        if not self._take_request():  # the first imports; SIGTERM ends this process as usual until they are done
            return
        self._pipe = _wake_up_on(signal.SIGCHLD, signal.SIGTERM)
        woken, poll = self._pipe[0], select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(_SWEEP_MS if self._ended else self._spares.patience_ms)}
            if woken in ready and signal.SIGTERM in _drain(woken):
                return
            if self._control.fileno() in ready and not self._take_request():
                return
            self._wait_for_ranks()
            if self._ended and self._sweep.step(self._own | self.forked):
                self._report_ends()
            if not ready and not self._ended:
                self._spares.make(self._fork)

    def _take_request(self) -> bool:
        """Serves the next request; returns False if the engine has closed the socket."""
        header, descriptors = b"", list[int]()
        while len(header) < HEADER.size:
            piece, received, _, _ = socket.recv_fds(self._control, HEADER.size - len(header), _MAX_DESCRIPTORS)
            if not piece:
                return False
            header, descriptors = header + piece, descriptors + received
        kind, length = HEADER.unpack(header)
        body = b""
        while len(body) < length:
            piece = self._control.recv(length - len(body))
            if not piece:
                return False
            body += piece
        if kind == b"I":
            self._import(*json.loads(body))
        elif kind == b"R":
            self._start_rank(descriptors)
        elif kind == b"S":
            self._spares.want(*json.loads(body))
        return True

    def _import(
        self, path: Sequence[str], modules: Sequence[str], environ: Mapping[str, str], limits: Mapping[str, float]
    ) -> None:
        """Imports modules with the engine's import path and environment, some of them only if it is quick enough."""
        sys.path[:] = path
        INHERITED.update(environ)
        os.environ.update(environ)
        self._spares.end()  # those that replace them have the modules
        for name in modules:
            self._tell(b"I", name)
            try:
                with _limited(limits.get(name, 0.0)):
                    importlib.import_module(name)
            except (Exception, SystemExit, _TooLong) as error:
                self._tell(b"F", [name, f"{type(error).__name__}: {error}"])
        self._own = {pid for pid in children_of(os.getpid()) if pid not in self.forked}
        self._tell(b"D", None)

    def _tell(self, kind: bytes, value: object) -> None:
        body = json.dumps(value).encode()
        self._control.sendall(HEADER.pack(kind, len(body)) + body)

    def _start_rank(self, descriptors: Sequence[int]) -> None:
        status, channel, *listener = descriptors
        pid = self._spares.give((channel, *listener)) or self._fork(
            partial(run_rank_of, os.getpid(), channel, listener[0] if listener else None), status
        )
        with contextlib.suppress(BrokenPipeError):
            os.write(status, STATUS.pack(pid))
        if pid > 0:
            self.ranks[pid] = status
        for descriptor in (*((status,) if pid < 0 else ()), channel, *listener):
            os.close(descriptor)

    def _fork(self, work: Callable[[], None], *descriptors: int) -> int:
        """Does the work in a new process, without these descriptors; returns its id, or a negative errno."""
        try:
            pid = os.fork()
        except OSError as error:
            return -(error.errno or 1)
        if pid == 0:

            def alone() -> None:
                self._leave(descriptors)
                work()

            run_process(alone)
        return pid

    def _leave(self, descriptors: Sequence[int]) -> None:
        """Closes and resets, in a new process, everything that belongs to the server."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._control.close()
        self._spares.close_ends()
        for descriptor in (*descriptors, *self._pipe, *self.ranks.values(), *(fd for fd, _ in self._ended)):
            os.close(descriptor)

    def _wait_for_ranks(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = self.ranks.pop(ended[0], None)
                if status is None:
                    self._spares.lost(ended[0])
                else:
                    self._ended.append((status, os.waitstatus_to_exitcode(ended[1])))

    def _report_ends(self) -> None:
        for status, code in self._ended:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, STATUS.pack(code))
            os.close(status)
        self._ended.clear()
