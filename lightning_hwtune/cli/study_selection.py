"""The study that a command is about."""

from __future__ import annotations

from pathlib import Path

import typer

from lightning_hwtune.stored_study import StoredStudy, newest_first

__all__ = ["choose"]


def choose(dir: Path, name: str | None, storage: str | None) -> StoredStudy:  # noqa: A002 - as in Study
    """Returns the study with this name. Without a name, returns the one that ran last; prints a line if there are more.

    Raises:
        StudyNotFoundError: there is no study, or none with this name.
    """
    if name is None:
        names = newest_first(dir, storage)
        name = names[0]
        if len(names) > 1:
            text = f"hwtune: study {name!r} ran last of {len(names)} studies; choose another one with --study NAME"
            typer.echo(text, err=True)
    return StoredStudy.load(name, dir, storage)
