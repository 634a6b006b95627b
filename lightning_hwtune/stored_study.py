"""A stored study and the questions about it, answered as plain data: for the commands, the page and its files.

A command with `--format json`, the page of `hwtune serve` and the file of `hwtune report` call the same methods here,
so their values are equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import HwTuneError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, own_folder_hint, study_names
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.stored_names import stored_names
from lightning_hwtune.study import Study
from lightning_hwtune.views.study_location import located, present

if TYPE_CHECKING:
    from lightning_hwtune.views.forecast import TimeLeft

__all__ = ["StoredStudy", "newest_first", "study_entries"]


@final
@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A stored study. For one thread at a time. `storage`: where its log is; None = its own file."""

    study: Study
    storage: str | None
    reader: Reader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reader = Reader(StudyFiles(self.study.dir.parent, self.study.name), self.storage)
        object.__setattr__(self, "reader", reader)

    @classmethod
    def load(cls, name: str, dir: Path, storage: str | None) -> StoredStudy:  # noqa: A002 - as in Study
        """Returns the study with this name.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        return cls(Study.load(name, dir, storage=storage), storage)

    def driven_at(self) -> float | None:
        """Returns the current time, by the clock of the process that runs the study; None if no process runs it."""
        return self.reader.driven_at()

    def state(self) -> StudyFacts:
        """Returns the study's facts; `left` reads no event again.

        Raises:
            StudyNotFoundError: the study has not begun.
        """
        state = self.reader.state(self.study.spec)
        return state if state is not None else self.study.state()

    def is_driven(self) -> bool:
        """Return whether a process is running the study now."""
        return self.driven_at() is not None

    def left(self, now: float) -> TimeLeft:
        """Returns the forecast of the seconds until the study ends."""
        from lightning_hwtune.views.forecast import TimeLeft, time_left

        state = self.reader.race_state(self.study.spec)
        return time_left(state, now) if state is not None else TimeLeft()

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

    def status(self) -> dict[str, Any]:
        """Returns the progress of the study, as in `views.status.status_entry`."""
        from lightning_hwtune.views.forecast import TimeLeft
        from lightning_hwtune.views.status import status_entry

        state, driven_at = self.state(), self.driven_at()
        now, is_driven = max(driven_at or 0.0, state.last_at), driven_at is not None
        left = self.left(now) if is_driven and state.closed is None else TimeLeft()
        entry = status_entry(state, now, self.checkpoints_bytes(), is_driven=is_driven, left=left)
        return {**entry, "reason": located(entry["reason"], self.study.dir, self.storage)}

    def trials(self, trial_ids: Collection[int] | None = None) -> list[dict[str, Any]]:
        """Returns all trials, or those with these ids, as in `views.tables.trial_entries`, with absolute paths."""
        from lightning_hwtune.views.tables import trial_entries

        return self.with_absolute_paths(trial_entries(self.state(), trial_ids))

    def front(self, at: str = "full") -> list[dict[str, Any]]:
        """Returns the front, as in `views.tables.front_entries`, with absolute paths.

        Raises:
            ArgumentError: `at` has another value.
        """
        from lightning_hwtune.views.tables import front_entries

        return self.with_absolute_paths(front_entries(self.state(), at))

    def why(self, trial_id: int) -> str:
        """Returns the history of a trial, as `Study.why` does."""
        from lightning_hwtune.views.story import why

        text = why(self.state(), self.reader.events(trial_id), trial_id)
        return located(text, self.study.dir, self.storage)

    def importance(self, objective: str | None = None, at: int | None = None) -> list[dict[str, Any]]:
        """Returns how much each parameter matters, as in `views.effects.importance.importance_entries`.

        Raises:
            ArgumentError: there is no such objective or rung.
            MissingDependencyError: scikit-learn is not installed.
        """
        from lightning_hwtune.views.effects.importance import importance_entries

        return importance_entries(self.state(), objective, at)

    def prior(self, n_configs: int = 8) -> dict[str, Any]:
        """Returns what the prior has learned and its weight, as in `views.prior_facts.prior_facts`.

        Raises:
            ArgumentError: the study has no prior.
            MissingDependencyError: scikit-learn is not installed.
        """
        from lightning_hwtune.views.prior_facts import prior_facts

        return prior_facts(self.state(), n_configs)

    def ledger(self) -> dict[str, Any]:
        """Returns what the study has spent, as in `views.ledger.ledger_entry`."""
        from lightning_hwtune.views.ledger import ledger_entry

        state, driven_at = self.state(), self.driven_at()
        return ledger_entry(state, state.last_at if driven_at is None else max(driven_at, state.last_at))

    def with_absolute_paths(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Returns the entries with absolute paths of checkpoints."""
        paths = [self.located(entry["checkpoint"]) for entry in entries]
        return [
            {**entry, "checkpoint": str(path) if path else None} for entry, path in zip(entries, paths, strict=True)
        ]


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
        chosen = StoredStudy.load(name, dir, storage)
        return study_entry(chosen.study.state(), is_driven=chosen.is_driven())
    except HwTuneError as error:
        return unreadable_entry(name, error)
