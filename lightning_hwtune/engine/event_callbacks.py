"""Functions of users that receive the events of a study, each in its own thread.

An event is passed on after it is stored in the log and applied to the state, so a crash cannot undo what a callback
saw. The thread that runs the study only appends to a queue. A callback that is slow or raises an error therefore delays
no decision, and it never ends the study: the study gets a note instead.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, final

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.events import Event
from lightning_hwtune.engine.payload import ImportedFunction
from lightning_hwtune.errors import first_line
from lightning_hwtune.text import counted

__all__ = ["EventCallback", "EventCallbacks"]

EventCallback = Callable[[Event], object]
_MOST_WAITING = 10_000  # events in a queue
_END_S = 5.0  # how long the end of a session waits for all callbacks together


@final
class EventCallbacks:
    """A context manager around a session; `on_events` is one of the session's observers.

    Args:
        callbacks: functions of one event, or their import paths.
        most_waiting: how many events may wait for one callback; the newest of more are dropped.
        end_s: how long the end waits for callbacks that still have events.

    Raises:
        ArgumentError: an import path leads to no function.
    """

    def __init__(
        self, callbacks: Sequence[EventCallback | str], *, most_waiting: int = _MOST_WAITING, end_s: float = _END_S
    ) -> None:
        self._end_s = end_s
        self._threads = [
            _CallbackThread(ImportedFunction(item, "callbacks") if isinstance(item, str) else item, most_waiting)
            for item in callbacks
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Waits for the callbacks; warns about what they did not get or could not process."""
        for thread in self._threads:
            thread.close()
        end_at = time.monotonic() + self._end_s
        for thread in self._threads:
            thread.join(end_at - time.monotonic())
            for text in (*thread.taken_notes().values(), thread.left_over(self._end_s)):
                if text:
                    warnings.warn(text, stacklevel=2)

    def on_events(self, events: Sequence[Event]) -> None:
        """Passes events on; returns at once."""
        for thread in self._threads:
            thread.put(events)

    def tick(self, controller: Controller, now: float) -> None:
        """Writes a note for each callback that has failed or is too slow; called by the thread that runs the study."""
        for thread in self._threads:
            for topic, text in thread.taken_notes().items():
                controller.note_once(text, topic, now)


@final
class _CallbackThread:
    """One callback, its queue and its thread."""

    def __init__(self, callback: EventCallback, most_waiting: int) -> None:
        self._callback, self._most_waiting = callback, most_waiting
        self._name = getattr(callback, "path", None) or getattr(callback, "__qualname__", type(callback).__name__)
        self._events = deque[Event]()
        self._changed = threading.Condition()
        self._notes: dict[str, str] = {}
        self._is_closed = self._is_calling = False
        self._n_dropped = self._n_failed = 0
        # a daemon: the process may exit while a callback is still busy
        self._thread = threading.Thread(target=self._work, name=f"hwtune callback {self._name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, events: Sequence[Event]) -> None:
        with self._changed:
            room = max(self._most_waiting - len(self._events), 0)
            self._events.extend(events[:room])
            self._n_dropped += len(events[room:])
            if events[room:]:
                waiting = counted(self._most_waiting, "events")
                text = f"the callback {self._name} is too slow: {waiting} wait for it, and it does not get further ones"
                self._notes[f"slow callback {self._name}"] = f"{text} until it has caught up"
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread once it has passed on what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(max(timeout_s, 0.0))

    def taken_notes(self) -> Mapping[str, str]:
        """Returns the notes since the last call, by topic."""
        with self._changed:
            taken, self._notes = self._notes, {}
            return taken

    def left_over(self, end_s: float) -> str:
        """Returns a line about the events that the callback did not process; an empty text if there are none."""
        with self._changed:
            n_left = len(self._events) + self._is_calling
            self._events.clear()
            parts = []
            if n_left:
                parts.append(
                    f"was still busy {end_s:g} s after the session, so {counted(n_left, 'events')} were cut off"
                )
            if self._n_dropped:
                parts.append(f"did not get {counted(self._n_dropped, 'events')}, because its queue was full")
            if self._n_failed > 1:
                parts.append(f"failed for {counted(self._n_failed, 'events')} in all")
            return f"the callback {self._name} {'; it '.join(parts)}" if parts else ""

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_calling = False
                self._changed.wait_for(lambda: self._events or self._is_closed)
                if not self._events:
                    return
                event = self._events.popleft()
                self._is_calling = True
            try:
                self._callback(event)
            except BaseException as error:  # whatever user code raises must not end the thread
                self._failed(event, error)

    def _failed(self, event: Event, error: BaseException) -> None:
        with self._changed:
            self._n_failed += 1
            if self._n_failed == 1:
                what = first_line(f"{type(error).__name__}: {error}".rstrip(": "))
                text = f"the callback {self._name} failed for a {type(event).__name__} event: {what}"
                self._notes[f"failed callback {self._name}"] = f"{text}. The study continues, and so does the callback"
