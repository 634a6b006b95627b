"""The process that this process starts to get a fork server: the guard, whose child is the server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from multiprocessing import spawn, util
from typing import final

from lightning_hwtune.host.import_path import import_path
from lightning_hwtune.host.socket_folder import make_socket_folder

__all__ = ["Guard"]

_END_S = 5.0  # time for the guard to end everything before it is killed
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from lightning_hwtune.training.process.fork_server import main as forkserver; forkserver{arguments!r}"
)


@final
class Guard:
    """A guard that is running.

    Args:
        control: the server's end of the socket pair to the engine; the caller closes its own copy.

    Attributes:
        pid: the process id.
        folder: a folder for sockets, with a short path, which the guard deletes at its end.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, control: socket.socket) -> None:
        self.folder = make_socket_folder()
        arguments = (control.fileno(), os.getpid(), self.folder)
        program = _PROGRAM.format(path=import_path(), arguments=arguments)
        flags: list[str] = vars(util)["_args_from_interpreter_flags"]()
        command = [os.fsdecode(spawn.get_executable()), *flags, "-c", program]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=[control.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",  # the current folder may be deleted later; each rank changes to the folder of its start
                start_new_session=True,
            )
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.pid = self._process.pid

    def end(self) -> None:
        """Waits a few seconds for the guard to end, then kills its process group."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)  # in case the guard was killed before it could do so
