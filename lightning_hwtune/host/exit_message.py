"""What a script prints when Ctrl-C ended its study: one line instead of a traceback.

The error itself is raised as usual. Code that catches KeyboardInterrupt still does so, a notebook shows the error with
the line as a note, and the exit status is that of any interrupted script. Only the text that the interpreter prints at
the end is different.
"""

from __future__ import annotations

import atexit
import gc
import sys
from types import TracebackType
from typing import Any

__all__ = ["exit_quickly", "print_at_exit"]

_TEXT = "_hwtune_exit_text"


def print_at_exit(error: KeyboardInterrupt, text: str) -> None:
    """Makes the interpreter print this text if the error is not caught."""
    error.add_note(text)
    setattr(error, _TEXT, text)
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)


def exit_quickly() -> None:
    """Makes the interpreter exit without a garbage collection, which takes more than a second with torch loaded."""
    atexit.register(gc.freeze)


class _Hook:
    """Handles errors that have a text; passes all others to the previous hook."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        text = getattr(error, _TEXT, None)
        if text is None:
            self._before(kind, error, traceback)
        else:
            print(f"\n{text}", file=sys.stderr)  # noqa: T201 - the interpreter prints errors there, too
