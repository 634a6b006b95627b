"""How a command ends if its output cannot be written: like other system commands, without a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

__all__ = ["standard_output"]


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Ends the process with SIGPIPE if a pipe was closed, or with status 1 and a message if output cannot be written.

    The command has done its work by then: the study is stored completely, even if its output is not read.
    """
    stream, place = sys.stdout, _place()
    try:
        yield
    except SystemExit:
        if sys.stdout is not stream or _place() != place:  # click and rich replace the stream of a closed pipe
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        with contextlib.suppress(OSError):
            print(f"hwtune: write error: {error.strerror}", file=sys.stderr)  # noqa: T201 - the only output that is left
        _drop_what_is_left()
        sys.exit(1)


def _place() -> tuple[int, int] | None:
    """Returns the identity of the standard output; None if it is closed."""
    try:
        found = os.fstat(1)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _drop_what_is_left() -> None:
    """Prevents the interpreter from writing the rest of the output at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
