"""A study's state, from which a controller decides: the facts of its log, and the race that follows from them."""

from __future__ import annotations

import copy
from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.race_writes import RaceHistory, is_over, write_after, write_before
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import StudySpec

__all__ = ["StudyState"]

_CONTAINERS = (dict, list, set)


@final
class StudyState(StudyFacts):
    """The facts about one study, and its race.

    Attributes:
        race: the study's rungs.
    """

    def __init__(self, spec: StudySpec) -> None:
        super().__init__(spec)
        self.race = spec.race()

    @classmethod
    def of(cls, facts: StudyFacts, history: RaceHistory) -> StudyState:
        """Returns the state with these facts, which it shares with the caller, and the race with this history."""
        state = cls(facts.spec)
        vars(state).update(vars(facts))
        history.write_to(state.race, facts.trials, len(facts.spec.objectives))
        return state

    def copied(self) -> StudyState:
        """Returns a state whose events leave this one as it is; both share what no event changes."""
        other, clock = copy.copy(self), copy.copy(self.clock)
        vars(other).update({name: value.copy() for name, value in vars(self).items() if isinstance(value, _CONTAINERS)})
        other.race, other.clock = copy.deepcopy(self.race, {id(self.spec): self.spec}), clock
        other.trials = [trial.copied() for trial in self.trials]
        other.searched = [trial for trial in other.trials if not trial.is_replicate]
        other.replicates = [trial for trial in other.trials if trial.is_replicate]
        other.running = {trial_id: copy.copy(segment) for trial_id, segment in self.running.items()}
        running = {id(segment): other.running[trial_id] for trial_id, segment in self.running.items()}
        other.segments = [running.get(id(segment), segment) for segment in self.segments]
        return other

    def apply(self, event: ev.Event) -> None:
        """Applies one fact to the facts and to the race. Nothing else changes the state."""
        write_before(self, event, self.race)
        super().apply(event)
        if isinstance(event, ev.LadderChosen):
            self.race = self.spec.race()
        write_after(self, event, self.race)

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
        """Returns whether a rung has paused or stopped a running segment; see `race_writes.is_over`."""
        return is_over(self, segment)
