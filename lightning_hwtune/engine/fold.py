"""Builds facts from a log: from the whole log at once, from a cache, or from the events added since the last call."""

from __future__ import annotations

from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.race_writes import RaceHistory, write_after, write_before
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import MissingDependencyError, StudyMismatchError
from lightning_hwtune.store.facts_cache import CachedFacts, FactsCache
from lightning_hwtune.store.log import EventLog

__all__ = ["MIN_CACHED", "Fold", "rebuilt_state", "stored_spec"]

MIN_CACHED = 2000
"""The cache is not written for fewer new events than this: reading them from the log takes a tenth of a second."""
_PARTS = 20  # nor for a smaller part of the log than one in so many


def rebuilt_state(log: EventLog, spec: StudySpec | None = None) -> StudyState | None:
    """Returns the state that a log describes, with its race, or None for an empty log; see `Fold`."""
    state = Fold(spec, has_race=True).follow(log)
    assert state is None or isinstance(state, StudyState)
    return state


def stored_spec(log: EventLog) -> tuple[StudySpec | None, bool]:
    """Returns the settings stored in a log (None if there are none) and whether the study has a trial.

    Settings never change after the first trial, so reading stops there.

    Raises:
        StorageError: an event before that point is damaged or was written by a newer version.
    """
    spec: StudySpec | None = None
    for number, event in log.read():
        if isinstance(event, ev.TrialCreated):
            return spec, True
        if isinstance(event, ev.StudyCreated):
            spec = _spec_of(log, number, event)
        elif isinstance(event, ev.LadderChosen) and spec is not None:
            spec = _completed(log, number, spec, event)
    return spec, False


@final
class Fold:
    """The facts of one log, and the position up to which the log was read.

    A fold with a race makes a `StudyState`, which decides. A fold without one keeps the history of the race next to the
    facts, and both may come from a cache.

    A study without trials may still change its settings, for example after a failed check. For other settings it
    counts as an empty log, and the next `StudyCreated` in the log replaces it.

    Args:
        spec: the settings that the caller expects; the pool, searcher and retry settings are taken from it.
        has_race: whether the facts have a race.
    """

    def __init__(self, spec: StudySpec | None = None, *, has_race: bool = False) -> None:
        self._spec, self._has_race = spec, has_race
        self._facts: StudyFacts | None = None
        self._history = RaceHistory()
        self._stored: StudySpec | None = None
        self._differences: dict[str, tuple[object, object]] = {}
        self._newest: tuple[int, str] | None = None
        self._n_cached = 0

    @property
    def number(self) -> int:
        """The number of the newest event that was applied; 0 before the first."""
        return self._newest[0] if self._newest is not None else 0

    @classmethod
    def from_cache(cls, log: EventLog, cache: FactsCache, spec: StudySpec | None = None) -> Fold | None:
        """Returns a fold that begins with the cached facts; None if there are none that follow from this log."""
        if (found := cache.read(log)) is None:
            return None
        stored, _ = stored_spec(log)
        if stored is None:
            return None
        fold = cls(spec)
        try:
            fold._facts = facts_from_data(fold._accepted(stored), found.data)
            fold._history = RaceHistory.from_data(found.data["race"])
        except Exception:  # a damaged cache may raise anything
            return None
        fold._newest, fold._n_cached = (found.number, found.body), found.number
        return fold

    def keep(self, log: EventLog, cache: FactsCache) -> None:
        """Writes the facts to the cache, if reading them there will save much of the time that the log takes."""
        if self._facts is None or self._newest is None or self._differences:
            return
        number, body = self._newest
        if number - self._n_cached >= max(MIN_CACHED, number // _PARTS):
            data = {**facts_to_data(self._facts), "race": self._history.to_data()}
            cache.write(log, CachedFacts(number, body, data))

    def is_of(self, log: EventLog, spec: StudySpec | None) -> bool:
        """Return whether following this log for a caller that expects `spec` gives the same as a new `Fold`."""
        if spec is not None and spec is not self._spec and (self._facts is None or spec is not self._facts.spec):
            return False
        return self._newest is None or log.body(self._newest[0]) == self._newest[1]

    def follow(self, log: EventLog) -> StudyFacts | None:
        """Applies the new events; returns the facts, or None for an empty log.

        Raises:
            StudyMismatchError: the log was written with another space, objectives, scheduler, seed or batch.
            StorageError: an event is damaged or was written by a newer version. This object cannot be used after that.
        """
        number = after = self._newest[0] if self._newest is not None else 0
        for number, event in log.read(after):
            self._take(log, number, event)
        if number != after and (body := log.body(number)) is not None:
            self._newest = number, body
        if self._facts is not None and self._differences:
            if self._facts.trials:
                raise StudyMismatchError(self._facts.spec.name, self._differences)
            return None
        return self._facts

    def _take(self, log: EventLog, number: int, event: ev.Event) -> None:
        if isinstance(event, ev.StudyCreated):
            self._stored = _spec_of(log, number, event)
            spec = self._accepted(self._stored)
            self._facts = StudyState(spec) if self._has_race else StudyFacts(spec)
        elif isinstance(event, ev.LadderChosen) and self._facts is not None and self._stored is not None:
            self._stored = _completed(log, number, self._stored, event)
            self._facts.spec = self._accepted(self._stored)
        if self._facts is not None:
            try:
                self._apply(self._facts, event)
            except MissingDependencyError:
                raise
            except Exception as error:
                raise log.damaged(number, error) from error

    def _apply(self, facts: StudyFacts, event: ev.Event) -> None:
        if self._has_race:
            facts.apply(event)
        else:
            write_before(facts, event, self._history)
            facts.apply(event)
            write_after(facts, event, self._history)

    def state(self) -> StudyState | None:
        """Returns the state with the facts, which it shares with this fold, and their race.

        Raises:
            Exception: of any kind, if the race does not allow one of the writes: the log or its cache is damaged.
        """
        return None if self._facts is None or self._differences else StudyState.of(self._facts, self._history)

    def _accepted(self, stored: StudySpec) -> StudySpec:
        """Returns the settings of the caller if they do not contradict the stored ones, otherwise the stored ones."""
        self._differences = stored.differences(self._spec) if self._spec is not None else {}
        if self._spec is None or self._differences:
            return stored
        return self._spec.completed(stored.scheduler.settings())


def _completed(log: EventLog, number: int, spec: StudySpec, event: ev.LadderChosen) -> StudySpec:
    try:
        return spec.completed(event.settings)
    except Exception as error:
        raise log.damaged(number, error) from error


def _spec_of(log: EventLog, number: int, event: ev.StudyCreated) -> StudySpec:
    try:
        return StudySpec.from_dict({**event.spec, "name": log.study})
    except MissingDependencyError:
        raise
    except Exception as error:
        raise log.damaged(number, error) from error
