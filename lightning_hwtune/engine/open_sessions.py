"""Sessions that ask and tell leave open in this process, and how a later `Study` object takes one over.

A notebook cell that makes a study and asks it is run again after an error: the name is bound to a new object, and the
old one, whose trial was never told, is out of reach. Its session is closed then, and the new object opens its own.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import final

from lightning_hwtune.engine.manual import Manual
from lightning_hwtune.engine.session import Session
from lightning_hwtune.engine.signals import Signals

__all__ = ["OpenSession", "take_over"]

_GIVEN_UP = "given up, since study.tell was not called and the study is opened again in this process"
_open: list[OpenSession] = []


@final
class OpenSession:
    """A session that lasts from the first `ask` to the end of the study, or to `close`.

    Args:
        owner: who asks; not kept alive. folder, storage: of the study. session: is entered here.
    """

    def __init__(self, owner: object, folder: Path, storage: str | None, session: Session) -> None:
        self._owner, self._study = weakref.ref(owner), (folder.resolve(), storage)
        self._thread, self._pid = threading.current_thread(), os.getpid()
        self.session = session.__enter__()
        try:
            self.manual = Manual(session)
        except BaseException:
            session.__exit__(*sys.exc_info())
            raise
        self.is_open = True
        _open.append(self)

    def close(self, why: str = "study.tell was not called") -> None:
        """Ends a trial that was not told, and the session. Idempotent; no effect in a forked process."""
        if not self.is_open or not self.is_of_this_process:
            return
        self.is_open = False
        _open.remove(self)
        try:
            self.manual.close(why)
        finally:
            self.session.__exit__(None, None, None)

    @property
    def is_of_this_process(self) -> bool:
        """False in a process that was forked since: the session is its parent's."""
        return self._pid == os.getpid()

    def is_left(self, folder: Path, storage: str | None) -> bool:
        """Return whether this session is of that study or nobody's any more, and no other thread works with it."""
        is_ours = self._thread is threading.current_thread() or not self._thread.is_alive()
        return is_ours and (self._owner() is None or self._study == (folder.resolve(), storage))


def take_over(folder: Path, storage: str | None) -> None:
    """Closes the sessions on this study that other objects of this thread have left open, and those without an owner.

    A trial of theirs that was not told is given up: it continues another time.
    """
    for found in _open:
        if found.is_left(folder, storage):
            found.close(_GIVEN_UP)


@atexit.register
def _close_all() -> None:
    with Signals():
        for found in _open:
            found.close()
