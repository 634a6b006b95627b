"""Prints the output of a trial's processes: one file per segment and rank, in order."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import StorageError
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.views.study_location import short_path

__all__ = ["print_logs"]

_POLL_S = 0.5
_WHO_WRITES = (
    "Only processes that the study starts write logs. With ask and tell, with the executor inline, or under a launcher "
    "of Hydra, the output of a trial is that of the program that trains it: a terminal, a notebook, or a file of the "
    "launcher."
)


def print_logs(chosen: StoredStudy, trial_id: int, *, follow: bool = False) -> None:
    """Print a trial's logs; with `follow`, continue until the trial stops training or no process runs the study.

    Raises:
        ArgumentError: there is no such trial.
    """
    study = chosen.study
    folder = study.logs(trial_id)
    offsets: dict[Path, int] = {}
    while True:
        is_running = follow and _is_training(chosen, trial_id)
        _print_news(folder, offsets)
        if not is_running:
            break
        time.sleep(_POLL_S)
    if not offsets:
        yet = " yet" if _is_training(chosen, trial_id) else ""
        typer.echo(f"hwtune: trial {trial_id} has no log{yet} in {short_path(folder)}. {_WHO_WRITES}", err=True)


def _is_training(chosen: StoredStudy, trial_id: int) -> bool:
    """Return whether a trial is training now. The log alone is not enough: in a killed study it says so for good."""
    return chosen.study.state().trials[trial_id].state is TrialState.RUNNING and chosen.is_driven()


def _print_news(folder: Path, offsets: dict[Path, int]) -> None:
    """Prints what the files contain after `offsets`, and updates the offsets."""
    for path in sorted(folder.glob("*.log")):
        if path not in offsets:
            typer.echo(f"==> {path.name}")
        try:
            with path.open("rb") as file:
                file.seek(offsets.get(path, 0))
                news = file.read()
        except OSError as error:
            raise StorageError(f"the log {str(path)!r} cannot be read: {error}", error.errno) from error
        offsets[path] = offsets.get(path, 0) + len(news)
        if news:
            typer.echo(news.decode(errors="replace").rstrip("\n"))
