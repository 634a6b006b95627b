"""Tracebacks for users: the lines of their own code remain, those of libraries that run it are counted."""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from types import TracebackType

__all__ = ["is_own", "own_lines"]

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_PYTHON = f"{sysconfig.get_path('stdlib')}{os.sep}"
_FRAME = re.compile(r'  File "(?P<file>.+)", line \d+')
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\](?P<library>\w+)[/\\]")
_RUNNERS = frozenset({"lightning", "pytorch_lightning", "lightning_fabric", "torch", "hydra", "jsonargparse"})
_FROZEN = re.compile(r"<frozen runpy>|<frozen importlib")
_US = "lightning_hwtune"


def own_lines(text: str) -> str:
    """Returns the text of a traceback without the frames of this package and of the libraries that run user code.

    A line says how many frames are left out, and of what. The frame in which the error was raised is kept, except where
    this package raised it. Other text is returned unchanged.

    Examples:
        >>> print(own_lines("ValueError: no"))
        ValueError: no
    """
    lines: list[str] = []
    skipped: list[tuple[str, list[str]]] = []  # the library and the lines of each frame that is left out
    inside = False
    for line in text.splitlines():
        found = _FRAME.match(line)
        if found is not None:
            library = _runner(found["file"])
            if library:
                skipped.append((library, [line]))
            else:
                lines += [*_gap(skipped), line]
                skipped = []
            inside = True
        elif inside and line.startswith("  "):
            (skipped[-1][1] if skipped else lines).append(line)
        else:
            if skipped:
                last = skipped.pop() if skipped[-1][0] != _US else (_US, [])
                lines += [*_gap(skipped), *last[1]]
                skipped = []
            lines.append(line)
            inside = False
    return "\n".join([*lines, *_gap(skipped)])


def is_own(traceback: TracebackType | None) -> bool:
    """Return whether only this package and Python itself stand in a traceback, so that it tells a user nothing."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        is_python = file.startswith((_PYTHON, "<string>", "<frozen")) and not _INSTALLED.search(file)
        if not is_python and not file.startswith(_PACKAGE):
            return False
        traceback = traceback.tb_next
    return True


def _runner(file: str) -> str:
    """Return the library that a file of a frame belongs to, if its frames are left out."""
    if file.startswith(_PACKAGE):
        return _US
    if _FROZEN.match(file):
        return "Python"
    found = _INSTALLED.search(file)
    library = found["library"] if found is not None else ""
    return library if library in _RUNNERS or library == _US else ""


def _gap(skipped: list[tuple[str, list[str]]]) -> list[str]:
    """Return the line that stands for the frames that are left out; none if there are none."""
    if not skipped:
        return []
    *others, last = dict.fromkeys(library for library, _ in skipped)
    names = f"{', '.join(others)} and {last}" if others else last
    return [f"  [{len(skipped)} {'frame' if len(skipped) == 1 else 'frames'} of {names} left out]"]
