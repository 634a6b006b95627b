"""What a scheduler is: it says when a trial goes on, from the losses that trials reported at rungs.

A scheduler that users make, `ASHA(max_epochs=27)`, is settings only; `fresh` gives the state of one study. Questions
(`verdict`, `promotable`, ...) change nothing; `record`, `promoted` and `withdraw` are the only writers and hold facts,
so that applying the same facts again gives the same scheduler.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Reason, Verdict
from lightning_hwtune.errors import ArgumentError

__all__ = ["Loss", "Promotion", "Scheduler", "SchedulerState", "horizon"]

Loss = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may leave rung `level` and train to `target`."""

    trial_id: int
    level: int
    target: int
    reason: Reason


class SchedulerState(abc.ABC):
    """One study's rungs.

    Attributes:
        unit: "epochs", "steps" or "samples". max_resource: the full horizon.
        levels: every resource at which something may be decided, ascending; the last is `max_resource`.
    """

    __slots__ = ()
    unit: str
    max_resource: int
    levels: tuple[int, ...]

    @abc.abstractmethod
    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the bracket of a new trial."""

    @abc.abstractmethod
    def first_target(self, bracket: int) -> int:
        """Returns the resource to which a new trial may train."""

    @abc.abstractmethod
    def next_target(self, bracket: int, level: int) -> int:
        """Returns the level behind `level`."""

    @abc.abstractmethod
    def verdict(self, trial_id: int, bracket: int, level: int, loss: Loss) -> Verdict:
        """Returns what a running trial does if it reports this now."""

    @abc.abstractmethod
    def record(self, trial_id: int, bracket: int, level: int, loss: Loss, kind: str) -> None:
        """Takes a report and the kind of its verdict; "continue" below the maximum = promoted at once."""

    @abc.abstractmethod
    def promotable(self, exclude: Collection[int] = ()) -> Promotion | None:
        """Returns the promotion due now, deepest rung and best trial first; not of the excluded trials."""

    @abc.abstractmethod
    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial may still be promoted from this level."""

    @abc.abstractmethod
    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Takes the fact that a trial left a rung."""

    @abc.abstractmethod
    def withdraw(self, trial_id: int) -> None:
        """Takes the fact that a trial will never run again; what it reported stays in the rungs."""

    @abc.abstractmethod
    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns (trial, level) of all that could still be promoted by someone: deepest rung first, best first."""


class Scheduler(abc.ABC):
    """Settings of a scheduler. Subclasses set `name`, by which the log knows them."""

    name: ClassVar[str]
    unit: str
    max_resource: int
    levels: tuple[int, ...]

    @abc.abstractmethod
    def fresh(self, n_objectives: int) -> SchedulerState:
        """Returns the empty state of a new study."""

    @abc.abstractmethod
    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns (level, expected number of trials that train to it) for a study of `n_trials`."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Returns plain data with the key `name`; `scheduler_from_settings` reads it back."""


def horizon(max_epochs: int | None, max_steps: int | None, max_samples: int | None) -> tuple[str, int]:
    """Returns the unit and the maximum that a scheduler was given.

    Raises:
        ArgumentError: none or several of them, or no whole number from 1.
    """
    given = {"epochs": max_epochs, "steps": max_steps, "samples": max_samples}
    named = {unit: value for unit, value in given.items() if value is not None}
    if len(named) != 1:
        names = [f"max_{unit}" for unit in named]
        raise ArgumentError("max_epochs", names or None, "exactly one of max_epochs, max_steps and max_samples")
    [(unit, value)] = named.items()
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"max_{unit}", value, "a whole number from 1")
    return unit, value
