"""Ties the life of this process to its parent's."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["die_with_parent", "tie_children"]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Has the kernel end this process as soon as the thread that started it ends; does nothing except on Linux.

    Args:
        parent: process id of the parent. One that died before the tie was made sends no signal: then this process
            ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def tie_children() -> None:
    """Ties every process that this one forks from now on, and in turn what those fork, each to its own parent."""
    forking: list[int] = []

    def before() -> None:
        forking[:] = [os.getpid()]

    os.register_at_fork(before=before, after_in_child=lambda: die_with_parent(forking[0]))
