"""Defers Ctrl-C, SIGTERM and SIGHUP until a critical section is done.

Python runs signal handlers between any two instructions of the main thread, for example between the commit of an event
and the line that remembers it. Inside `uninterrupted`, signals are recorded and handled at the end. It costs about 15
us, and nothing when nested.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["is_signal_deferred", "uninterrupted"]

_is_inside = False  # whether the main thread is inside such a block
_is_late = False  # whether a signal has arrived inside it


def is_signal_deferred() -> bool:
    """Return whether a signal waits for the end of the present block, so that a long wait inside it should end."""
    return _is_inside and _is_late and threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defers these signals to the end of the block, even if it raises. Only in the main thread, which handles them."""
    global _is_inside, _is_late
    if _is_inside or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _deferred(signal.SIGHUP), _deferred(signal.SIGTERM), _deferred(signal.SIGINT):
        _is_inside, _is_late = True, False
        try:
            yield
        finally:
            _is_inside = False


@contextlib.contextmanager
def _deferred(number: signal.Signals) -> Iterator[None]:
    """Defers one signal. Each has its own block, so the others are restored even if a handler raises at the end."""
    handler, late = signal.getsignal(number), list[FrameType | None]()

    def defer(_: int, frame: FrameType | None) -> None:
        global _is_late
        _is_late = True
        late.append(frame)

    if not callable(handler):  # the signal is ignored, or ends the process at once
        yield
        return
    try:
        signal.signal(number, defer)
        yield
    finally:
        signal.signal(number, handler)
        if late:
            handler(number, late[0])
