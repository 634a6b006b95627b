"""The one reader of a study: it folds the log into a state, and follows the log by folding only what is new.

`Study` and the commands ask it. It holds no connection between two questions. It runs no searcher and no model.
"""

from __future__ import annotations

from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.fold import Fold, stored_spec
from lightning_hwtune.engine.session import refuse_lost_log
from lightning_hwtune.errors import StudyMismatchError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import refuse_foreign
from lightning_hwtune.store.log import EventLog

__all__ = ["Reader"]


@final
class Reader:
    """Reads one study's log; holds no connection. For one thread at a time.

    Args:
        storage: SQLAlchemy URL of the log, None for the folder's own file.
    """

    def __init__(self, files: StudyFiles, storage: str | None) -> None:
        self._files, self._storage = files, storage
        self._fold: Fold | None = None

    def open(self) -> EventLog:
        """Returns the log, open for reading.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        return EventLog.open(self._files, storage=self._storage, create=False)

    def spec(self) -> StudySpec | None:
        """Returns the settings that the log holds, None if there are none yet; reads only the log's beginning.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return stored_spec(log)[0]

    def check(self, spec: StudySpec) -> None:
        """Does nothing if the stored study may be continued with these settings; reads only the log's beginning.

        Raises:
            StudyMismatchError: it has another space, objectives, scheduler, seed or batch, and trials.
            StorageError: the log's beginning is damaged, or a newer version wrote it.
        """
        try:
            with self.open() as log:
                stored, has_trials = stored_spec(log)
        except StudyNotFoundError:
            return
        if stored is not None and has_trials and (differences := stored.differences(spec)):
            raise StudyMismatchError(stored.name, differences)

    def state(self, spec: StudySpec | None = None) -> StudyState | None:
        """Returns the state that the log describes; see `engine.fold.Fold`. Not to be changed.

        A later call folds what was added since, into the same object.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            if self._fold is None or not self._fold.is_of(log, spec):
                self._fold = Fold(spec)
            try:
                return self._fold.follow(log)
            except BaseException:
                self._fold = None  # an event may be half applied
                raise

    def events(self) -> list[ev.Event]:
        """Returns the log.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return [event for _, event in log.read()]

    def refuse_foreign(self, spec: StudySpec) -> None:
        """Does nothing if the study may be driven in its folder; changes nothing.

        Raises:
            StorageError: the folder holds trials of another study, or of one whose log is not here.
        """
        refuse_lost_log(self._files, self._storage)
        try:
            state = self.state(spec)
        except StudyNotFoundError:
            return
        with self.open() as log:
            refuse_foreign(self._files.root, state, log.database.name)
