"""The arguments of the commands that run a study, and the checks that are made before anything is read."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_hwtune.errors import ArgumentError, HwTuneError
from lightning_hwtune.forms.run_options import LIMITS, RUN_OPTIONS
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.host.own_command import own_command

__all__ = [
    "DIR",
    "CheckFirst",
    "Dir",
    "FileDir",
    "MaxTrials",
    "Name",
    "Out",
    "Overrides",
    "Quiet",
    "Storage",
    "check_overrides",
    "command_line",
    "error_text",
    "import_from_here",
    "with_limits",
    "with_some_limits",
]

DIR = Path(FILE_KEYS["dir"].default)
"""The default of `Dir`."""

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _folder(given: str | Path) -> Path:
    """Returns the path of a folder. A path that no file system allows is an error in the command line."""
    from lightning_hwtune.forms import FORMS

    try:
        return Path(FORMS["Study"]["dir"].read("folder", given))
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None


Dir = Annotated[Path, typer.Option("--dir", parser=_folder, metavar="PATH", help="Folder that contains the studies.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=_folder,
        metavar="PATH",
        help="Folder to write to; default: the study's own folder.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Overrides of the study file: key=value sets, +key=value adds, ~key removes.",
        show_default=False,
    ),
]
FileDir = Annotated[
    str | None,
    typer.Option("--dir", help="Folder that contains the studies; default: `dir` of the file.", show_default=False),
]
CheckFirst = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check", help=f"{RUN_OPTIONS['check'].summary} Default: as in the study file.", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--study", help="Name of the study; default: the study that ran last.", show_default=False),
]
Storage = Annotated[
    str | None,
    typer.Option("--storage", help="SQLAlchemy URL of the log, for studies made with `storage`.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result, without progress.")]


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command one option per limit, and passes those given to its argument `limits`."""
    return with_some_limits(*LIMITS)(command)


def with_some_limits(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns the decorator that gives a command one option for each of these limits, as `with_limits` does."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def call(**given: Any) -> None:
            limits = {name: value for name in names if (value := given.pop(name)) is not None}
            command(**given, limits=limits)

        own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "limits"]
        options = [inspect.Parameter(name, _KEYWORD, default=None, annotation=_option(name)) for name in names]
        parameters = [item.replace(kind=_KEYWORD) for item in own] + options
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        call.__annotations__ = {item.name: item.annotation for item in parameters}
        return call

    return decorate


def _option(name: str) -> Any:
    """Returns the type of a limit's option, with its text for the help."""
    limit, flag = LIMITS[name], f"--{name.replace('_', '-')}"
    if limit.type is not None:
        return Annotated[limit.type | None, typer.Option(flag, help=limit.summary, show_default=False)]
    metavar = limit.form.kind.upper()
    return Annotated[
        str | None, typer.Option(flag, parser=_value, metavar=metavar, help=limit.summary, show_default=False)
    ]


def _value(text: str) -> int | float | str:
    """Returns a number if the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_overrides(overrides: Sequence[str] | None) -> list[str]:
    """Returns the overrides. Text that is not an override is an error in the command line."""
    from lightning_hwtune.settings import parse_overrides

    try:
        parse_overrides(overrides or ())
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    return list(overrides or ())


def error_text(error: HwTuneError) -> str:
    """Returns the message of an error for a command line, where an option is left out and is never None."""
    if not isinstance(error, ArgumentError) or not error.argument.startswith("--"):
        return str(error)
    allowed = re.sub(r",? or None\b", "", error.allowed)
    if error.received is not None:
        return str(ArgumentError(error.argument, error.received, allowed, hint=error.hint))
    end = "" if allowed.endswith((".", "?", "!")) else "."
    return f"`{error.argument}` is missing: {allowed}{end} {error.hint}".rstrip()


MaxTrials = _option("max_trials")


def import_from_here() -> None:
    """Makes the working directory importable, as with `python -m`."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def command_line(words: Iterable[str], options: Mapping[str, Any]) -> str:
    """Returns a command line of `hwtune` with the options that were given."""
    given: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None:
            given += [f"--{name}", str(value)]
    return f"{own_command()} {shlex.join([*words, *given])}"
