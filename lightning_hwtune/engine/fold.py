"""From a log to a state: all of it at once, or what was added since the last time."""

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
    """Returns the settings that a log holds, None if it has none, and whether the study has a trial.

    Settings never change after the first trial, so nothing behind that is read.

    Raises:
        StorageError: an event up to there is damaged, or a newer version wrote it.
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
    """The state of one log, and how far that was read.

    A study without trials may still change, as after a check that failed: it counts as an empty log for other
    settings, and the next `StudyCreated` in the log takes its place.

    Args:
        spec: what the caller thinks the study is; the pool, searcher and retry settings are taken from it.
    """

    def __init__(self, spec: StudySpec | None = None) -> None:
        self._spec = spec
        self._state: StudyState | None = None
        self._differences: dict[str, tuple[object, object]] = {}
        self._newest: tuple[int, str] | None = None

    def is_of(self, log: EventLog, spec: StudySpec | None) -> bool:
        """Returns whether following this log, for a caller who thinks it is `spec`, gives what a fold anew would."""
        if spec is not None and spec is not self._spec and (self._state is None or spec is not self._state.spec):
            return False
        return self._newest is None or log.body(self._newest[0]) == self._newest[1]

    def follow(self, log: EventLog) -> StudyState | None:
        """Applies the events that are new; returns the state, or None for an empty log.

        Raises:
            StudyMismatchError: the log was written with another space, objectives, scheduler, seed or batch.
            StorageError: an event is damaged, or a newer version wrote it. This object is of no more use then.
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
