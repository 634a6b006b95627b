"""What the log of a study says, for reading: folded once, as long as nothing is added to it."""

from __future__ import annotations

from typing import final

from lightning_hwtune.core.events import Event
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.session import refuse_lost_log, replay
from lightning_hwtune.errors import StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import refuse_foreign
from lightning_hwtune.store.log import EventLog

__all__ = ["Reader"]


@final
class Reader:
    """Reads one study's log; holds no connection.

    Args:
        storage: SQLAlchemy URL of the log, None for the folder's own file.
    """

    def __init__(self, files: StudyFiles, storage: str | None) -> None:
        self._files, self._storage = files, storage
        self._newest: tuple[int, str] | None = None
        self._state: StudyState | None = None

    def open(self) -> EventLog:
        """Returns the log, open for reading.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        return EventLog.open(self._files, storage=self._storage, create=False)

    def state(self, spec: StudySpec | None = None) -> StudyState | None:
        """Returns the state that the log describes; see `engine.session.replay`. Not to be changed.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            newest = log.newest()
            if newest != self._newest or self._state is None or (spec is not None and self._state.spec is not spec):
                self._newest, self._state = newest, replay(log, spec)
        return self._state

    def events(self) -> list[Event]:
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
