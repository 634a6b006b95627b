"""Ends processes together: a child with its parent, and descendants whose own parents have ended.

When a parent ends, its children are handed to the nearest living ancestor that adopts orphans. Ranks, fork server and
guard all adopt, so every process that a rank has started stays a descendant that can be found and ended. That includes
a daemon that was forked twice, and a process in a separate session.

Only Linux has both calls. On other systems, such as macOS, they do nothing: a process notices the end of its parent
when a pipe or socket closes, and descendants whose own parents have ended are not found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import final

__all__ = ["Sweep", "adopt_orphans", "children_of", "die_with_parent", "end_children"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 0.3  # between SIGTERM and SIGKILL, so that a resource tracker or an uploader can clean up
_GIVE_UP_S = 5.0  # the longest wait for a process that the kernel cannot end
_LOOK_S = 0.02


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Makes the kernel send this process a signal as soon as the thread that started it ends.

    Args:
        parent: process id of the parent. If the parent has already ended, no signal follows, and this process exits
            at once.
        number: the signal.
    """
    if _prctl(_PR_SET_PDEATHSIG, number) and os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parents have ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    """Sets a property of this process; returns whether the system has such a call."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return False
    prctl(option, value)
    return True


def children_of(parent: int) -> Iterator[int]:
    """Yields the process ids of the children of a process, including ended ones that were not waited for."""
    if parent == os.getpid() and (listed := _own_children()) is not None:
        yield from listed
        return
    try:
        names = os.listdir("/proc")
    except OSError:
        yield from _listed_children_of(parent)
        return
    for name in filter(str.isdigit, names):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before the bracket may contain anything
            if int(fields[1]) == parent:
                yield int(name)


def _own_children() -> list[int] | None:
    """Returns the process ids of this process's children, as Linux lists them per thread; None if it does not.

    Such a list is complete as long as no other thread waits for a child.
    """
    try:
        lists = [Path(f"/proc/self/task/{thread}/children").read_text() for thread in os.listdir("/proc/self/task")]
    except OSError:
        return None
    return [int(pid) for text in lists for pid in text.split()]


def _listed_children_of(parent: int) -> Iterator[int]:
    """Does the same with the program `ps`; yields nothing if there is none."""
    command = ["ps", "-A", "-o", "pid=,ppid="]
    with contextlib.suppress(OSError), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.communicate()[0].splitlines():
            pid, _, owner = line.strip().partition(" ")
            if owner.strip() == str(parent) and pid.isdigit() and int(pid) != process.pid:
                yield int(pid)


@final
class Sweep:
    """Ends unwanted children of this process: with SIGTERM first, and with SIGKILL after a grace period."""

    def __init__(self, grace_s: float = _GRACE_S) -> None:
        self._grace_s = grace_s
        self._signalled_at: dict[int, float] = {}

    def step(self, spared: Collection[int] = ()) -> bool:
        """Sends the signals that are due; returns whether no child is left that can be ended.

        Args:
            spared: process ids of children that are not ended.
        """
        now, left = time.monotonic(), [pid for pid in children_of(os.getpid()) if pid not in spared]
        self._signalled_at = {pid: self._signalled_at.get(pid, now) for pid in left}
        for pid, signalled_at in self._signalled_at.items():
            number = signal.SIGKILL if now - signalled_at > self._grace_s else signal.SIGTERM
            if signalled_at == now or number is signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        return all(now - signalled_at > _GIVE_UP_S for signalled_at in self._signalled_at.values())


def end_children(at_once: Collection[int] = (), grace_s: float = _GRACE_S) -> None:
    """Ends every child of this process, including descendants that it adopts when their parents end.

    Args:
        at_once: children that get SIGKILL at once, without time to clean up.
        grace_s: the time to clean up that the others get, in seconds.
    """
    for pid in at_once:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep, give_up_at = Sweep(grace_s), time.monotonic() + _GIVE_UP_S
    while not _reap() and time.monotonic() < give_up_at:
        sweep.step(at_once)
        time.sleep(_LOOK_S)


def _reap() -> bool:
    """Waits for children that have ended; returns whether no child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
