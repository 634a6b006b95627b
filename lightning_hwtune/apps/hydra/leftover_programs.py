"""Finds the programs that a launcher's jobs have started, and ends them.

A launcher's worker is not a descendant of a fork server, and may train several trials one after another. So a program
that a job started is recognised by the environment variable through which the job finds its order. Programs inherit the
variable, and the kernel shows the variables with which a program began. Linux only; on other systems nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ORDER_VARIABLE", "end_programs_of", "programs_of"]

ORDER_VARIABLE = "HWTUNE_SEGMENT"
"""Contains the path of a job's order, in the job and in the programs that it starts."""

_GRACE_S = 0.3  # between SIGTERM and SIGKILL
_LOOK_S = 0.02
_BEGINS_WITHIN_S = 1.0  # the kernel needs microseconds; a loaded machine may interrupt it there
_ENV_END = 48  # place in /proc/PID/stat behind the command, see proc(5)


def programs_of(orders: Path) -> Iterator[int]:
    """Yields the process ids of live programs on this host that a job started, except this process.

    Args:
        orders: path of an order, or of the folder with all orders of a study.
    """
    mark = f"{ORDER_VARIABLE}={orders}".encode()
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
                variables = _variables(Path("/proc", name)).split(b"\0")
                if int(name) != os.getpid() and any(v == mark or v.startswith(mark + b"/") for v in variables):
                    yield int(name)


def _variables(process: Path) -> bytes:
    """Read the variables of a process. A program that has only just begun has none yet, so this waits for them."""
    give_up_at = time.monotonic() + _BEGINS_WITHIN_S
    while _begins(process) and time.monotonic() < give_up_at:
        time.sleep(0.001)
    return (process / "environ").read_bytes()


def _begins(process: Path) -> bool:
    """Return whether the kernel is still preparing the program of this process: its variables have no place yet."""
    (process / "exe").readlink()  # fails for a kernel thread and for a process that has ended: they never get one
    return (process / "stat").read_text().rpartition(")")[2].split()[_ENV_END] == "0"


def end_programs_of(orders: Path) -> None:
    """Ends these programs with SIGTERM, and a little later with SIGKILL if they are still running."""
    if not _signal(orders, signal.SIGTERM):
        return
    kill_at = time.monotonic() + _GRACE_S
    while time.monotonic() < kill_at and any(programs_of(orders)):
        time.sleep(_LOOK_S)
    _signal(orders, signal.SIGKILL)


def _signal(orders: Path, number: signal.Signals) -> bool:
    """Send a signal to each program; return whether there were any."""
    found = list(programs_of(orders))
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return bool(found)
