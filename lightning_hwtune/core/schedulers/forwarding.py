"""A scheduler that is a choice of settings for another rule: it answers what that rule answers."""

from __future__ import annotations

import abc
import copy
from collections.abc import Container, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Verdict
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler

__all__ = ["Forwarding"]


class Forwarding(Scheduler, abc.ABC):
    """Forwards every question and every write to `_rule`, which the constructor of the final class sets."""

    _rule: Scheduler

    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns a copy whose rule has empty rungs."""
        new = copy.copy(self)
        new._rule = self._rule.fresh(n_objectives, names)
        return new

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the bracket of a new trial."""
        return self._rule.draw_bracket(rng)

    def joined(self, trial_id: int, bracket: int) -> None:
        """A new trial began in this bracket."""
        self._rule.joined(trial_id, bracket)

    def first_target(self, bracket: int) -> int:
        """Returns the bracket's lowest level."""
        return self._rule.first_target(bracket)

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what should happen if this trial came to this level with this loss now."""
        return self._rule.verdict(trial_id, bracket, level, loss)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """A trial came to a level, and `kind` was decided."""
        self._rule.record(trial_id, bracket, level, loss, kind)

    def observe(self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]) -> None:
        """A trial reported this loss at this resource."""
        self._rule.observe(trial_id, bracket, resource, loss)

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due."""
        return self._rule.promotable(exclude)

    def closing(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due if no further trial can begin."""
        return self._rule.closing(exclude)

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial may be promoted from this level now."""
        return self._rule.is_promotable(trial_id, level)

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """A paused trial was promoted from this level."""
        self._rule.promoted(trial_id, bracket, level)

    def withdraw(self, trial_id: int) -> None:
        """A trial ended for good."""
        self._rule.withdraw(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of those that might still be promoted."""
        return self._rule.finishers()

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)`."""
        return self._rule.expected(n_trials)

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs."""
        return self._rule.pauses

    @property
    def bound(self) -> str:
        """What the expected numbers are of the real ones."""
        return self._rule.bound
