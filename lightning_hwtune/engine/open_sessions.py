"""The sessions that ask and tell leave open in this process, and how a later `Study` object takes over.

Suppose that a notebook cell creates a study and calls `ask`, and is run again after an error. The name then refers to a
new object, and `tell` can no longer be called on the old one. In this case the old session is closed, and the new
object opens another one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
import traceback
import weakref
from pathlib import Path
from typing import final

from lightning_hwtune.engine.event_callbacks import EventCallbacks
from lightning_hwtune.engine.manual import Manual
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import MetricError, first_line
from lightning_hwtune.host.session_signals import Signals
from lightning_hwtune.text import TO_CONTINUE, brief, interrupted_text, to_start_over
from lightning_hwtune.training.segment_end import interrupt_in, interrupt_text

__all__ = ["OpenSession", "session_of", "take_over"]

_GIVEN_UP = "given up: study.tell was not called, and the study was opened again in this process"
_MAX_NAMED = 400
_open: list[OpenSession] = []


@final
class OpenSession:
    """A session that lasts from the first `ask` to the end of the study or to `close`.

    Args:
        owner: the object whose `ask` was called; only a weak reference is kept.
        folder: the study's folder.
        storage: the study's storage.
        session: the session, which is entered here.
        callbacks: what gets the session's events, entered here as well.
        save_every: extra checkpoints, see `SegmentOrder`.
    """

    def __init__(
        self,
        owner: object,
        folder: Path,
        storage: str | None,
        session: Session,
        callbacks: EventCallbacks,
        save_every: int | None = None,
    ) -> None:
        self._owner, self._study = weakref.ref(owner), (folder.resolve(), storage)
        self._thread, self._pid = threading.current_thread(), os.getpid()
        self._callbacks = callbacks
        with contextlib.ExitStack() as entered:
            entered.enter_context(callbacks)
            self.session = entered.enter_context(session)
            self.manual = Manual(session, save_every)
            self._entered = entered.pop_all()
        self.is_open = True
        _open.append(self)

    def close(self, why: str = "study.tell was not called", error: BaseException | None = None) -> None:
        """Ends the session, and a trial without `tell`. Idempotent; no effect in a forked process.

        Args:
            why: the reason for the trial, unless a signal such as Ctrl-C is the reason.
            error: the error that ends the loop; by default the one that is being handled.
        """
        if not self.is_open or not self.is_of_this_process:
            return
        if signal := self._signal(error or sys.exc_info()[1]):
            why = signal
            self.session.interrupt(signal)
        self.is_open = False
        _open.remove(self)
        try:
            self.manual.close(why)
        finally:
            self._entered.close()

    def close_at_exit(self, error: BaseException | None) -> None:
        """Ends the session together with its process, and prints how an interrupted one continues.

        Args:
            error: the error that ends the process, whose traceback has been printed; None if there is none.
        """
        if not self.is_open or not self.is_of_this_process:
            return
        text = ""
        if self._signal(error):
            text = f"\n{interrupted_text(self._study[0])}."
        elif error is not None:
            named = brief(first_line("".join(traceback.format_exception_only(error))).rstrip("."), _MAX_NAMED)
            dot = "" if named.endswith("...") else "."
            text = f"study {self._study[0].name} is interrupted by {named}{dot} {TO_CONTINUE}."
            trials = self.session.controller.state.trials
            if isinstance(error, MetricError) and not any(trial.measurements for trial in trials):
                text += f" {to_start_over(*self._study)}"
            self.session.observers[:] = [self._callbacks.on_events]  # several lines would hide the traceback
            self.session.interrupt(named)
            self.close(f"the loop ended with {named}", error)
        self.close(error=error)
        if text:
            gc.freeze()  # the interpreter then exits without a garbage collection; see `host.exit_message`
            print(text, file=sys.stderr)  # noqa: T201 - where the interpreter has printed the traceback

    def _signal(self, error: BaseException | None) -> str:
        """Returns which signal ended the fit of the open trial or caused this error, in words; "" if none did."""
        stop = interrupt_in(error)
        return self.manual.interrupt or ("" if stop is None else interrupt_text(stop))

    def pass_to(self, owner: object) -> None:
        """Makes another object of the same study the owner."""
        self._owner = weakref.ref(owner)

    @property
    def is_of_this_process(self) -> bool:
        """False in a process that was forked later, because the session belongs to its parent."""
        return self._pid == os.getpid()

    def is_left(self, folder: Path, storage: str | None) -> bool:
        """Return whether the session is of this study or has no owner left, and no other living thread opened it."""
        is_ours = self._thread is threading.current_thread() or not self._thread.is_alive()
        return is_ours and (self._owner() is None or self.is_of(folder, storage))

    def is_of(self, folder: Path, storage: str | None) -> bool:
        """Return whether the session is of this study."""
        return self._study == (folder.resolve(), storage)


def session_of(trial: object, owner: object, folder: Path, storage: str | None) -> OpenSession | None:
    """Returns the open session of this study that returned a trial, and makes `owner` its owner; None if there is none.

    Suppose that the notebook cell that creates the study is run again while a trial is open: `tell` continues there.
    """
    for found in _open:
        if found.is_of_this_process and found.is_of(folder, storage) and found.manual.has_asked(trial):
            found.pass_to(owner)
            return found
    return None


def take_over(folder: Path, storage: str | None) -> None:
    """Closes the sessions of this study that other objects of this thread left open, and those without an owner.

    A trial for which `tell` was not called is interrupted, and can be resumed later.
    """
    for found in _open:
        if found.is_left(folder, storage):
            found.close(_GIVEN_UP)


@atexit.register
def _close_all() -> None:
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)  # at a prompt, it may be an older one
    with Signals():
        for found in _open:
            found.close_at_exit(error)
