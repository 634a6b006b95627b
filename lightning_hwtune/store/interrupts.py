"""Ctrl-C, SIGTERM and SIGHUP wait until a critical section is done.

Python raises them between any two instructions of the main thread: also between the commit of an event and the line
that remembers it. Inside `uninterrupted` they are noted, and take effect at its end. About 15 us; nested, nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["uninterrupted"]

_is_inside = False  # the main thread is in such a block


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defers these signals to the end of the block, also if it raises. In the main thread; others get none."""
    global _is_inside
    if _is_inside or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _deferred(signal.SIGHUP), _deferred(signal.SIGTERM), _deferred(signal.SIGINT):
        _is_inside = True
        try:
            yield
        finally:
            _is_inside = False


@contextlib.contextmanager
def _deferred(number: signal.Signals) -> Iterator[None]:
    """One signal. One alone a block: what it raises at the end must still pass the next one's restoration."""
    handler, late = signal.getsignal(number), list[FrameType | None]()
    if not callable(handler):  # ignored, or ends the process at once
        yield
        return
    try:
        signal.signal(number, lambda _, frame: late.append(frame))
        yield
    finally:
        signal.signal(number, handler)
        if late:
            handler(number, late[0])
