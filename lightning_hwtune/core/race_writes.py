"""What the events of a log write into a race: the only place that changes one.

The race of a study is not stored anywhere. It follows from the same events as the facts, by the same writes in the same
order, so a study that is continued decides as the process before it would have decided. A `RaceHistory` keeps the
writes, so that a reader of a large log makes the race only where something is decided.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.columns import packed, unpacked
from lightning_hwtune.core.decisions import Rule, VerdictKind
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.schedulers.base import Race
from lightning_hwtune.core.segment import Segment

__all__ = ["RaceHistory", "RaceWriter", "is_over", "write_after", "write_before"]

Loss = npt.NDArray[np.float64]


class RaceWriter(Protocol):
    """The methods that change a race; see `schedulers.base.Race`."""

    def joined(self, trial_id: int, bracket: int) -> None: ...
    def record(self, trial_id: int, bracket: int, level: int, loss: Loss, kind: str) -> None: ...
    def observe(self, trial_id: int, bracket: int, resource: int, loss: Loss) -> None: ...
    def promoted(self, trial_id: int, bracket: int, level: int) -> None: ...
    def withdraw(self, trial_id: int) -> None: ...
    def staged(self, level: int, n_trials: int) -> None: ...


def is_over(facts: StudyFacts, segment: Segment) -> bool:
    """Returns whether a rung has paused or stopped a running segment, so that it must not train any further.

    This does not include a pause by a limit, because no rung has decided against the trial.
    """
    reached, target = segment.reached, facts.trials[segment.trial_id].target
    return segment.verdict != VerdictKind.CONTINUE and target <= reached < facts.ladder.top


def write_before(facts: StudyFacts, event: ev.Event, race: RaceWriter) -> None:
    """Writes what an event changes in the race before the facts have it.

    Only old logs have reports after a pause; such a trial has left the rung in which it had to wait.
    """
    if isinstance(event, ev.Reported):
        trial, segment = facts.trials[event.trial_id], facts.running[event.trial_id]
        if segment.verdict == VerdictKind.PAUSE and is_over(facts, segment):
            race.promoted(trial.trial_id, trial.bracket, max(trial.decided))


def write_after(facts: StudyFacts, event: ev.Event, race: RaceWriter) -> None:
    """Writes what an event changes in the race once the facts have it. No rung compares replicates."""
    if isinstance(event, ev.StagePlanned):
        race.staged(event.reached, event.trials)
        return
    write = _WRITES.get(type(event))
    if write is not None and not facts.trials[getattr(event, "trial_id", 0)].is_replicate:
        write(facts, event, race)


def _joined(facts: StudyFacts, event: ev.TrialCreated, race: RaceWriter) -> None:
    race.joined(event.trial_id, event.bracket)


def _promoted(facts: StudyFacts, event: ev.SegmentStarted, race: RaceWriter) -> None:
    if event.promoted_from is not None:
        race.promoted(event.trial_id, facts.trials[event.trial_id].bracket, event.promoted_from)


def _judged(facts: StudyFacts, event: ev.Reported, race: RaceWriter) -> None:
    trial, loss = facts.trials[event.trial_id], facts.spec.objectives.loss(event.values)
    if event.rule == Rule.NOT_FINITE:  # the values may be the best so far of a training that has since diverged
        loss = np.full_like(loss, np.nan)
    if event.level is not None and event.rule != Rule.CONSTRAINT:  # one that is never feasible does not compete
        race.record(trial.trial_id, trial.bracket, event.level, loss, trial.decided[event.level])
    race.observe(trial.trial_id, trial.bracket, event.resource, loss)


def _ended(facts: StudyFacts, event: ev.SegmentEnded, race: RaceWriter) -> None:
    trial = facts.trials[event.trial_id]
    if trial.state is TrialState.COMPLETED:
        for level in facts.levels_not_reached(trial):  # it ended early by itself, and is ranked with its last values
            loss = facts.spec.objectives.loss(trial.measurements[-1].values)
            race.record(trial.trial_id, trial.bracket, level, loss, VerdictKind.STOP)
    elif trial.state.is_final:
        race.withdraw(trial.trial_id)


def _stopped(facts: StudyFacts, event: ev.TrialStopped, race: RaceWriter) -> None:
    if event.trial_id not in facts.running:  # otherwise at the end of its segment
        race.withdraw(event.trial_id)


_WRITES: Mapping[type[ev.Event], Callable[[StudyFacts, Any, RaceWriter], None]] = {
    ev.TrialCreated: _joined,
    ev.SegmentStarted: _promoted,
    ev.Reported: _judged,
    ev.SegmentEnded: _ended,
    ev.TrialStopped: _stopped,
}
"""The events that change the race."""

_JOINED, _OBSERVED, _OBSERVED_AGAIN, _PROMOTED, _WITHDRAWN = range(5)
_RECORDED = {kind.value: code for code, kind in enumerate(VerdictKind, _WITHDRAWN + 1)}
_KINDS = {code: kind for kind, code in _RECORDED.items()}
_STAGED = _WITHDRAWN + 1 + len(_KINDS)


@final
class RaceHistory:
    """The writes into one race, in their order, as columns of numbers."""

    def __init__(self) -> None:
        self._codes, self._trials, self._levels = array("b"), array("q"), array("q")
        self._losses: array[float] = array("d")
        self._newest: Loss | None = None
        self._data: Mapping[str, Any] | None = None  # earlier writes, until they are needed

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> RaceHistory:
        """Returns the history that `to_data` described; reads the columns when they are needed."""
        history = cls()
        history._data = data
        return history

    def to_data(self) -> Mapping[str, Any]:
        """Returns the history as JSON values."""
        if self._data is not None:
            return self._data
        columns: Mapping[str, Sequence[float]] = {
            "codes": self._codes, "trials": self._trials, "levels": self._levels, "losses": self._losses,
        }  # fmt: skip
        return {name: packed(list(column)) for name, column in columns.items()}

    def _unpack(self) -> None:
        if (data := self._data) is not None:
            self._data = None
            self._codes, self._trials = array("b", unpacked(data["codes"])), array("q", unpacked(data["trials"]))
            self._levels, self._losses = array("q", unpacked(data["levels"])), array("d", unpacked(data["losses"]))

    def _add(self, code: int, trial_id: int, level: int) -> None:
        if self._data is not None:
            self._unpack()
        self._codes.append(code)
        self._trials.append(trial_id)
        self._levels.append(level)

    def joined(self, trial_id: int, bracket: int) -> None:
        """Keeps that a new trial began."""
        self._add(_JOINED, trial_id, 0)

    def record(self, trial_id: int, bracket: int, level: int, loss: Loss, kind: str) -> None:
        """Keeps that a trial reached a level, and the kind of the verdict."""
        self._add(_RECORDED[kind], trial_id, level)
        self._losses.extend(loss.tolist())
        self._newest = loss

    def observe(self, trial_id: int, bracket: int, resource: int, loss: Loss) -> None:
        """Keeps a report of a trial."""
        if loss is self._newest:
            self._add(_OBSERVED_AGAIN, trial_id, resource)
        else:
            self._add(_OBSERVED, trial_id, resource)
            self._losses.extend(loss.tolist())

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Keeps that a paused trial was promoted from a level."""
        self._add(_PROMOTED, trial_id, level)

    def withdraw(self, trial_id: int) -> None:
        """Keeps that a trial ended for good."""
        self._add(_WITHDRAWN, trial_id, 0)

    def staged(self, level: int, n_trials: int) -> None:
        """Keeps that a stage was planned."""
        self._add(_STAGED, n_trials, level)

    def write_to(self, race: Race, trials: Sequence[TrialRecord], n_objectives: int) -> None:
        """Repeats all writes on an empty race."""
        self._unpack()
        losses = np.array(self._losses).reshape(-1, n_objectives)
        at = -1
        for code, trial_id, level in zip(self._codes, self._trials, self._levels, strict=True):
            if code == _STAGED:
                race.staged(level, trial_id)
                continue
            bracket = trials[trial_id].bracket
            if code in _KINDS:
                at += 1
                race.record(trial_id, bracket, level, losses[at].copy(), _KINDS[code])
            elif code == _OBSERVED_AGAIN:
                race.observe(trial_id, bracket, level, losses[at].copy())
            elif code == _OBSERVED:
                at += 1
                race.observe(trial_id, bracket, level, losses[at].copy())
            elif code == _PROMOTED:
                race.promoted(trial_id, bracket, level)
            elif code == _JOINED:
                race.joined(trial_id, bracket)
            else:
                race.withdraw(trial_id)
