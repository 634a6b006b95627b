"""What a scheduler is: the rule that decides when a trial goes on.

Users construct one with its settings; these never change, so one object may serve many studies. A study works with
`fresh(...)`, which has empty rungs. There, `joined`, `record`, `observe`, `promoted` and `withdraw` are the only
writers: every other method is a question without effects, and the same writes in the same order give a scheduler that
answers alike. On a report at a rung `record` comes first, then `observe`.
"""

from __future__ import annotations

import abc
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Reason, Verdict

__all__ = ["Promotion", "Scheduler"]


@final
@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may leave the rung at `level` and train up to `target`."""

    trial_id: int
    level: int
    target: int
    reason: Reason


class Scheduler(abc.ABC):
    """Decides when a trial goes on. `name` is the one by which the log knows it.

    Attributes:
        unit: of the resource: "epochs", "steps" or "samples".
        levels: every resource at which something may be decided, ascending; the last one is the full training.
    """

    name: ClassVar[str]
    unit: str
    levels: tuple[int, ...]

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs, to go on later; otherwise they stop there for good."""
        return True

    @property
    def max_resource(self) -> int:
        """The resource of a full training."""
        return self.levels[-1]

    @abc.abstractmethod
    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns a scheduler with these settings and empty rungs.

        Args:
            n_objectives: length of the losses. names: of the objectives, for settings that call one by its name.
        """

    def keeping_front(self) -> Self:
        """Returns a scheduler with these settings that never stops a member of a rung's front on arrival.

        This one, unless it has a rule that would.
        """
        return self

    @abc.abstractmethod
    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the bracket of a new trial."""

    def joined(self, trial_id: int, bracket: int) -> None:  # noqa: B027 - most have nothing to remember
        """A new trial began in this bracket."""

    @abc.abstractmethod
    def first_target(self, bracket: int) -> int:
        """Returns the resource up to which a new trial may train; the bracket's lowest level."""

    def next_target(self, bracket: int, level: int) -> int:
        """Returns the level after `level`; the full training if there is none."""
        return next((higher for higher in self.levels if higher > level), self.max_resource)

    @abc.abstractmethod
    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what should happen if this trial came to this level with this loss now."""

    @abc.abstractmethod
    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """A trial came to a level, and `kind` was decided: "continue" (it goes on at once), "pause" or "stop"."""

    def observe(  # noqa: B027 - most go by the rungs alone
        self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]
    ) -> None:
        """A trial reported this loss at this resource, at a rung or between rungs; work done again reports again."""

    @abc.abstractmethod
    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due: deepest level first, there the best; never one of `exclude`."""

    def closing(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due if no further trial can begin: a rung that waits for more need not."""
        return None

    @abc.abstractmethod
    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial may be promoted from this level now."""

    @abc.abstractmethod
    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """A paused trial was promoted from this level."""

    @abc.abstractmethod
    def withdraw(self, trial_id: int) -> None:
        """A trial ended for good: it is never promoted, and what it showed stays in its rungs."""

    @abc.abstractmethod
    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of those that might still be promoted: deepest level first, best first there."""

    @abc.abstractmethod
    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)` for every level, as expected of `n_trials` trials."""

    @property
    def bound(self) -> str:
        """What the expected numbers are of the real ones: "at least", "at most", "about", or "" where they are both."""
        return ""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log, with the key `name`; `scheduler_from_settings` reads it back."""

    def __repr__(self) -> str:
        pairs = ", ".join(f"{key}={value!r}" for key, value in self.settings().items() if key != "name")
        return f"{type(self).__name__}({pairs})"
