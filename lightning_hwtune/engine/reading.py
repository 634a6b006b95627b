"""The reader of a study: it folds the log into facts, and later folds only the events that are new.

`Study` and the commands use it. It begins with the facts that an earlier command left in the study's folder, if they
follow from the log. It keeps no connection open between two calls. It runs no searcher and no model.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.fold import Fold, rebuilt_state, stored_spec
from lightning_hwtune.engine.session import refuse_lost_log
from lightning_hwtune.errors import StorageError, StudyNotFoundError
from lightning_hwtune.store.facts_cache import FactsCache
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import refuse_foreign
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog

__all__ = ["Reader"]


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Pauses the garbage collector: reading makes millions of objects, and looking through them takes a third of it.

    Afterwards they count as old objects, which the collector looks through rarely.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()


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

    def begun(self) -> StudySpec | None:
        """Returns the stored settings of a study that has trials, otherwise None; reads only the start of the log.

        Raises:
            StorageError: the start of the log is damaged or was written by a newer version.
        """
        try:
            with self.open() as log:
                stored, has_trials = stored_spec(log)
        except StudyNotFoundError:
            return None
        return stored if has_trials else None

    def completed(self, spec: StudySpec) -> StudySpec:
        """Returns the given settings, with the ladder that the stored study has chosen if it is open."""
        if not spec.has_open_ladder:
            return spec
        try:
            stored = self.spec()
        except StudyNotFoundError:
            return spec
        if stored is None or stored.differences(spec):
            return spec
        return spec.completed(stored.scheduler.settings())

    def driven_at(self) -> float | None:
        """Returns the current time, by the clock of the process that runs the study; None if no process runs it.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return Lease(log).beat(time.time())

    def state(self, spec: StudySpec | None = None) -> StudyFacts | None:
        """Returns the facts that the log describes; see `engine.fold.Fold`. The caller must not change them.

        A later call applies the events that were added since then to the same object. The first call begins with the
        cached facts of the study's folder, and caches what it has read.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            if self._fold is None or not self._fold.is_of(log, spec):
                self._fold = None
                with _no_collections():
                    return self._begin(log, spec)
            try:
                return self._fold.follow(log)
            except BaseException:
                self._fold = None  # an event may be partly applied
                raise

    def _begin(self, log: EventLog, spec: StudySpec | None) -> StudyFacts | None:
        cache = FactsCache(self._files)
        fold = Fold.from_cache(log, cache, spec)
        try:
            facts = fold.follow(log) if fold is not None else None
        except StorageError:  # the whole log says whether the log is damaged or the cache is wrong
            fold = None
        if fold is None:
            fold = Fold(spec)
            facts = fold.follow(log)
        fold.keep(log, cache)
        self._fold = fold
        return facts

    def race_state(self, spec: StudySpec | None = None) -> StudyState | None:
        """Returns the state with its race, from which a forecast is made; it shares its facts with `state`.

        Raises:
            StudyNotFoundError: there is no such study.
            StorageError: the log is damaged.
        """
        if self.state(spec) is None or self._fold is None:
            return None
        try:
            return self._fold.state()
        except Exception:  # a race of a user may raise anything; the whole log says which event is damaged
            with self.open() as log:
                return rebuilt_state(log, spec)

    @property
    def database_path(self) -> Path:
        """The study's own file, which has the log unless the study has a storage."""
        return self._files.database_path

    @property
    def number(self) -> int:
        """The number of the newest event that `state` has applied; 0 before its first call."""
        return self._fold.number if self._fold is not None else 0

    def newest(self) -> int:
        """Returns the number of the newest event in the log, without reading any.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return log.count()

    def trials_after(self, number: int) -> set[int]:
        """Returns the trials with an event after this number, among the events that `state` has applied.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            later = itertools.takewhile(lambda item: item[0] <= self.number, log.read(number))
            found = {getattr(event, "trial_id", None) for _, event in later}
        return {trial_id for trial_id in found if trial_id is not None}

    def events(self, trial_id: int | None = None) -> list[ev.Event]:
        """Returns the events of one trial, or all events of the log.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        with self.open() as log:
            return [event for _, event in (log.read() if trial_id is None else log.read_trial(trial_id))]

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
