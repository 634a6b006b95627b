"""The reader of a study: it folds the log into a state, and later folds only the events that are new.

`Study` and the commands use it. It keeps no connection open between two calls. It runs no searcher and no model.
"""

from __future__ import annotations

import time
from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.fold import Fold, replay, stored_spec
from lightning_hwtune.engine.session import refuse_lost_log
from lightning_hwtune.errors import StudyMismatchError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import refuse_foreign
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog

__all__ = ["Reader"]


@final
class Reader:
    """Reads one study's log; keeps no connection open. For one thread at a time.

    Args:
        storage: SQLAlchemy URL of the log; None for the file in the study's folder.
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
        """Returns the settings stored in the log, None if there are none yet; reads only the start of the log.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return stored_spec(log)[0]

    def check(self, spec: StudySpec) -> None:
        """Checks that the stored study can be continued with these settings; reads only the start of the log.

        Raises:
            StudyMismatchError: the study has trials, and another space, objectives, scheduler, seed or batch.
            StorageError: the start of the log is damaged or was written by a newer version.
        """
        try:
            with self.open() as log:
                stored, has_trials = stored_spec(log)
        except StudyNotFoundError:
            return
        if stored is not None and has_trials and (differences := stored.differences(spec)):
            raise StudyMismatchError(stored.name, differences)

    def driven_at(self) -> float | None:
        """Returns the current time, by the clock of the process that runs the study; None if no process runs it.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            lease = Lease(log)
            return lease.beat() if lease.is_held(time.time()) else None

    def state(self, spec: StudySpec | None = None) -> StudyState | None:
        """Returns the state that the log describes; see `engine.fold.Fold`. The caller must not change it.

        A later call applies the events that were added since then to the same object.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            if self._fold is None or not self._fold.is_of(log, spec):
                self._fold = Fold(spec)
            try:
                return self._fold.follow(log)
            except BaseException:
                self._fold = None  # an event may be partly applied
                raise

    def race_state(self, spec: StudySpec | None = None) -> StudyState | None:
        """Returns the state with its race, from which a forecast is made; reads the whole log.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return replay(log, spec)

    def events(self) -> list[ev.Event]:
        """Returns all events of the log.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return [event for _, event in log.read()]

    def refuse_foreign(self, spec: StudySpec) -> None:
        """Checks that the study may run in its folder; changes nothing.

        Raises:
            StorageError: the folder contains trials of another study, or of a study whose log is not here.
        """
        refuse_lost_log(self._files, self._storage)
        try:
            state = self.state(spec)
        except StudyNotFoundError:
            return
        with self.open() as log:
            refuse_foreign(self._files.root, state, log.database.name)
