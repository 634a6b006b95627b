"""What a script says in the end if Ctrl-C ended its study: one line in place of a traceback.

The error goes its way: whoever catches KeyboardInterrupt still does, a notebook shows it, with the line as a note, and
the exit status is that of any interrupted script. Only what the interpreter prints about it in the end is different.
"""

from __future__ import annotations

import atexit
import gc
import sys
from types import TracebackType
from typing import Any

__all__ = ["exit_quickly", "tell_at_exit"]

_TEXT = "_hwtune_farewell"


def tell_at_exit(error: KeyboardInterrupt, text: str) -> None:
    """Has the interpreter print this text, should nobody catch the error."""
    error.add_note(text)
    setattr(error, _TEXT, text)
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)


def exit_quickly() -> None:
    """Has the interpreter end without a search for garbage, which takes more than a second with torch loaded."""
    atexit.register(gc.freeze)


class _Hook:
    """Takes errors that have a text; leaves all others to the hook that was there before."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        text = getattr(error, _TEXT, None)
        if text is None:
            self._before(kind, error, traceback)
        else:
            print(f"\n{text}", file=sys.stderr)  # noqa: T201 - the interpreter's own way of telling an error
