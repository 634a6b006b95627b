"""A study's state, from which a controller decides: the facts of its log, and the race that follows from them.

The race is not stored anywhere. It is made from the same events as the facts, by the same writes in the same order, so
a study that is continued decides as the process before it would have decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Rule, VerdictKind
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import StudySpec

__all__ = ["StudyState"]


@final
class StudyState(StudyFacts):
    """The facts about one study, and its race.

    Attributes:
        race: the study's rungs.
    """

    def __init__(self, spec: StudySpec) -> None:
        super().__init__(spec)
        self.race = spec.race()

    def apply(self, event: ev.Event) -> None:
        """Applies one fact to the facts and to the race. Nothing else changes the state."""
        if isinstance(event, ev.Reported):
            self._leave_rung(event)
        super().apply(event)
        if (write := _WRITES.get(type(event))) is not None:
            write(self, event)

    def drain_s(self, n_devices: int, now: float) -> float:
        """Seconds until the running segments have freed `n_devices`, if each trains to its current target."""
        left = sorted(
            (max((self.trials[i].target - s.reached) * s.epoch_s - (now - s.reported_at), 0.0), s.num_devices)
            for i, s in self.running.items()
        )
        for seconds, devices in left:
            n_devices -= devices
            if n_devices <= 0:
                return seconds
        return 0.0

    def is_over(self, segment: Segment) -> bool:
        """Returns whether a rung has paused or stopped a running segment, so that it must not train any further.

        This does not include a pause by a limit, because no rung has decided against the trial.
        """
        reached, target = segment.reached, self.trials[segment.trial_id].target
        return segment.verdict != VerdictKind.CONTINUE and target <= reached < self.ladder.top

    def _leave_rung(self, event: ev.Reported) -> None:
        """Only old logs have reports after a pause; such a trial has left the rung in which it had to wait."""
        trial, segment = self.trials[event.trial_id], self.running[event.trial_id]
        if segment.verdict == VerdictKind.PAUSE and self.is_over(segment):
            self.race.promoted(trial.trial_id, trial.bracket, max(trial.decided))

    def _on_chosen_ladder(self, event: ev.LadderChosen) -> None:
        self.race = self.spec.race()

    def _joined(self, event: ev.TrialCreated) -> None:
        self.race.joined(event.trial_id, event.bracket)

    def _promoted(self, event: ev.SegmentStarted) -> None:
        if event.promoted_from is not None:
            self.race.promoted(event.trial_id, self.trials[event.trial_id].bracket, event.promoted_from)

    def _judged(self, event: ev.Reported) -> None:
        trial, loss = self.trials[event.trial_id], self.spec.objectives.loss(event.values)
        if event.rule == Rule.NOT_FINITE:  # the values may be the best so far of a training that has since diverged
            loss = np.full_like(loss, np.nan)
        if event.level is not None and event.rule != Rule.CONSTRAINT:  # a trial that can never be feasible is no rival
            self.race.record(trial.trial_id, trial.bracket, event.level, loss, trial.decided[event.level])
        self.race.observe(trial.trial_id, trial.bracket, event.resource, loss)

    def _ended(self, event: ev.SegmentEnded) -> None:
        trial = self.trials[event.trial_id]
        if trial.state is TrialState.COMPLETED:
            self._stand_higher(trial)
        elif trial.state.is_final:
            self.race.withdraw(trial.trial_id)

    def _stand_higher(self, trial: TrialRecord) -> None:
        """Ranks a trial that ended early by itself at the higher rungs, with its last values."""
        for level in self.levels_not_reached(trial):
            loss = self.spec.objectives.loss(trial.measurements[-1].values)
            self.race.record(trial.trial_id, trial.bracket, level, loss, VerdictKind.STOP)


_WRITES: Mapping[type[ev.Event], Callable[[StudyState, Any], None]] = {
    ev.LadderChosen: StudyState._on_chosen_ladder,
    ev.TrialCreated: StudyState._joined,
    ev.SegmentStarted: StudyState._promoted,
    ev.Reported: StudyState._judged,
    ev.SegmentEnded: StudyState._ended,
}
"""The events that change the race."""
