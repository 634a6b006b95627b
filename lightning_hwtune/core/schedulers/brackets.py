"""Races with barriers: a rung promotes once all its trials have arrived, and the best of them continue together.

This rule is used by `SuccessiveHalving` and `Hyperband`. Jamieson and Talwalkar, "Non-stochastic best arm
identification and hyperparameter optimization", 2016 (arXiv 1502.07943); Li et al., "Hyperband", JMLR 2018
(arXiv 1603.06560).

A bracket is one race. It has a fixed number n of trials at its first level, and floor(n / eta**k), but at least one, at
its k-th level above. A trial that reaches a rung pauses there until no trial is missing. The trial that completes a
rung continues at once if it is among the best. Devices never wait for a rung: if no trial can continue, a new trial
joins the oldest bracket that has room, or begins the next bracket.

Differences from the papers: losses of several objectives are ordered by fronts (`ranking.order`). Ties go to the lower
trial id. A trial with a loss that is not finite is never promoted. The rung does not wait for a trial that failed: if
fewer trials are left than may be promoted, all of them are. A trial that ended early by itself is ranked with its last
values at the higher rungs into which these promote it. A report that passes over rungs counts at each of them. When no
further trial can begin (the study's limit, the end of a grid), the last bracket is treated as one of the size that it
has reached.

Cost: an arrival costs one insertion into its rung's order. A complete rung is read once. What would be promoted if the
last bracket were closed is computed on a copy of it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Container, Iterator, Sequence
from fractions import Fraction
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Rule, Verdict, VerdictKind
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.rung_orders import resolved_order
from lightning_hwtune.core.schedulers.barrier_rung import BarrierRung
from lightning_hwtune.core.schedulers.base import Promotion, Race
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.standings import promoted_of
from lightning_hwtune.errors import IllegalMoveError

__all__ = ["Brackets", "Plan", "bracket_sizes", "expected_of"]

Plan = Sequence[tuple[int, int]]
"""For each bracket, the index of its first level and the number of trials there."""


@final
class Brackets(Race):
    """Fills brackets of fixed sizes one after another, in the order of `plan`, which is repeated."""

    def __init__(self, ladder: Ladder, plan: Plan, objectives: Objectives) -> None:
        super().__init__(ladder)
        self._plan, self._n_objectives = tuple(plan), len(objectives)
        self._order = resolved_order(ladder.within, len(objectives), objectives.names)
        self._brackets: list[_Bracket] = []
        self._bracket_of: dict[int, int] = {}
        self._with_promotions: set[int] = set()
        self._n_filled = 0

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the oldest bracket that has room, or else the next one; nothing is random here."""
        return next(
            (b for b in range(self._n_filled, len(self._brackets)) if self._brackets[b].has_room), len(self._brackets)
        )

    def joined(self, trial_id: int, bracket: int) -> None:
        """Records that a new trial began in this bracket."""
        while bracket >= len(self._brackets):
            first, size = self._plan[len(self._brackets) % len(self._plan)]
            self._brackets.append(_Bracket(self.levels[first:], size, self.ladder.eta, self._n_objectives, self._order))
        self._bracket_of[trial_id] = bracket
        self._brackets[bracket].join(trial_id)
        while self._n_filled < len(self._brackets) and not self._brackets[self._n_filled].has_room:
            self._n_filled += 1

    def first_target(self, bracket: int) -> int:
        """Returns the bracket's lowest level."""
        return self.levels[self._plan[bracket % len(self._plan)][0]]

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Continue for a trial that completes its rung and is among the best, otherwise Pause."""
        if not np.isfinite(loss).all():
            return Pause(Reason(Rule.NOT_FINITE, f"a loss at rung {level} is not finite"))
        return self._joined(bracket).judge(trial_id, level, loss)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level and that `kind` was decided: "continue", "pause" or "stop"."""
        self._joined(bracket).record(
            trial_id, level, loss, is_paused=kind == VerdictKind.PAUSE and level < self.max_resource
        )
        self._note_promotions(bracket)

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the due promotion, deepest level first, then oldest bracket, then best; None if there is none."""
        for bracket in sorted(self._with_promotions, key=lambda b: (-self._brackets[b].level_below, b)):
            race = self._brackets[bracket]
            trial_id = next((i for i in race.promotable_ids if i not in exclude), None)
            if trial_id is not None:
                return self._promotion(trial_id, race.level_below, Reason(Rule.PROMOTION, race.standing(trial_id)))
        return None

    def closing(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns a promotion from a bracket whose free places no further trial will take; None if there is none."""
        for race in (race for race in self._brackets[self._n_filled :] if race.has_room):
            closed = race.closed()
            trial_id = next((i for i in closed.promotable_ids if i not in exclude), None)
            if trial_id is not None:
                text = (
                    f"{race.n_joined} of {race.size} trials joined, and no more can join; {closed.standing(trial_id)}"
                )
                return self._promotion(trial_id, closed.level_below, Reason(Rule.CLOSING, text))
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns whether this trial may be promoted from this level now."""
        bracket = self._bracket_of.get(trial_id)
        if bracket is None or bracket not in self._with_promotions:
            return False
        race = self._brackets[bracket]
        return race.level_below == level and trial_id in race.promotable_ids

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Records that a paused trial was promoted from this level."""
        self._joined(bracket).leave(trial_id)
        self._note_promotions(bracket)

    def withdraw(self, trial_id: int) -> None:
        """Records that a trial ended for good: it is not waited for or promoted, but its losses stay in its rungs."""
        bracket = self._bracket_of.get(trial_id)
        if bracket is not None:
            self._brackets[bracket].withdraw(trial_id)
            self._note_promotions(bracket)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of trials that could still be promoted: deepest level first, then best first."""
        pairs = (pair for race in self._brackets for pair in race.paused())
        return sorted(pairs, key=lambda pair: -pair[1])

    def _promotion(self, trial_id: int, level: int, reason: Reason) -> Promotion:
        return Promotion(trial_id, level, self.ladder.above(level), reason)

    def _joined(self, bracket: int) -> _Bracket:
        if bracket >= len(self._brackets):
            raise IllegalMoveError(f"no trial has joined bracket {bracket}")
        return self._brackets[bracket]

    def _note_promotions(self, bracket: int) -> None:
        if self._brackets[bracket].promotable_ids:
            self._with_promotions.add(bracket)
        else:
            self._with_promotions.discard(bracket)
        while self._n_filled < len(self._brackets) and not self._brackets[self._n_filled].has_room:
            self._n_filled += 1


class _Bracket:
    """One bracket: its rungs, of which one is being filled and all before it are complete."""

    def __init__(self, levels: Sequence[int], size: int, eta: Fraction, n_objectives: int, within: str) -> None:
        self.size, self._eta = size, eta
        self._rungs = [BarrierRung(level, RungRanking(n_objectives, within)) for level in levels]
        self._at = 0
        self._n_slots = list(bracket_sizes(size, eta, len(levels)))
        self._is_closed = False
        self._paused: set[int] = set()
        self.promotable_ids: list[int] = []  # best first, of the rung below the one being filled

    @property
    def has_room(self) -> bool:
        """Whether trials may still join."""
        return not self._is_closed and self.n_joined < self.size

    @property
    def n_joined(self) -> int:
        """The number of trials that have joined so far."""
        return len(self._rungs[0].entrants)

    @property
    def level_below(self) -> int:
        """The level that the trials in `promotable_ids` leave."""
        return self._rungs[max(self._at - 1, 0)].level

    def join(self, trial_id: int) -> None:
        self._rungs[0].entrants.add(trial_id)

    def judge(self, trial_id: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        rung, n_slots = self._rungs[self._at], self._n_slots[self._at]
        n_here = len(rung.settled) + 1
        if rung.level != level or trial_id not in rung.entrants:
            return Pause(
                Reason(Rule.BARRIER, f"reached rung {level}, which its bracket has already left or has not reached yet")
            )
        if n_here < n_slots:
            return Pause(Reason(Rule.BARRIER, f"arrival {n_here} of {n_slots} at rung {level}, which waits for all"))
        n_promoted = self._n_slots[self._at + 1]
        place = rung.ranking.arrival(trial_id, loss, n_promoted)
        text = f"completes rung {level} with rank {place.first + 1} of {n_slots}; {promoted_of(n_promoted)}"
        reason = Reason(Rule.PROMOTION if place.is_in else Rule.QUOTA, text, place.standing)
        return Continue(reason) if place.is_in else Pause(reason)

    def record(self, trial_id: int, level: int, loss: npt.NDArray[np.float64], *, is_paused: bool) -> None:
        """Records that a trial reached this level, and those below it that its reports passed over."""
        if is_paused:
            self._paused.add(trial_id)
        for rung in self._rungs:
            if rung.level <= level:
                rung.arrive(trial_id, loss)
        self._advance()

    def leave(self, trial_id: int) -> None:
        """Records that a paused trial was promoted; closes the bracket first if only a closed one promotes it."""
        if self.has_room and trial_id in self.closed().promotable_ids:
            self._close()
        self._not_waiting(trial_id)

    def withdraw(self, trial_id: int) -> None:
        self._not_waiting(trial_id)
        for rung in self._rungs:
            rung.withdraw(trial_id)
        self._advance()

    def closed(self) -> _Bracket:
        """Returns the bracket as if no further trial could join; unchanged while trials train to its first rung."""
        if len(self._rungs[0].settled) < self.n_joined:
            return self
        new = copy.deepcopy(self)
        new._close()
        return new

    def standing(self, trial_id: int) -> str:
        rung, n_promoted = self._rungs[self._at - 1], self._n_slots[self._at]
        rank = rung.ranking.place(trial_id, n_promoted).first + 1
        return f"rank {rank} of {len(rung.entrants)} at rung {rung.level}, which is complete; {promoted_of(n_promoted)}"

    def paused(self) -> Iterator[tuple[int, int]]:
        """Yields (trial, level) for the waiting trials, each at its highest rung; the best of a rung first."""
        for rung, above in itertools.pairwise(self._rungs):
            waiting = (i for i in rung.ranking.open_order() if i in self._paused and i not in above.settled)
            yield from ((trial_id, rung.level) for trial_id in waiting)

    def _not_waiting(self, trial_id: int) -> None:
        self._paused.discard(trial_id)
        self.promotable_ids = [i for i in self.promotable_ids if i != trial_id]

    def _close(self) -> None:
        self._is_closed = True
        self._n_slots = list(bracket_sizes(self.n_joined, self._eta, len(self._rungs)))
        self._advance()

    def _advance(self) -> None:
        while self._at + 1 < len(self._rungs) and len(self._rungs[self._at].settled) >= self._n_slots[self._at]:
            best = self._rungs[self._at].ranking.open_order()[: self._n_slots[self._at + 1]]
            self._at += 1
            self._n_slots[self._at] = len(best)
            above = self._rungs[self._at]
            above.enter(best)
            self.promotable_ids = [i for i in best if i in self._paused and i not in above.settled]


def bracket_sizes(n_trials: int, eta: Fraction, n_levels: int) -> tuple[int, ...]:
    """Returns how many of `n_trials` train to each level of a bracket: floor(n / eta**k), but at least one."""
    return tuple(max(1, n_trials * eta.denominator**k // eta.numerator**k) for k in range(n_levels))


def expected_of(plan: Plan, ladder: Ladder, n_trials: int) -> tuple[tuple[int, int], ...]:
    """Returns `(level, number of trials that train to it)` for full brackets and a last one with the rest."""
    totals, bracket = dict.fromkeys(ladder.levels, 0), 0
    while n_trials > 0:
        first, size = plan[bracket % len(plan)]
        n_first = min(size, n_trials)
        for level in ladder.levels[:first]:
            totals[level] += n_first  # trains past levels below the bracket's first rung
        sizes = bracket_sizes(n_first, ladder.eta, len(ladder.levels))
        for level, n in zip(ladder.levels[first:], sizes, strict=False):
            totals[level] += n
        n_trials, bracket = n_trials - n_first, bracket + 1
    return tuple(totals.items())
