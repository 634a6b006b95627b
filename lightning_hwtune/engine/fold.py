"""Builds a state from a log: from the whole log at once, or from the events added since the last call."""

from __future__ import annotations

from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import MissingDependencyError, StudyMismatchError
from lightning_hwtune.store.log import EventLog

__all__ = ["Fold", "replay", "stored_spec"]


def replay(log: EventLog, spec: StudySpec | None = None) -> StudyState | None:
    """Returns the state that a log describes, or None for an empty log; see `Fold`."""
    return Fold(spec).follow(log)


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
    return spec, False


@final
class Fold:
    """The state of one log, and the position up to which the log was read.

    A study without trials may still change its settings, for example after a failed check. For other settings it
    counts as an empty log, and the next `StudyCreated` in the log replaces it.

    Args:
        spec: the settings that the caller expects; the pool, searcher and retry settings are taken from it.
    """

    def __init__(self, spec: StudySpec | None = None) -> None:
        self._spec = spec
        self._state: StudyState | None = None
        self._differences: dict[str, tuple[object, object]] = {}
        self._newest: tuple[int, str] | None = None

    def is_of(self, log: EventLog, spec: StudySpec | None) -> bool:
        """Return whether following this log for a caller that expects `spec` gives the same as a new `Fold`."""
        if spec is not None and spec is not self._spec and (self._state is None or spec is not self._state.spec):
            return False
        return self._newest is None or log.body(self._newest[0]) == self._newest[1]

    def follow(self, log: EventLog) -> StudyState | None:
        """Applies the new events; returns the state, or None for an empty log.

        Raises:
            StudyMismatchError: the log was written with another space, objectives, scheduler, seed or batch.
            StorageError: an event is damaged or was written by a newer version. This object cannot be used after that.
        """
        number = after = self._newest[0] if self._newest is not None else 0
        for number, event in log.read(after):
            self._take(log, number, event)
        if number != after and (body := log.body(number)) is not None:
            self._newest = number, body
        if self._state is not None and self._differences:
            if self._state.trials:
                raise StudyMismatchError(self._state.spec.name, self._differences)
            return None
        return self._state

    def _take(self, log: EventLog, number: int, event: ev.Event) -> None:
        if isinstance(event, ev.StudyCreated):
            stored = _spec_of(log, number, event)
            self._differences = stored.differences(self._spec) if self._spec is not None else {}
            self._state = StudyState(stored if self._spec is None or self._differences else self._spec)
        if self._state is not None:
            try:
                self._state.apply(event)
            except MissingDependencyError:
                raise
            except Exception as error:
                raise log.damaged(number, error) from error


def _spec_of(log: EventLog, number: int, event: ev.StudyCreated) -> StudySpec:
    try:
        return StudySpec.from_dict({**event.spec, "name": log.study})
    except MissingDependencyError:
        raise
    except Exception as error:
        raise log.damaged(number, error) from error
