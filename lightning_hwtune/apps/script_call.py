"""Runs a user's script as `python` would, inside the process of a segment.

Unlike in a terminal, no user answers questions, and an exit with an error becomes an exception with the reason.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, final

from lightning_hwtune.errors import TrialError
from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.segment_end import interrupt_in

__all__ = ["ended_by_exit", "module_file", "no_input", "run_as_main", "script_arguments", "segment_of_app"]

_N_KEPT = 4000  # characters kept of the last output on standard error


def segment_of_app() -> ActiveSegment:
    """Return the segment that this process trains.

    Raises:
        RuntimeError: there is none, because no study calls the app.
    """
    segment = current_segment()
    if segment is None:
        raise RuntimeError("only a study can call an app's training function")
    return segment


def run_as_main(target: str, arguments: Sequence[str], *, is_module: bool = False) -> None:
    """Run a script, or a module if `is_module`, with these arguments."""
    with script_arguments([target, *arguments]), no_input():
        if is_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")


def module_file(name: str) -> Path | None:
    """Return the file that `python -m name` runs; None if there is none. Nothing is imported."""
    found, path = None, None
    for n in range(1, name.count(".") + 2):
        full_name = ".".join(name.split(".")[:n])
        found = importlib.machinery.PathFinder.find_spec(full_name, path)
        if found is None:
            return None
        path = found.submodule_search_locations
    if path is not None:  # a package
        return module_file(f"{name}.__main__")
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


@contextlib.contextmanager
def script_arguments(argv: list[str]) -> Iterator[None]:
    """Set `sys.argv`, and make the modules in the script's folder importable."""
    before = sys.argv, list(sys.path)
    sys.argv = argv
    folder = os.path.dirname(argv[0])
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before


@contextlib.contextmanager
def no_input() -> Iterator[None]:
    """Make standard input empty, because no user can answer."""
    before, kept = sys.stdin, os.dup(0)
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before
            os.dup2(kept, 0)
            os.close(kept)


def ended_by_exit(caller: str, call: Callable[[], Any]) -> bool:
    """Call user code; return whether it ended by an exit with status 0. A signal passes.

    Args:
        caller: what exits, for the message, such as "the app".

    Raises:
        TrialError: the code exited with another status; the message contains what was printed last.
        Exception: the code's own error.
    """
    output = _LastOutput(sys.stderr)
    try:
        with contextlib.redirect_stderr(output):
            call()
    except SystemExit as stop:
        if interrupt_in(stop) is not None:
            raise
        if stop.code not in (0, None):
            raise TrialError(f"{caller} called sys.exit({stop.code!r}){output.reason}") from stop
        return True
    return False


@final
class _LastOutput:
    """A text stream that also keeps the text written last, in which a parser says why it exits."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.last = stream, ""

    def write(self, text: str) -> int:
        """Write a text and keep its end."""
        self.last = (self.last + text)[-_N_KEPT:]
        return self._stream.write(text)

    @property
    def reason(self) -> str:
        """The message of a parser, or else the last line, after a colon; empty if nothing was printed."""
        text = self.last.strip()
        _, is_parser, message = text.rpartition("error: ")
        why = message if is_parser else text.rpartition("\n")[2]
        return f": {why}" if why else ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
