"""The race of a study whose allocation policy plans each stage: how many trials begin, and how many continue.

It is successive halving with barriers (`brackets`), in one bracket whose sizes are not fixed. The policy plans a stage
once all trials of the one before have arrived, or are too late (`core.stages`). The log has each plan, and `staged`
writes it into the race: the best trials of the rung then train to the next one. A trial that arrives after the next
stage was planned pauses for good. Losses of several objectives are ordered by fronts, ties go to the lower trial id,
and a trial with a loss that is not finite never continues.
"""

from __future__ import annotations

from collections.abc import Container
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Pause, Reason, Rule, Verdict, VerdictKind
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.rung_orders import resolved_order
from lightning_hwtune.core.schedulers.barrier_rung import BarrierRung
from lightning_hwtune.core.schedulers.base import Promotion, Race
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.standings import promoted_of

__all__ = ["Staged"]


@final
class Staged(Race):
    """One bracket in which each stage gets its size when it begins."""

    def __init__(self, ladder: Ladder, objectives: Objectives) -> None:
        super().__init__(ladder)
        order = resolved_order(ladder.within, len(objectives), objectives.names)
        self._rungs = [BarrierRung(level, RungRanking(len(objectives), order)) for level in self.levels]
        self._at = 0  # the rung to which the present stage trains
        self._size: int | None = None  # of the first stage
        self._n_kept = 0  # of the present stage
        self._paused: set[int] = set()
        self._open: list[int] = []  # trials of the stage that have not begun it, best first

    # ------------------------------------------------------------------ the present stage

    @property
    def has_room(self) -> bool:
        """Whether a new trial may begin: in the first stage, up to its size."""
        return self._size is None or (self._at == 0 and self.n_begun < self._size)

    @property
    def reached(self) -> int:
        """The rung from which the present stage trains; 0 in the first one."""
        return self.levels[self._at - 1] if self._at else 0

    @property
    def level(self) -> int:
        """The rung to which the present stage trains."""
        return self.levels[self._at]

    @property
    def n_begun(self) -> int:
        """The number of trials that have begun the first stage."""
        return len(self._rungs[0].entrants)

    @property
    def n_arrived(self) -> int:
        """How many trials of the present stage have arrived, or never will."""
        return len(self._rungs[self._at].settled)

    @property
    def n_waiting(self) -> int:
        """How many trials of the present stage have not begun it."""
        return len(self._open) if self._at else max((self._size or 0) - self.n_begun, 0)

    @property
    def has_arrived(self) -> bool:
        """Whether no trial of the present stage is missing, apart from new ones."""
        rung = self._rungs[self._at]
        return len(rung.settled) >= len(rung.entrants)

    @property
    def members(self) -> frozenset[int]:
        """The trials of the present stage."""
        return frozenset(self._rungs[self._at].entrants)

    @property
    def survivors(self) -> list[int]:
        """The trials that have arrived and can continue, best first."""
        return self._rungs[self._at].ranking.open_order()

    # ------------------------------------------------------------------ the interface of a race

    def joined(self, trial_id: int, bracket: int) -> None:
        """Records that a new trial began."""
        self._rungs[0].entrants.add(trial_id)

    def staged(self, level: int, n_trials: int) -> None:
        """Records the size of a stage, that trains from this rung."""
        if level == 0:
            self._size = n_trials
            return
        if n_trials < 1 or level not in self.levels[:-1]:
            return
        place = self.levels.index(level)
        best = self._rungs[place].ranking.open_order()[:n_trials]
        self._at, self._n_kept = place + 1, len(best)
        above = self._rungs[self._at]
        above.enter(best)
        self._open = [i for i in best if i in self._paused and i not in above.settled]

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Pause: a stage ends for all of its trials together."""
        if not np.isfinite(loss).all():
            return Pause(Reason(Rule.NOT_FINITE, f"a loss at rung {level} is not finite"))
        if not self.is_wanted(trial_id) or level < self.level:
            return Pause(Reason(Rule.BARRIER, f"reached rung {level} after the stage to it has ended"))
        n_here, size = self.n_arrived + 1, len(self._rungs[self._at].entrants)
        n_trials = max(size, self._size or 0) if self._at == 0 else size
        return Pause(Reason(Rule.BARRIER, f"arrival {n_here} of {n_trials} at rung {level}, where the stage ends"))

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level, and those below it that its reports passed over."""
        if kind == VerdictKind.PAUSE and level < self.max_resource:
            self._paused.add(trial_id)
        for place, rung in enumerate(self._rungs):
            if rung.level <= level and place >= self._at:
                rung.arrive(trial_id, loss)

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion of the best trial of the stage that has not begun it; None if all have."""
        trial_id = next((i for i in self._open if i not in exclude), None)
        if trial_id is None:
            return None
        below = self._rungs[self._at - 1]
        rank = below.ranking.place(trial_id, self._n_kept).first + 1
        text = f"rank {rank} of {len(below.ranking)} at rung {below.level}; {promoted_of(self._n_kept)}"
        return Promotion(trial_id, below.level, self.level, Reason(Rule.PROMOTION, text))

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns whether this trial may be promoted from this level now."""
        return trial_id in self._open and level == self.reached

    def is_wanted(self, trial_id: int) -> bool:
        """Returns whether a trial belongs to the present stage."""
        return trial_id in self._rungs[self._at].entrants

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Records that a paused trial was promoted from this level."""
        self._leave(trial_id)

    def withdraw(self, trial_id: int) -> None:
        """Records that a trial ended for good: it is not waited for or promoted, but its losses stay in its rungs."""
        self._leave(trial_id)
        for rung in self._rungs:
            rung.withdraw(trial_id)

    def _leave(self, trial_id: int) -> None:
        self._paused.discard(trial_id)
        self._open = [i for i in self._open if i != trial_id]
