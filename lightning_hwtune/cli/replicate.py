"""`hwtune replicate`: trains finalists again with other seeds, and shows the mean and the spread of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import (
    FileDir,
    Quiet,
    check_overrides,
    command_line,
    import_from_here,
    with_some_limits,
)
from lightning_hwtune.cli.output import Format, write_frame

__all__ = ["replicate"]


@with_some_limits("max_time", "max_cost", "max_parallel")
def replicate(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="The study file, or the name of a stored study.", show_default=False),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TRIAL]... [KEY=VALUE]...",
            help="Numbers of the trials to repeat, default: those of the front; then overrides of the study file.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many replicates each trial gets.")] = 3,
    trials: Annotated[
        list[str] | None,
        typer.Option("--trials", metavar="TRIAL...", help="The same as TRIAL, e.g. --trials 4 7.", show_default=False),
    ] = None,
    dir: FileDir = None,  # noqa: A002 - the option's name
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="SQLAlchemy URL of the log of a stored study.", show_default=False),
    ] = None,
    quiet: Quiet = False,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
    *,
    limits: Mapping[str, Any],
) -> None:
    """Train the trials of the front again with other seeds, and show the mean and spread of their values.

    The search must have ended. The same command continues after an interruption.
    """
    from lightning_hwtune.cli.study_run import continued_by
    from lightning_hwtune.views.replicates import replicate_entries, replicates_frame, replicates_title

    numbers, overrides = _split(words or (), trials or ())
    import_from_here()
    is_quiet = quiet or form is not Format.TABLE
    options: dict[str, Any] = {"seeds": seeds, "progress": not is_quiet, **limits}
    if Path(study).is_file():
        begun, of_file = _of_file(Path(study), overrides, dir=dir, storage=storage)
        options = {**of_file, **options}
    else:
        begun = _stored(study, overrides, dir=dir, storage=storage)
    given = {"seeds": seeds, "dir": dir, "storage": storage, **limits}
    again = command_line(["replicate", study, *map(str, numbers), *overrides], given)
    with continued_by(begun.dir, again):
        begun.replicate(numbers or None, **options)
    if is_quiet:
        state = begun.state()
        write_frame(
            form,
            frame=lambda: replicates_frame(state),
            data=lambda: replicate_entries(state),
            title=replicates_title(begun.name),
            empty="no replicate has begun",
        )


def _split(words: Sequence[str], trials: Sequence[str]) -> tuple[list[int], list[str]]:
    """Returns the numbers of the trials, and the overrides."""
    listed = [part for text in trials for part in text.replace(",", " ").split()]
    for part in listed:
        if not part.isdecimal():
            raise typer.BadParameter(f"--trials is {part!r} instead of numbers of trials, e.g. --trials 4 7")
    numbers = [int(word) for word in (*listed, *words) if word.isdecimal()]
    return numbers, check_overrides([word for word in words if not word.isdecimal()])


def _of_file(path: Path, overrides: Sequence[str], **given: str | None) -> tuple[Any, dict[str, Any]]:
    """Returns the study of a file, and the options of `Study.replicate` in the file."""
    from lightning_hwtune.forms.run_options import LIMITS, REPLICATE_OPTIONS
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING
    from lightning_hwtune.study import Study

    spell_by(FILE_SPELLING)
    settings = StudySettings.load(path, overrides).replaced(given)
    with settings.located(path):
        study, options = Study(**settings.given_study_kwargs()), settings.run_kwargs()
    kept = {key: value for key, value in options.items() if key in REPLICATE_OPTIONS and key not in LIMITS}
    return study, {**kept, "train": options["train"]}


def _stored(name: str, overrides: Sequence[str], **place: str | None) -> Any:
    from lightning_hwtune.errors import ArgumentError
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings.spelling import REPLICATE_SPELLING
    from lightning_hwtune.study import Study

    spell_by(REPLICATE_SPELLING)
    if overrides:
        raise ArgumentError("KEY=VALUE", overrides[0], "overrides of a study file", hint=f"{name!r} is not a file.")
    if name.endswith((".yaml", ".yml")):
        raise typer.BadParameter(f"there is no file {name!r}")
    return Study.load(name, **{key: value for key, value in place.items() if value is not None})
