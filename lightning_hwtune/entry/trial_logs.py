"""What a trial's processes wrote, on the terminal: one file a segment and rank, in their order."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import StorageError
from lightning_hwtune.study import Study

__all__ = ["print_logs"]

_POLL_S = 0.5


def print_logs(study: Study, trial_id: int, *, follow: bool = False) -> None:
    """Prints a trial's logs; with `follow`, goes on until the trial trains no more.

    Raises:
        ArgumentError: there is no such trial.
    """
    folder = study.logs(trial_id)
    offsets: dict[Path, int] = {}
    while True:
        is_running = follow and study.state().trials[trial_id].state is TrialState.RUNNING
        _print_news(folder, offsets)
        if not is_running:
            break
        time.sleep(_POLL_S)
    if not offsets:
        typer.echo(f"hwtune: trial {trial_id} has written nothing yet ({folder})", err=True)


def _print_news(folder: Path, offsets: dict[Path, int]) -> None:
    """Prints what the files hold beyond `offsets`, and moves those."""
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
