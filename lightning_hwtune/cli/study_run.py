"""Runs a study from the command line until it ends, reaches a limit or gets a signal, and then shows its front."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lightning_hwtune.cli import front_output
from lightning_hwtune.cli.sbatch import REQUEUES
from lightning_hwtune.errors import StudyFailedError, StudyNotFoundError
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.text import TO_CONTINUE, interrupted_text
from lightning_hwtune.views.study_location import short_path

if TYPE_CHECKING:
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.study import Study

__all__ = ["continued_by", "keep_plan", "planned", "run_and_show"]


def planned(path: Path, settings: StudySettings, given: Sequence[str]) -> list[str]:
    """Returns the changes to a study file with which the study runs by a plan.

    Args:
        given: the changes and limits that the user gave.

    Raises:
        ArgumentError: there is no such plan, or it was made for other devices or another scheduler.
    """
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.study import Study

    found = read_plan(path)
    return found.overrides(Study(**settings.given_study_kwargs()).spec, given)


def keep_plan(path: Path, study: Study) -> None:
    """Copies a plan to the folder of the study that runs by it, where `hwtune plan --compare` finds it."""
    from lightning_hwtune.planning.plan_file import PLAN, read_plan, write_plan

    write_plan(study.dir / PLAN, read_plan(path))


def run_and_show(
    study: Study,
    settings: StudySettings,
    options: Mapping[str, Any],
    again: str,
    *,
    quiet: bool,
    write: Callable[[], Sequence[Path]] = tuple,
) -> StudyFailedError | None:
    """Runs or continues a study, then shows its front; returns the error that the command must raise if it failed.

    Args:
        options: the keyword arguments of `Study.run`.
        again: the command line that continues the study after a signal.
        write: writes the configurations of the front before anything is shown, and returns the files.

    Raises:
        typer.Exit: the study was ended by Ctrl-C or SIGTERM.
    """
    if settings.enqueue:
        study.enqueue(*settings.enqueue)
    n_before, failed = _n_segments(study), None
    try:
        with continued_by(study.dir, again):
            study.run(**options, progress=not quiet)
    except StudyFailedError as error:
        failed = error
    written = write()
    chosen = StoredStudy(study, settings.storage)
    if quiet:  # otherwise the run has already shown it
        front_output.show_front(chosen)
    front_output.write_figures(chosen, study.dir, ("front", "timeline"), only_missing=_n_segments(study) == n_before)
    for path in written:
        typer.echo(f"configuration: {short_path(path)}")
    return failed


@contextlib.contextmanager
def continued_by(folder: Path, again: str, to_continue: str = TO_CONTINUE) -> Iterator[None]:
    """Ends the command after a signal, and prints the command line that continues the study, or its tests.

    Raises:
        typer.Exit: the study was ended by Ctrl-C or SIGTERM.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if os.environ.get(REQUEUES) and to_continue == TO_CONTINUE:
            text = interrupted_text(short_path(folder), "The study continues by itself when the job is queued again")
        else:
            text = f"{interrupted_text(short_path(folder), to_continue)}:\n  {again}"
        typer.echo(f"\n{text}", err=True)
        raise typer.Exit(130 if isinstance(stop, KeyboardInterrupt) else _status(stop)) from None


def _status(stop: SystemExit) -> int:
    return stop.code if isinstance(stop.code, int) else 1


def _n_segments(study: Study) -> int:
    try:
        return len(study.state().segments)
    except StudyNotFoundError:
        return 0
