"""The fork server: a process with torch loaded that forks one process per rank when the engine asks for it.

The program runs as two processes. The *guard* imports nothing; its child is the *server*, which imports. Whichever of
controller, guard, server and ranks is killed, the others end what it leaves behind:

- the guard sees the controller end, even while the server imports, and ends the server and all descendants;
- the guard sees the server end; the ranks die with it, and what they had started falls to the guard, which ends it;
- the server sees the guard end, and ends its ranks and all descendants;
- the server sees a rank end; what it had started falls to the server, which ends it before it reports the rank's end.

The imports make a million objects and hardly any garbage: without the garbage collector they take a fifth less time. It
stays off in the server, which does nothing but fork; a rank sets aside what it inherits and switches it on.
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
from collections.abc import Sequence
from typing import final

from lightning_hwtune.training.lifeline import Sweep, adopt_orphans, children_of, die_with_parent, end_children

__all__ = ["HEADER", "INHERITED", "STATUS", "main"]

HEADER = struct.Struct("!cI")
"""Begins each message between engine and server: its kind, and the length of the JSON that follows.

To the server: I, a list of modules to import; R, start a rank, with the descriptors of its status pipe, of its channel
and, for rank 0 of several, of its listening socket. From the server: I, the module that it imports now; F, a module
that failed, and why; D, everything in the list is done.
"""

STATUS = struct.Struct("!q")
"""What a rank's status pipe carries: its process id, then its exit code; minus an errno if it could not be forked."""

INHERITED = frozenset(os.environ)
"""Names of the environment variables with which the fork server began, before any import added its own."""

_LOOK_MS = 500  # between two looks at the parent, should nothing else tell of its end
_SWEEP_MS = 20
_SERVER_GRACE_S = 1.0  # in which the server ends its ranks and what they have started
_MAX_DESCRIPTORS = 3


def main(control_fd: int, controller: int, folder: str) -> None:
    """Runs the guard, and the server as its child, until the controller ends.

    Args:
        control_fd: the server's end of the socket pair to the engine.
        controller: process id of the parent.
        folder: temporary files of the ranks; deleted at the end.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the thread had blocked that started this process
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
    poll.register(control_fd, 0)  # only the other end's closing
    poll.register(woken, select.POLLIN)
    while os.getppid() == controller:
        if any(fd == control_fd for fd, _ in poll.poll(_LOOK_MS)):
            return
        _drain(woken)
        if os.waitpid(server, os.WNOHANG)[0]:
            return


def _wake_up_on(*numbers: signal.Signals) -> tuple[int, int]:
    """Returns both ends of a pipe that can be read after one of these signals."""
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
    """Imports and forks until the controller or the guard has ended; ends all ranks then."""
    die_with_parent(guard, signal.SIGTERM)
    adopt_orphans()
    gc.disable()
    server = _Server(control)
    try:
        server.run()
    finally:
        end_children(at_once=server.ranks)


@final
class _Server:
    """One loop over three sources: requests of the engine, ends of children, SIGTERM."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.ranks: dict[int, int] = {}  # process id -> the writing end of its status pipe
        self._ended: list[tuple[int, int]] = []  # status pipe and exit code of ranks whose end is not reported yet
        self._sweep = Sweep()
        self._own: set[int] = set()  # processes that the imports have started
        self._pipe = (-1, -1)

    def run(self) -> None:
        """Serves until the engine's end of the socket is closed, or SIGTERM comes."""
        if not self._take_request():  # the first imports: until they are done SIGTERM ends this process as usual
            return
        self._pipe = _wake_up_on(signal.SIGCHLD, signal.SIGTERM)
        woken, poll = self._pipe[0], select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(_SWEEP_MS if self._ended else None)}
            if woken in ready and signal.SIGTERM in _drain(woken):
                return
            if self._control.fileno() in ready and not self._take_request():
                return
            self._wait_for_ranks()
            if self._ended and self._sweep.step(self._own.union(self.ranks)):
                self._report_ends()

    def _take_request(self) -> bool:
        """Serves the next request; returns False if there is none any more."""
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
            self._import(json.loads(body))
        elif kind == b"R":
            self._fork(descriptors)
        return True

    def _import(self, modules: Sequence[str]) -> None:
        for name in modules:
            self._tell(b"I", name)
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:
                self._tell(b"F", [name, f"{type(error).__name__}: {error}"])
        self._own = {pid for pid in children_of(os.getpid()) if pid not in self.ranks}
        self._tell(b"D", None)

    def _tell(self, kind: bytes, value: object) -> None:
        body = json.dumps(value).encode()
        self._control.sendall(HEADER.pack(kind, len(body)) + body)

    def _fork(self, descriptors: Sequence[int]) -> None:
        status, channel, *listener = descriptors
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            self._leave(status)
            _run_rank(server, channel, listener[0] if listener else None)
        with contextlib.suppress(BrokenPipeError):
            os.write(status, STATUS.pack(pid))
        if pid > 0:
            self.ranks[pid] = status
        for descriptor in (*((status,) if pid < 0 else ()), channel, *listener):
            os.close(descriptor)

    def _leave(self, status: int) -> None:
        """In a rank: lets go of everything that is the server's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._control.close()
        for descriptor in (status, *self._pipe, *self.ranks.values(), *(fd for fd, _ in self._ended)):
            os.close(descriptor)

    def _wait_for_ranks(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = self.ranks.pop(ended[0], None)
                if status is not None:
                    self._ended.append((status, os.waitstatus_to_exitcode(ended[1])))

    def _report_ends(self) -> None:
        for status, code in self._ended:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, STATUS.pack(code))
            os.close(status)
        self._ended.clear()


def _run_rank(server: int, channel: int, listener: int | None) -> None:
    """Is a rank to its end; never returns."""
    code = 1
    try:
        from lightning_hwtune.training.connection import PipeChannel
        from lightning_hwtune.training.worker import run_rank

        run_rank(PipeChannel(socket.socket(fileno=channel)), listener, server)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _leave_python()
        os._exit(code)


def _leave_python() -> None:
    """Does what a process of multiprocessing does at its end: waits for threads and children, deletes temporary files.

    Without the interpreter's own end, which takes seconds with torch loaded.
    """
    import threading
    from multiprocessing import util

    with contextlib.suppress(BaseException):
        vars(threading)["_shutdown"]()
        vars(util)["_exit_function"]()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
