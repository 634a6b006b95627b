"""The interface of a scheduler: the rule that decides when a trial is paused, promoted or stopped.

A `Scheduler` has only settings and never changes, so one object can serve many studies. `start(objectives)` returns a
`Race`: the rungs of one study. Only the methods `joined`, `record`, `observe`, `promoted`, `withdraw` and `staged`
change a race. All other methods are questions without effects. The same writes in the same order give a race with the
same answers, which is how a killed study continues from its log. For a report at a rung, `record` is called before
`observe`.
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
from lightning_hwtune.core.ranking.front_order import DEFAULT_WITHIN
from lightning_hwtune.core.ranking.rung_orders import checked_order
from lightning_hwtune.core.record import Unit
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.rungs import DEFAULT_ETA, exact_eta, horizon, plain_eta, rung_levels
from lightning_hwtune.forms import FORMS
from lightning_hwtune.forms.given import Given
from lightning_hwtune.plugins import init_arguments

__all__ = ["Promotion", "Race", "RungScheduler", "Scheduler"]

_HORIZON = ("max_epochs", "max_steps", "max_samples")


@final
@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may leave the rung at `level` and train up to `target`.

    Examples:
        >>> promotion = hwt.Promotion(7, level=3, target=9, reason=hwt.Reason("promotion", "rank 1 of 3 at rung 3"))
        >>> promotion.trial_id, promotion.target
        (7, 9)
    """

    trial_id: int
    level: int
    target: int
    reason: Reason


@dataclass(frozen=True, repr=False)
class Scheduler(Given, abc.ABC):
    """The settings of a rule that decides when a trial is paused, promoted or stopped.

    A subclass is a frozen dataclass whose fields are its settings. It implements `start`, and `rungs` if trials are
    judged before the end. In the log, a class that is not part of this package is named by its import path.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.

    Attributes:
        ladder: the levels at which trials are judged.

    Examples:
        >>> class EveryTrial(hwt.Scheduler):
        ...     def start(self, objectives):
        ...         return hwt.RunToEnd(self.max_epochs).start(objectives)
        >>> EveryTrial(max_epochs=9).levels
        (9,)
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
            ArgumentError: the settings do not match these objectives.
        """

    def rungs(self, unit: Unit, last: int) -> Ladder:
        """Returns the ladder up to `last`, the full training; by default that is the only level."""
        return Ladder(unit, (last,))

    @property
    def unit(self) -> Unit:
        """The unit of the resource."""
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
        """Whether trials pause at rungs and may be promoted later. If False, they stop there for good."""
        return True

    def keeping_front(self) -> Self:
        """Returns a scheduler with the same settings that never stops a member of a rung's front on arrival.

        By default that is this scheduler itself.
        """
        return self

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, expected number of trials that train to it)` for every level, for a total of `n_trials`.

        By default all trials train to the end.
        """
        return tuple((level, n_trials) for level in self.levels)

    @property
    def bound(self) -> str:
        """How the expected numbers relate to the real ones: "at least", "at most", "about", or "" if they are exact."""
        return "at most"

    @property
    def open_settings(self) -> tuple[str, ...]:
        """The settings that the study chooses when it begins, because the user left them open; none by default."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log with the key `name`; `scheduler_from_settings` reads it back."""
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
        eta: one in eta trials is promoted at each rung. Fractions are allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        within: the order of a rung: by fronts, and within a front "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".

    Examples:
        >>> class Unjudged(hwt.RungScheduler):
        ...     def start(self, objectives):
        ...         return hwt.ASHA(max_epochs=9).start(objectives)
        >>> Unjudged(max_epochs=9, eta=2).levels
        (1, 2, 4, 8, 9)
    """

    first_rung: int | None = 1
    eta: int | float | str | Fraction | None = 3
    within: str = DEFAULT_WITHIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "first_rung", FORMS["ASHA"]["first_rung"].read("first_rung", self.first_rung))
        object.__setattr__(self, "eta", None if self.eta is None else exact_eta(self.eta))
        super().__post_init__()
        checked_order(self.within)

    def rungs(self, unit: Unit, last: int) -> Ladder:
        """Returns the ladder up to `last`, the full training."""
        eta = exact_eta(DEFAULT_ETA if self.eta is None else self.eta)
        return Ladder(unit, rung_levels(self.first_rung or 1, last, eta), eta, self.within)


class Race(abc.ABC):
    """The trials of one study on their ladder: how each is judged, and which may be promoted.

    A subclass implements `judge` and whatever else its rule needs. A race in which trials pause also implements
    `promotable`. Its answers must depend only on the writes, never on the clock or on other random numbers.

    Examples:
        >>> class ToTheEnd(hwt.Race):
        ...     def judge(self, trial_id, bracket, level, loss):
        ...         return hwt.Continue(hwt.Reason("to-the-end", "all trials continue"))
        >>> race = ToTheEnd(hwt.ASHA(max_epochs=9).ladder)
        >>> race.verdict(0, 0, 3, [0.5]).reason.text, type(race.verdict(0, 0, 9, [0.2])).__name__
        ('all trials continue', 'Stop')
    """

    def __init__(self, ladder: Ladder) -> None:
        self.ladder, self.unit, self.levels, self.max_resource = ladder, ladder.unit, ladder.levels, ladder.top

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the bracket of a new trial; by default 0, the only one."""
        return 0

    def joined(self, trial_id: int, bracket: int) -> None:  # noqa: B027 - most races have nothing to record here
        """Records that a new trial began in this bracket."""

    def first_target(self, bracket: int) -> int:
        """Returns the resource up to which a new trial may train: the bracket's lowest level."""
        return self.levels[0]

    def next_target(self, bracket: int, level: int) -> int:
        """Returns the level after `level`; the full training if there is none."""
        return self.ladder.above(level)

    @final
    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns the verdict if this trial reached this level with this loss now."""
        if level >= self.max_resource:
            return self.ladder.end()
        return self.judge(trial_id, bracket, level, loss)

    @abc.abstractmethod
    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns the verdict at a level below the full training.

        Args:
            loss: the losses to minimise, shape `(n_objectives,)`; may contain NaN or infinity.
        """

    def record(  # noqa: B027 - a rule that compares no trials has nothing to record
        self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str
    ) -> None:
        """Records that a trial reached a level and that `kind` was decided: "continue", "pause" or "stop"."""

    def observe(  # noqa: B027 - most rules only use the rungs
        self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]
    ) -> None:
        """Records a report of a trial, at a rung or between rungs; repeated work is reported again."""

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the due promotion, the best of the deepest level, leaving out `exclude`; None if there is none."""
        return None

    def closing(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due once no further trial can begin, from a rung that waits for more trials."""
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns whether this trial may be promoted from this level now; by default, whether it is the due one."""
        due = self.promotable()
        return due is not None and (due.trial_id, due.level) == (trial_id, level)

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:  # noqa: B027 - in some races no trial pauses
        """Records that a paused trial was promoted from this level."""

    def withdraw(self, trial_id: int) -> None:  # noqa: B027 - most races keep what the trial has shown
        """Records that a trial ended for good: it is never promoted, but its losses stay in its rungs."""

    def staged(self, level: int, n_trials: int) -> None:  # noqa: B027 - only planned stages have a size
        """Records that the allocation policy planned a stage: so many trials train from this rung to the next."""

    @property
    def has_room(self) -> bool:
        """Whether a new trial may begin; by default always."""
        return True

    def is_wanted(self, trial_id: int) -> bool:
        """Returns whether a trial between two rungs should continue; by default always."""
        return True

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of trials that could still be promoted: deepest level first, then best first."""
        return ()
