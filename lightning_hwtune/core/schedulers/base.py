"""What a scheduler is: the rule that decides when a trial is paused, promoted or stopped.

A `Scheduler` is settings and never changes, so one object may serve many studies. `start(objectives)` returns a
`Race`: the rungs of one study. In a race `joined`, `record`, `observe`, `promoted` and `withdraw` are the only writers.
Every other method is a question without effects, and the same writes in the same order give a race that answers alike:
that is how a killed study continues from its log. On a report at a rung `record` comes first, then `observe`.
"""

from __future__ import annotations

import abc
from collections.abc import Container, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Reason, Verdict
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.rung_orders import checked_order
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.rungs import exact_eta, horizon, plain_eta, rung_levels
from lightning_hwtune.forms import FORMS
from lightning_hwtune.plugins import init_arguments

__all__ = ["Promotion", "Race", "RungScheduler", "Scheduler"]

_HORIZON = ("max_epochs", "max_steps", "max_samples")


@final
@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may leave the rung at `level` and train up to `target`."""

    trial_id: int
    level: int
    target: int
    reason: Reason


@dataclass(frozen=True, repr=False)
class Scheduler(abc.ABC):
    """Settings of a rule that decides when a trial is paused, promoted or stopped.

    A subclass is a frozen dataclass: its fields are its settings. It implements `start`, and `rungs` if trials are
    judged before the end. The log knows a class that is not of this package by its import path.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.

    Attributes:
        ladder: the levels at which trials are judged.
    """

    name: ClassVar[str] = "scheduler"
    max_epochs: int | None = None
    _: KW_ONLY
    max_steps: int | None = None
    max_samples: int | None = None
    ladder: Ladder = field(init=False, compare=False)

    def __post_init__(self) -> None:
        for name in _HORIZON:
            object.__setattr__(self, name, FORMS["RunToEnd"][name].read(name, getattr(self, name)))
        unit, last = horizon(self.max_epochs, self.max_steps, self.max_samples)
        object.__setattr__(self, "ladder", self.rungs(unit, last))

    @abc.abstractmethod
    def start(self, objectives: Objectives) -> Race:
        """Returns the race of one study, with empty rungs.

        Raises:
            ArgumentError: the settings do not fit these objectives.
        """

    def rungs(self, unit: str, last: int) -> Ladder:
        """Returns the ladder up to `last`, the full training; here that is the only level."""
        return Ladder(unit, (last,))

    @property
    def unit(self) -> str:
        """The unit of the resource: "epochs", "steps" or "samples"."""
        return self.ladder.unit

    @property
    def levels(self) -> tuple[int, ...]:
        """Every resource at which something may be decided, ascending; the last one is the full training."""
        return self.ladder.levels

    @property
    def max_resource(self) -> int:
        """The resource of a full training."""
        return self.ladder.top

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs and may be promoted later; otherwise they stop there for good."""
        return True

    def keeping_front(self) -> Self:
        """Returns a scheduler with these settings that never stops a member of a rung's front on arrival.

        This one, unless it has a rule that would.
        """
        return self

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)` for every level, as expected of `n_trials` trials.

        Here all of them train to the end.
        """
        return tuple((level, n_trials) for level in self.levels)

    @property
    def bound(self) -> str:
        """What the expected numbers are of the real ones: "at least", "at most", "about", or "" where they are both."""
        return "at most"

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log, with the key `name`; `scheduler_from_settings` reads it back."""
        given = {key: v for key, v in init_arguments(self).items() if key not in _HORIZON or v is not None}
        plain = {key: plain_eta(value) if isinstance(value, Fraction) else value for key, value in given.items()}
        return {"name": self.name, **plain}

    def __repr__(self) -> str:
        pairs = ", ".join(f"{key}={value!r}" for key, value in self.settings().items() if key != "name")
        return f"{type(self).__name__}({pairs})"


@dataclass(frozen=True, repr=False, kw_only=True)
class RungScheduler(Scheduler):
    """A scheduler with rungs at first_rung, first_rung * eta, first_rung * eta**2 and so on up to the full training.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the lowest level, in the same unit; no trial is judged before it.
        eta: one in eta is promoted at each rung. A fraction is allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        within: the order of a rung: by fronts, inside them "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".
    """

    first_rung: int = 1
    eta: int | float | str | Fraction = 3
    within: str = DEFAULT_WITHIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "first_rung", FORMS["ASHA"]["first_rung"].read("first_rung", self.first_rung))
        object.__setattr__(self, "eta", exact_eta(self.eta))
        super().__post_init__()
        checked_order(self.within)

    def rungs(self, unit: str, last: int) -> Ladder:
        """Returns the ladder up to `last`, the full training."""
        eta = exact_eta(self.eta)
        return Ladder(unit, rung_levels(self.first_rung, last, eta), eta, self.within)


class Race(abc.ABC):
    """The trials of one study on their ladder: who is judged how, and who may be promoted.

    A subclass implements `judge`, and what else its rule needs: a race whose trials pause also has `promotable`. What
    it does must depend on what was written alone, never on the clock or on random numbers of its own.
    """

    def __init__(self, ladder: Ladder) -> None:
        self.ladder, self.unit, self.levels, self.max_resource = ladder, ladder.unit, ladder.levels, ladder.top

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the bracket of a new trial; 0 where there is one."""
        return 0

    def joined(self, trial_id: int, bracket: int) -> None:  # noqa: B027 - most have nothing to remember
        """A new trial began in this bracket."""

    def first_target(self, bracket: int) -> int:
        """Returns the resource up to which a new trial may train; the bracket's lowest level."""
        return self.levels[0]

    def next_target(self, bracket: int, level: int) -> int:
        """Returns the level after `level`; the full training if there is none."""
        return self.ladder.above(level)

    @final
    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what should happen if this trial came to this level with this loss now."""
        if level >= self.max_resource:
            return self.ladder.end()
        return self.judge(trial_id, bracket, level, loss)

    @abc.abstractmethod
    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns the verdict at a level below the full training.

        Args:
            loss: `(n_objectives,)`, each to be minimised; it may hold NaN or infinity.
        """

    def record(  # noqa: B027 - a rule that compares nobody has nothing to remember
        self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str
    ) -> None:
        """A trial came to a level, and `kind` was decided: "continue" (it trains on at once), "pause" or "stop"."""

    def observe(  # noqa: B027 - most go by the rungs alone
        self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]
    ) -> None:
        """A trial reported this loss at this resource, at a rung or between rungs; work done again reports again."""

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due: deepest level first, there the best; never one of `exclude`."""
        return None

    def closing(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due if no further trial can begin: a rung that waits for more need not."""
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Return whether this trial may be promoted from this level now; here, whether it is the one that is due."""
        due = self.promotable()
        return due is not None and (due.trial_id, due.level) == (trial_id, level)

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:  # noqa: B027 - nobody pauses in some
        """A paused trial was promoted from this level."""

    def withdraw(self, trial_id: int) -> None:  # noqa: B027 - what it showed counts for most
        """A trial ended for good: it is never promoted, and what it showed stays in its rungs."""

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of those that might still be promoted: deepest level first, best first there."""
        return ()
