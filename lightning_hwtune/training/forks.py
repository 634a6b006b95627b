"""Forks of a process with threads that Python did not start, such as those of a process group or of autograd.

In CPython before 3.11.10 a forked child waits for ever if such a thread was entering or leaving Python at that moment:
it holds the lock of the list of threads without the interpreter lock, and the child asks for it before it makes it anew
(python/cpython issue 112275). A loader worker that hangs so hangs its rank, and with it the whole segment.
"""

from __future__ import annotations

import os
import sys
import time

__all__ = ["quieten_forks"]

_SETTLE_S = 0.005  # less than such a fork takes
_MENDED = (3, 11, 10)


def quieten_forks() -> None:
    """Has every fork of this process wait until threads that have just ended their work are out of Python.

    Does nothing where CPython is mended. What is left to chance are the microseconds between the wait and the fork.
    """
    if sys.version_info < _MENDED:
        os.register_at_fork(before=_settle)


def _settle() -> None:
    time.sleep(_SETTLE_S)  # lets go of the interpreter lock
    sys._current_frames()  # takes the lock of the list of threads, so that nobody else holds it
