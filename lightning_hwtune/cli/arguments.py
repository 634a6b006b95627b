"""The arguments of the commands that run a study, and the checks that are made before anything is read."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_hwtune.errors import ArgumentError

__all__ = [
    "CheckFirst",
    "Dir",
    "FileDir",
    "MaxCost",
    "MaxTime",
    "MaxTrials",
    "Out",
    "Overrides",
    "Quiet",
    "check_overrides",
    "command_line",
    "import_from_here",
]


def _folder(given: str | Path) -> Path:
    """Returns the path of a folder. A path that no file system allows is an error in the command line."""
    from lightning_hwtune.forms import FORMS

    try:
        return Path(FORMS["Study"]["dir"].read("folder", given))
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None


Dir = Annotated[Path, typer.Option("--dir", parser=_folder, metavar="PATH", help="Folder of the studies.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=_folder,
        metavar="PATH",
        help="Folder to write to; the study's own unless given.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes to the file: key=value, +key=value, ~key.", show_default=False),
]
FileDir = Annotated[
    str | None, typer.Option("--dir", help="Folder of the studies; the file's `dir` unless given.", show_default=False)
]
MaxTrials = Annotated[
    int | None, typer.Option("--max-trials", help="Trials of the study, over all its runs.", show_default=False)
]
MaxTime = Annotated[
    str | None, typer.Option("--max-time", help="Time of the study, e.g. 8h, over all its runs.", show_default=False)
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", help="US dollars of the study, over all its runs.", show_default=False)
]
CheckFirst = Annotated[bool, typer.Option("--check/--no-check", help="Train two batches first, if the study is new.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show the result only.")]


def check_overrides(overrides: Sequence[str] | None) -> list[str]:
    """Returns the overrides. Text that is not an override is an error in the command line."""
    from lightning_hwtune.settings import parse_overrides

    try:
        parse_overrides(overrides or ())
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    return list(overrides or ())


def import_from_here() -> None:
    """Makes the working directory importable, as with `python -m`."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def command_line(words: Iterable[str], options: Mapping[str, Any]) -> str:
    """Returns a command line of `hwtune` with the options that were given."""
    given = [(f"--{key.replace('_', '-')}", str(value)) for key, value in options.items() if value is not None]
    return shlex.join(["hwtune", *words, *(word for pair in given for word in pair)])
