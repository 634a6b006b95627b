"""The study that a command is about, and the questions of the command line that a `Study` does not answer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import typer

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import HwTuneError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, own_folder_hint, study_names
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.stored_names import stored_names
from lightning_hwtune.study import Study
from lightning_hwtune.views.study_location import present

__all__ = ["StoredStudy", "choose", "newest_first", "study_entries"]


@final
@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A stored study. `storage`: where its log is; None = its own file."""

    study: Study
    storage: str | None
    _reader: Reader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reader = Reader(StudyFiles(self.study.dir.parent, self.study.name), self.storage)
        object.__setattr__(self, "_reader", reader)

    def driven_at(self) -> float | None:
        """Returns the current time, by the clock of the process that runs the study; None if no process runs it."""
        return self._reader.driven_at()

    def state(self) -> StudyFacts:
        """Returns the study's facts; `left_s` reads no event again.

        Raises:
            StudyNotFoundError: the study has not begun.
        """
        state = self._reader.state(self.study.spec)
        return state if state is not None else self.study.state()

    def is_driven(self) -> bool:
        """Return whether a process is running the study now."""
        return self.driven_at() is not None

    def left_s(self, now: float) -> float:
        """Returns the forecast of the seconds until the study ends; NaN if that is unknown."""
        from lightning_hwtune.views.forecast import time_left_s

        state = self._reader.race_state(self.study.spec)
        return time_left_s(state, now) if state is not None else math.nan

    def checkpoints_bytes(self) -> int:
        """Returns the total size of the checkpoint files on disk, in bytes."""
        sizes = []
        for path in self.study.dir.glob("trials/*/checkpoints/*"):
            try:
                sizes.append(path.stat().st_size)
            except OSError:  # just replaced by a newer one, or in a folder that this user may not read
                continue
        return sum(sizes)

    def located(self, checkpoint: str | None) -> Path | None:
        """Returns the path of one of the log's checkpoints; None if its file is not in this folder."""
        return present(self.study.dir, checkpoint)


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
    return StoredStudy(Study.load(name, dir, storage=storage), storage)


def newest_first(dir: Path, storage: str | None) -> list[str]:  # noqa: A002
    """Returns the names of all studies, beginning with the one that has the newest event.

    Raises:
        StudyNotFoundError: there is no study.
    """
    names = stored_names(storage) if storage is not None else study_names(dir)
    if not names:
        where, option = repr(storage or str(dir)), "--storage" if storage else "--dir"
        own = "" if storage else own_folder_hint(dir)
        what = own or f"run your script or `hwtune run STUDY.yaml` to start one, or give another {option}"
        text = f"there is no study in {where}: {what}"
        raise StudyNotFoundError(text)
    return sorted(names, key=lambda name: _last_at(StudyFiles(dir, name), storage), reverse=True)


def _last_at(files: StudyFiles, storage: str | None) -> float:
    """Returns the time of the newest event; -inf if the study cannot be read, so that it comes last."""
    try:
        with EventLog.open(files, storage=storage, create=False) as log:
            newest = log.newest()
        return float(json.loads(newest[1])["at"]) if newest is not None else -math.inf
    except (HwTuneError, ValueError, TypeError, LookupError):
        return -math.inf


def study_entries(dir: Path, names: Sequence[str], storage: str | None) -> list[dict[str, Any]]:  # noqa: A002
    """Returns one entry per study, as described in `views.studies`."""
    return [_entry(dir, name, storage) for name in names]


def _entry(dir: Path, name: str, storage: str | None) -> dict[str, Any]:  # noqa: A002
    from lightning_hwtune.views.studies import study_entry, unreadable_entry

    try:
        chosen = StoredStudy(Study.load(name, dir, storage=storage), storage)
        return study_entry(chosen.study.state(), is_driven=chosen.is_driven())
    except HwTuneError as error:
        return unreadable_entry(name, error)
