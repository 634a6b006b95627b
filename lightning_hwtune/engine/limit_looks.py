"""The looks of a loop at the limits of its study: when the next one is due, and which segments it ends.

The guard of a budget (`core.budget`) is right as long as it is asked often enough. So the loop waits for news no longer
than the guard can do without it, and the guard keeps back money for the largest delay that the loop has had so far.
At a limit of time, it ends the segments that have not reported (`core.last_moment`).
An executor that trains in this process cannot be asked while a segment trains: there, a trial pauses at a report.
"""

from __future__ import annotations

import math
from typing import final

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import Executor, abilities_of

__all__ = ["LimitLooks"]

_LEAST_S = 0.001  # the shortest wait, so that a virtual clock advances


@final
class LimitLooks:
    """Ends the segments of one loop that the limits leave no time or money for.

    Args:
        wait_s: the longest time without a look.
        late_s: how much later than planned a look may come. A tick is this and the shortest wait, which is as long.
        end_s: how long the end of a segment takes.
    """

    def __init__(
        self, controller: Controller, executor: Executor, *, wait_s: float, late_s: float, end_s: float
    ) -> None:
        self._controller, self._executor, self._wait_s = controller, executor, wait_s
        self._is_possible = not abilities_of(executor).trains_here
        self._due_at, self._ended = math.inf, set[tuple[int, int]]()
        self._least_s = max(late_s, _LEAST_S)
        if self._is_possible:
            controller.budget.tick_s, controller.budget.save_s = self._least_s + late_s, end_s

    def look(self, now: float) -> None:
        """Ends the segments that the guard names."""
        if not self._is_possible:
            return
        budget = self._controller.budget
        budget.tick_s = max(budget.tick_s, self._least_s + (now - self._due_at))  # the shortest wait, and its delay
        for trial_id, why in self._controller.end_unpaid(now):
            self._executor.end(trial_id, Outcome.INTERRUPTED, why)
        for trial_id, why in self._controller.end_late(now):
            key = trial_id, self._controller.state.running[trial_id].number
            if key not in self._ended:
                self._ended.add(key)
                self._executor.end(trial_id, Outcome.INTERRUPTED, why)
        self._due_at = now

    def wait_s(self, now: float) -> float:
        """Returns how long the loop may wait for news."""
        if not self._is_possible:
            return self._wait_s
        seconds = min(self._controller.budget.spare_s(now) + self._least_s, self._wait_s)
        late_s = self._controller.late_s(now)
        if late_s > 0.0:  # otherwise the segments are ending
            seconds = min(seconds, late_s)
        self._due_at = now + seconds
        return seconds
