"""ASHA: asynchronous successive halving, for one objective or many, with pause and resume.

Li et al., "A system for massively parallel hyperparameter tuning", 2020 (arXiv 1810.05934), algorithm 2. A rung is
ordered by fronts: Salinas et al., "A multi-objective perspective on jointly tuning hardware and hyperparameters", 2021
(arXiv 2106.05680); Schmucker et al., "Multi-objective asynchronous successive halving", 2021 (arXiv 2106.12639).

type "promotion": a trial pauses at each rung and may continue while it is among the first n // eta of its rung. A trial
that is among them on arrival continues at once. The order shifts as trials arrive, so slightly more than n // eta are
promoted in total; `strict=True` caps them at n // eta.
type "stopping": an arriving trial with `position` others before it continues if position / n <= 1 / eta, where n
includes the trial itself. Otherwise it ends for good.

Differences from the papers: losses are scaled per rung before distances are taken (`ranking.within`). Ties go to the
lower trial id. A trial with a loss that is not finite ranks last and is never promoted. With `keep_front` (ours), a
trial is never stopped if no other trial of its rung dominates it, whatever the rung's order. An arrival that dominates
its rung ranks first: it is never stopped, and is never paused once n >= eta (unless `strict` and the quota is used up).

Brackets: bracket s begins at level number s and has its own rungs. The bracket of a new trial is drawn with the
proportions of Hyperband (Li et al., "Hyperband", JMLR 2018, algorithm 1), where a bracket with K more rungs above its
first begins with ceil((K_max + 1) / (K + 1) * eta**K) trials. Here p_s ~ eta**(K_max - s) / (K_max - s + 1), with
K_max + 1 levels in total, normalised over the brackets in use.
"""

from __future__ import annotations

import abc
import bisect
import dataclasses
import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Rule, Stop, Verdict, VerdictKind
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.fronts import is_dominated
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.rung_orders import resolved_order
from lightning_hwtune.core.schedulers.base import Promotion, Race, RungScheduler
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.standings import place_reason, standing
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class

__all__ = ["ASHA"]


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False, kw_only=True)
class ASHA(RungScheduler):
    """Promotes or stops trials on arrival; never waits for a rung to fill.

    The settings are those of `RungScheduler`, and these. Without a `first_rung`, a study chooses it when it begins, and
    trains its first trials to the end without a pause (`core.ladder_choice`). Outside a study it is then 1.

    Args:
        brackets: the number of races; each begins one level higher than the one before. None: chosen with the
            `first_rung`, or 1 if that is given.
        eta: one in eta trials is promoted at each rung. Fractions are allowed and exact: 2.5, Fraction(5, 2) or "5/2".
            None: chosen with the `first_rung`, or 3 if that is given.
        type: "promotion" or "stopping".
        strict: with "promotion", never promote more than n // eta trials of a rung in total.
        keep_front: with "stopping", never stop a member of the rung's front, whatever `within` is. A study with a
            prior sets this: all of its arrivals are good, and otherwise most of the best ones would be stopped.

    Examples:
        >>> hwt.ASHA(max_epochs=27).levels
        (1, 3, 9, 27)
        >>> hwt.ASHA(max_steps=1000, first_rung=100, eta="5/2").levels
        (100, 250, 625, 1000)
    """

    name: ClassVar[str] = "asha"
    first_rung: int | None = None
    brackets: int | None = None
    eta: int | float | str | Fraction | None = None
    type: str = "promotion"
    strict: bool = False
    keep_front: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_rung is not None:
            object.__setattr__(self, "brackets", self.brackets or 1)
            object.__setattr__(self, "eta", self.ladder.eta)
        n_levels = len(self.levels)
        if self.n_brackets > n_levels:
            raise ArgumentError("brackets", self.brackets, f"an integer from 1 to {n_levels}, one per rung level")
        if self.strict and self.type != "promotion":
            raise ArgumentError("strict", self.strict, "False, or True with type='promotion'")
        if self.keep_front and self.type != "stopping":
            raise ArgumentError("keep_front", self.keep_front, "False, or True with type='stopping'")

    def start(self, objectives: Objectives) -> Race:
        """Returns a race with empty rungs."""
        return _Promoting(self, objectives) if self.type == "promotion" else _Stopping(self, objectives)

    @property
    def n_brackets(self) -> int:
        """The number of races; 1 until the study has chosen it."""
        return self.brackets or 1

    @property
    def open_settings(self) -> tuple[str, ...]:
        """The settings that the study chooses when it begins, of those that are None; none if `first_rung` is given."""
        if self.first_rung is not None:
            return ()
        return tuple(name for name in ("first_rung", "brackets", "eta") if getattr(self, name) is None)

    @property
    def shares(self) -> list[Fraction]:
        """The share of the trials that each bracket gets; see the module's docstring."""
        n_levels = len(self.levels)
        n_above = range(n_levels - 1, n_levels - 1 - self.n_brackets, -1)
        weights = [self.ladder.eta**n / (n + 1) for n in n_above]
        return [weight / sum(weights) for weight in weights]

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)`; the module's docstring says which are promoted.

        With "promotion" it is n // eta of each rung. This is a lower bound unless `strict`: as the order shifts, about
        an eighth more are promoted with one objective, and a quarter to a half more with several. With "stopping" it is
        the mean over all orders of arrival.
        """
        totals = dict.fromkeys(self.levels, 0)
        for bracket, n_left in enumerate(_divided(n_trials, self.shares)):
            for level in self.levels[:bracket]:
                totals[level] += n_left  # trains past levels below the bracket's first rung
            for level in self.levels[bracket:]:
                totals[level] += n_left
                n_left = self._n_expected(n_left)
        return tuple(totals.items())

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs."""
        return self.type == "promotion"

    @property
    def bound(self) -> str:
        """How the expected numbers relate to the real ones; see `Scheduler.bound`."""
        if self.type == "stopping":
            return "about"
        return "" if self.strict else "at least"

    def keeping_front(self) -> Self:
        """Returns these settings, with `keep_front` if trials are stopped."""
        if self.type != "stopping" or self.keep_front:
            return self
        return dataclasses.replace(self, keep_front=True)

    def _n_expected(self, n_trials: int) -> int:
        """Returns how many of a rung's trials are expected to continue."""
        if self.type == "promotion":
            return self.ladder.quota(n_trials)
        # arrival number n is at each of the positions 0 to n - 1 with the same probability
        return round(sum(_n_kept(self.ladder, n) / n for n in range(1, n_trials + 1)))


class _AshaRace(Race, abc.ABC):
    """The rungs of one or more brackets; the bracket of each new trial is drawn."""

    def __init__(self, settings: ASHA, objectives: Objectives) -> None:
        super().__init__(settings.ladder)
        n_objectives = len(objectives)
        order = resolved_order(settings.within, n_objectives, objectives.names)
        self._share_ends = [float(end) for end in itertools.accumulate(settings.shares)]
        self._rungs = {
            (bracket, level): _Rung(level, RungRanking(n_objectives, order), np.empty((0, n_objectives)))
            for bracket in range(settings.n_brackets)
            for level in self.levels[bracket:]
        }
        # the rungs with a level above them: deepest level first, lowest bracket first within a level
        below = [rung for rung in self._rungs.values() if rung.level < self.max_resource]
        self._deepest_first = sorted(below, key=lambda rung: -rung.level)

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns a bracket, drawn with Hyperband's proportions."""
        return min(bisect.bisect_right(self._share_ends, rng.random()), len(self._share_ends) - 1)

    def first_target(self, bracket: int) -> int:
        """Returns the bracket's lowest level."""
        return self.levels[bracket]

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level and that `kind` was decided: "continue", "pause" or "stop"."""
        rung = self._rungs[bracket, level]
        rung.ranking.insert(trial_id, loss)
        if kind != VerdictKind.PAUSE or level >= self.max_resource:
            rung.ranking.shut(trial_id)
            rung.n_promoted += kind == VerdictKind.CONTINUE

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Records that a paused trial was promoted from this level."""
        rung = self._rungs[bracket, level]
        rung.ranking.shut(trial_id)
        rung.n_promoted += 1

    def withdraw(self, trial_id: int) -> None:
        """Records that a trial ended for good: it is never promoted, but its losses stay in its rungs."""
        for rung in self._rungs.values():
            rung.ranking.shut(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of trials that could still be promoted: deepest level first, then best first."""
        return [(trial_id, rung.level) for rung in self._deepest_first for trial_id in rung.ranking.open_order()]


@final
class _Promoting(_AshaRace):
    """The race of type "promotion"."""

    def __init__(self, settings: ASHA, objectives: Objectives) -> None:
        super().__init__(settings, objectives)
        self._is_strict = settings.strict

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Continue for a trial among the first n // eta, otherwise Pause."""
        rung = self._rungs[bracket, level]
        n_promoted = self.ladder.quota(len(rung.ranking) + 1)
        place = rung.ranking.arrival(trial_id, loss, n_promoted)
        if place.is_in and self._is_used_up(rung, n_promoted):
            places = "the only place is" if n_promoted == 1 else f"all {n_promoted} places are"
            text = f"{standing(level, place)}; {places} taken"
            return Pause(Reason(Rule.STRICT, text, place.standing))
        reason = place_reason(level, place, n_promoted)
        return Continue(reason) if place.is_in else Pause(reason)

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the due promotion, the best of the deepest level, leaving out `exclude`; None if there is none."""
        for rung in self._deepest_first:
            n_promoted = self.ladder.quota(len(rung.ranking))
            if self._is_used_up(rung, n_promoted):
                continue
            trial_id = rung.ranking.first_open(n_promoted, exclude)
            if trial_id is not None:
                reason = place_reason(rung.level, rung.ranking.place(trial_id, n_promoted), n_promoted)
                return Promotion(trial_id, rung.level, self.ladder.above(rung.level), reason)
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns whether this trial may be promoted from this level now."""
        rungs = (rung for rung in self._deepest_first if rung.level == level and trial_id in rung.ranking)
        return any(
            not self._is_used_up(rung, n_promoted) and rung.ranking.is_open_among(trial_id, n_promoted)
            for rung in rungs
            for n_promoted in [self.ladder.quota(len(rung.ranking))]
        )

    def _is_used_up(self, rung: _Rung, n_promoted: int) -> bool:
        return self._is_strict and rung.n_promoted >= n_promoted


@final
class _Stopping(_AshaRace):
    """The race of type "stopping"."""

    def __init__(self, settings: ASHA, objectives: Objectives) -> None:
        super().__init__(settings, objectives)
        self._keeps_front = settings.keep_front

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Continue for a trial among the first ones, otherwise Stop."""
        rung = self._rungs[bracket, level]
        n_kept = _n_kept(self.ladder, len(rung.ranking) + 1)
        place = rung.ranking.arrival(trial_id, loss, n_kept)
        if self._keeps_front and not place.is_in and rung.has_in_front(loss):
            text = f"{standing(level, place)}; trials on the front of a rung are kept"
            return Continue(Reason(Rule.FRONT, text, place.standing))
        reason = place_reason(level, place, n_kept)
        return Continue(reason) if place.is_in else Stop(reason)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level and that `kind` was decided."""
        super().record(trial_id, bracket, level, loss, kind)
        if self._keeps_front:
            self._rungs[bracket, level].widen_front(loss)


class _Rung:
    """One rung of one bracket.

    Attributes:
        front: with `keep_front`, the distinct losses of its non-dominated trials, shape `(n_points, n_objectives)`.
    """

    __slots__ = ("front", "level", "n_promoted", "ranking")

    def __init__(self, level: int, ranking: RungRanking, front: npt.NDArray[np.float64]) -> None:
        self.level, self.ranking, self.front = level, ranking, front
        self.n_promoted = 0

    def has_in_front(self, loss: npt.NDArray[np.float64]) -> bool:
        """Returns whether no trial here dominates a finite loss."""
        return bool(np.isfinite(loss).all()) and not is_dominated(loss, self.front)

    def widen_front(self, loss: npt.NDArray[np.float64]) -> None:
        """Adds a loss to the front and removes those that it dominates."""
        if self.has_in_front(loss):
            self.front = np.vstack([self.front[(self.front < loss).any(axis=1)], loss])


def _n_kept(ladder: Ladder, n_trials: int) -> int:
    """Returns how many trials of a rung are not stopped: those with position / n <= 1 / eta, positions from 0."""
    return ladder.quota(n_trials) + 1


def _divided(n_trials: int, shares: Sequence[Fraction]) -> list[int]:
    """Returns an integer number of trials for each bracket, by largest remainder."""
    exact = [share * n_trials for share in shares]
    counts = [int(number) for number in exact]
    by_remainder = sorted(range(len(exact)), key=lambda s: (counts[s] - exact[s], s))
    for bracket in by_remainder[: n_trials - sum(counts)]:
        counts[bracket] += 1
    return counts
