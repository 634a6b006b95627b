"""A random study for one scheduler: it makes the writes to a race that a controller would make, and keeps them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Stop, Verdict
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import Promotion, Race, Scheduler
from lightning_hwtune.testing.demand import demand

__all__ = ["RandomRace", "Write", "answers_of", "rebuilt", "started"]

Write = tuple[str, tuple[Any, ...]]
LossDraw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


def started(scheduler: Scheduler, n_objectives: int = 1) -> Race:
    """Returns a race with empty rungs; objective number 0 is called m0, and so on."""
    return scheduler.start(Objectives([Metric(f"m{i}", "min") for i in range(n_objectives)]))


def rebuilt(scheduler: Scheduler, n_objectives: int, writes: Sequence[Write]) -> Race:
    """Returns a new race to which these writes were made."""
    race = started(scheduler, n_objectives)
    for method, arguments in writes:
        getattr(race, method)(*copy.deepcopy(arguments))
    return race


def answers_of(race: Race) -> list[Any]:
    """Asks a race all questions and returns the answers."""
    answers: list[Any] = [race.promotable(), race.closing(), list(race.finishers())]
    answers += [race.is_promotable(trial_id, level) for trial_id in range(3) for level in race.levels[:3]]
    bracket = race.draw_bracket(np.random.default_rng(0))
    return [*answers, bracket, race.first_target(bracket)]


@final
class RandomRace:
    """Trials whose losses are small random integers, so that ties are common; one in ten is not finite.

    Args:
        violating: draws the losses of a violator, which every second report then has.

    Attributes:
        writes: all writes so far. answers: all promotions and verdicts so far.
    """

    def __init__(
        self, scheduler: Scheduler, n_objectives: int, seed: int, *, violating: LossDraw | None = None
    ) -> None:
        self.race, self.n_objectives = started(scheduler, n_objectives), n_objectives
        self.rng, self._violating = np.random.default_rng(seed), violating
        self.writes: list[Write] = []
        self.answers: list[Any] = []
        self.brackets: list[int] = []
        self.running: dict[int, tuple[int, int]] = {}  # trial -> the level it trains to, the resource it has reported
        self.paused: set[int] = set()
        self.barred: set[int] = set()  # diverged or withdrawn

    def step(self) -> None:
        """Makes a trial report, be withdrawn, be promoted or begin."""
        if self.running and self.rng.random() < 0.6:
            self._advance(int(self.rng.choice(sorted(self.running))))
        elif self.paused and self.rng.random() < 0.02:
            self._withdraw(int(self.rng.choice(sorted(self.paused))))
        elif (promotion := self.race.promotable(exclude=self.running)) is None:
            self.answers.append(None)
            self._begin()
        else:
            self.answers.append(promotion)
            self._promote(promotion)

    def _begin(self) -> None:
        trial_id = len(self.brackets)
        bracket = self.race.draw_bracket(np.random.default_rng(trial_id))
        self.brackets.append(bracket)
        self._write("joined", trial_id, bracket)
        self.running[trial_id] = self.race.first_target(bracket), 0

    def _promote(self, promotion: Promotion) -> None:
        trial_id, level = promotion.trial_id, promotion.level
        asked = f"promotable() answered {promotion}."
        demand(trial_id not in self.running, "`promotable` never returns a trial of `exclude`.", asked)
        demand(trial_id not in self.barred, "A diverged or withdrawn trial is never promoted.", asked)
        demand(trial_id in self.paused, "Only a paused trial is promoted.", asked)
        demand(
            self.race.is_promotable(trial_id, level),
            "`is_promotable` agrees with `promotable`.",
            asked,
            "is_promotable is False.",
        )
        demand(
            level < promotion.target <= self.race.max_resource, "The target of a promotion is above its level.", asked
        )
        self._write("promoted", trial_id, self.brackets[trial_id], level)
        is_left = not self.race.is_promotable(trial_id, level)
        demand(is_left, "A promoted trial has left its rung.", asked, "After `promoted`, is_promotable is still True.")
        self.paused.discard(trial_id)
        self.running[trial_id] = promotion.target, level

    def _advance(self, trial_id: int) -> None:
        if self.rng.random() < 0.03:
            self._withdraw(trial_id)
            return
        (target, reported), bracket, loss = self.running[trial_id], self.brackets[trial_id], self._loss()
        resource = target if reported + 1 >= target else max(reported + 1, target - 2)  # few reports between rungs
        self.running[trial_id] = target, resource
        if resource < target:
            self._write("observe", trial_id, bracket, resource, loss)
        else:
            self._judged(trial_id, bracket, target, loss)

    def _judged(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> None:
        verdict = self._verdict(trial_id, bracket, level, loss)
        self.answers.append(verdict)
        self._write("record", trial_id, bracket, level, loss, verdict.kind)
        self._write("observe", trial_id, bracket, level, loss)
        if isinstance(verdict, Continue):
            self.running[trial_id] = self.race.next_target(bracket, level), level
            return
        del self.running[trial_id]
        if isinstance(verdict, Pause):
            self.paused.add(trial_id)

    def _verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        verdict = self.race.verdict(trial_id, bracket, level, loss)
        asked = f"verdict({trial_id}, {bracket}, {level}, {loss.tolist()}) answered {verdict}."
        is_one = isinstance(verdict, Continue | Pause | Stop)
        demand(is_one, "`judge` returns Continue, Pause or Stop with a Reason.", asked)
        if not np.isfinite(loss).all():
            self.barred.add(trial_id)
            is_ended = not isinstance(verdict, Continue)
            demand(is_ended, "A trial whose loss is not finite does not continue past a rung.", asked)
        return verdict

    def _withdraw(self, trial_id: int) -> None:
        self._write("withdraw", trial_id)
        self.running.pop(trial_id, None)
        self.paused.discard(trial_id)
        self.barred.add(trial_id)
        waiting = [waiting_id for waiting_id, _ in self.race.finishers()]
        demand(trial_id not in waiting, "A withdrawn trial is not a finisher.", f"finishers() answered {waiting}.")

    def _loss(self) -> npt.NDArray[np.float64]:
        if self._violating is not None and self.rng.random() < 0.5:
            return self._violating(self.rng, self.n_objectives)
        loss = self.rng.integers(0, 20, self.n_objectives).astype(float)
        if self.rng.random() < 0.1:
            loss[self.rng.integers(self.n_objectives)] = [np.nan, np.inf][self.rng.integers(2)]
        return loss

    def _write(self, method: str, *arguments: Any) -> None:
        self.writes.append((method, copy.deepcopy(arguments)))
        getattr(self.race, method)(*arguments)
