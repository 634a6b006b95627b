"""Takes turns at a study: waits until the process that runs it has ended, on this host or another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import typer

from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StudyLockedError, StudyNotFoundError

__all__ = ["in_turn"]

_LOOK_S = 2.0
_T = TypeVar("_T")


def in_turn(reader: Reader, run: Callable[[], _T]) -> _T:
    """Calls `run` when no process runs the study; returns its result.

    Of several processes that wait, one is first, and the others wait again.

    Args:
        reader: the reader of the study, which need not exist yet.
    """
    is_said = False
    while True:
        while _is_driven(reader):
            if not is_said:
                typer.echo("hwtune: another process runs this study; waiting until it has ended", err=True)
                is_said = True
            time.sleep(_LOOK_S)
        try:
            return run()
        except StudyLockedError:
            if not _is_driven(reader):  # locked, but not by a run of the study
                raise


def _is_driven(reader: Reader) -> bool:
    try:
        return reader.driven_at() is not None
    except StudyNotFoundError:
        return False
