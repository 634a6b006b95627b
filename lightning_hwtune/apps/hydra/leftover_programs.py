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


def programs_of(orders: Path) -> Iterator[int]:
    """Yields the process ids of live programs on this host that a job started, except this process.

    Args:
        orders: path of an order, or of the folder with all orders of a study.
    """
    mark = f"{ORDER_VARIABLE}={orders}".encode()
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
                variables = Path("/proc", name, "environ").read_bytes().split(b"\0")
                if int(name) != os.getpid() and any(v == mark or v.startswith(mark + b"/") for v in variables):
                    yield int(name)


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
