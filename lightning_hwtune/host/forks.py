"""Forks of a process with threads that Python did not start, such as those of a process group or of autograd.

In CPython before 3.11.10 a forked child can deadlock if such a thread is entering or leaving Python during the fork.
The thread holds the lock of the list of threads without the interpreter lock, and the child tries to acquire that lock
before it creates it again (python/cpython issue 112275). If a loader worker hangs like this, its rank hangs, and with
it the whole segment.
"""

from __future__ import annotations

import os
import sys
import time

__all__ = ["quieten_forks"]

_SETTLE_S = 0.005  # shorter than such a fork
_FIXED_IN = (3, 11, 10)


def quieten_forks() -> None:
    """Makes every fork of this process wait until threads that have just finished their work have left Python.

    Does nothing in versions of CPython with the fix. Only the microseconds between the wait and the fork remain unsafe.
    """
    if sys.version_info < _FIXED_IN:
        os.register_at_fork(before=_settle)


def _settle() -> None:
    time.sleep(_SETTLE_S)  # releases the interpreter lock
    sys._current_frames()  # acquires the lock of the list of threads, so that no other thread holds it
