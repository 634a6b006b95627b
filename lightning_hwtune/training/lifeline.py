"""Ties the lives of processes together: to a parent, to children, and to what children leave behind.

A process that is not waited for by its own parent is handed to the nearest living ancestor that adopts orphans. Ranks,
fork server and guard all adopt, so whatever a rank has started stays a descendant that can be found and ended: also a
daemon that was forked twice, and a process with a session of its own. Linux only; elsewhere these calls do nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import final

__all__ = ["Sweep", "adopt_orphans", "children_of", "die_with_parent", "end_children", "tie_children"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")
_TERM_GRACE_S = 0.5  # between SIGTERM and SIGKILL: a resource tracker or an uploader may clean up
_GIVE_UP_S = 5.0  # a process that the kernel cannot end delays nobody for longer
_LOOK_S = 0.01


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Has the kernel send this process a signal as soon as the thread that started it ends.

    Args:
        parent: process id of the parent. A parent that died earlier sends no signal: then this process ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)


def tie_children() -> None:
    """Ties every process that this one forks from now on, and in turn what those fork, each to its own parent."""
    forking: list[int] = []

    def before() -> None:
        forking[:] = [os.getpid()]

    os.register_at_fork(before=before, after_in_child=lambda: die_with_parent(forking[0]))


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parents have ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children_of(parent: int) -> Iterator[int]:
    """Yields the process ids of the children of a process, ended ones that nobody has waited for included."""
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()  # the name before it may hold anything
            if int(fields[1]) == parent:
                yield int(path.parent.name)


@final
class Sweep:
    """Ends children of this process that nobody has asked for: SIGTERM first, SIGKILL half a second later."""

    def __init__(self) -> None:
        self._told_at: dict[int, float] = {}

    def step(self, spared: Collection[int] = ()) -> bool:
        """Sends the signals that are due; returns whether nothing is left that can be ended.

        Args:
            spared: children that stay.
        """
        now, left = time.monotonic(), [pid for pid in children_of(os.getpid()) if pid not in spared]
        self._told_at = {pid: self._told_at.get(pid, now) for pid in left}
        for pid, told_at in self._told_at.items():
            number = signal.SIGKILL if now - told_at > _TERM_GRACE_S else signal.SIGTERM
            if told_at == now or number is signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        return all(now - told_at > _GIVE_UP_S for told_at in self._told_at.values())


def end_children(at_once: Collection[int] = ()) -> None:
    """Ends every child of this process and what they leave to it.

    Args:
        at_once: children that get SIGKILL and no time to clean up.
    """
    for pid in at_once:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep, give_up_at = Sweep(), time.monotonic() + _GIVE_UP_S
    while not _reap() and time.monotonic() < give_up_at:
        sweep.step(at_once)
        time.sleep(_LOOK_S)


def _reap() -> bool:
    """Waits for children that have ended; returns whether there are none left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
