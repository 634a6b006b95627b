"""A study's state, from which a controller decides: the facts of its log, and the race that follows from them."""

from __future__ import annotations

import copy
import heapq
from typing import Any, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.placement import FreeCounts
from lightning_hwtune.core.race_writes import RaceHistory, is_over, write_after, write_before
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

    @classmethod
    def of(cls, facts: StudyFacts, history: RaceHistory) -> StudyState:
        """Returns the state with these facts, which it shares with the caller, and the race with this history."""
        state = cls(facts.spec)
        vars(state).update(vars(facts))
        history.write_to(state.race, facts.trials, len(facts.spec.objectives))
        return state

    def copied(self) -> StudyState:
        """Returns a state whose events leave this one as it is; both share what no event changes."""
        other = copy.copy(self)
        mine: dict[int, Any] = {id(trial): trial.copied() for trial in (*self.trials, *self.added)}
        mine |= {id(item): copy.copy(item) for item in (self.clock, *self.running.values(), *self.nodes_up.values())}
        mine[id(self.race)] = copy.deepcopy(self.race, {id(self.spec): self.spec})
        for name, value in vars(self).items():  # an object may be in several places, and is one object there, too
            if isinstance(value, list):
                setattr(other, name, [mine.get(id(item), item) for item in value])
            elif isinstance(value, dict):
                setattr(other, name, {key: mine.get(id(item), item) for key, item in value.items()})
            else:
                setattr(other, name, value.copy() if isinstance(value, set) else mine.get(id(value), value))
        return other

    def apply(self, event: ev.Event) -> None:
        """Applies one fact to the facts and to the race. Nothing else changes the state."""
        write_before(self, event, self.race)
        super().apply(event)
        if isinstance(event, ev.LadderChosen):
            self.race = self.spec.race()
        write_after(self, event, self.race)

    def drain_s(self, allocation: Allocation, n_free: int, now: float) -> float:
        """Seconds until devices are free for a segment, if each running one trains to its current target.

        Args:
            n_free: the number of devices that are free now.
        """
        left = [
            (max((self.trials[i].target - s.reached) * s.epoch_s - (now - s.reported_at), 0.0), s.num_devices, s.slots)
            for i, s in self.running.items()
        ]
        heapq.heapify(left)
        n_free_on = {place: len(slots) for place, slots in self.free_slots().items()}
        free = FreeCounts(self.placement, n_free_on, self.shapes)
        while left:
            seconds, devices, slots = heapq.heappop(left)
            n_free += devices
            free.give_back(slots)
            if n_free >= allocation.devices and (not self.is_renting or free.fits(allocation)):
                return seconds
        return 0.0

    def is_over(self, segment: Segment) -> bool:
        """Returns whether a rung has paused or stopped a running segment; see `race_writes.is_over`."""
        return is_over(self, segment)
