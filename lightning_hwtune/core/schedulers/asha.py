"""ASHA: asynchronous successive halving, for one objective or many, with pause and resume.

Li et al., "A system for massively parallel hyperparameter tuning", 2020 (arXiv 1810.05934), algorithm 2. The order of a
rung goes by fronts: Salinas et al., "A multi-objective perspective on jointly tuning hardware and hyperparameters",
2021 (arXiv 2106.05680); Schmucker et al., "Multi-objective asynchronous successive halving", 2021 (arXiv 2106.12639).

type "promotion": a trial pauses at each rung and goes on while it is among the first n // eta of its rung; one that
is so on arrival goes on at once. As trials arrive the order shifts, so that a few more than n // eta are promoted in
all; `strict=True` caps them at n // eta.
type "stopping": on arrival a trial with `position` others before it goes on if position / n <= 1 / eta, counted with
itself; otherwise it ends for ever.

Differences from the papers: losses are scaled per rung before distances are taken (`ranking.within`); ties go to the
lower trial id; a loss that is not finite ranks last and never goes on. With `keep_front` (ours) nobody is stopped whom
no other trial of its rung dominates, whatever the rung's order. An arrival that dominates its rung is first:
it is never stopped, and never paused once n >= eta (unless `strict` and the quota is used up).

Brackets: bracket s begins at level number s and has rungs of its own. A new trial's bracket is drawn with the
proportions of Hyperband (Li et al., "Hyperband", JMLR 2018, algorithm 1), where a bracket with K more rungs above its
first begins with ceil((K_max + 1) / (K + 1) * eta**K) trials: here p_s ~ eta**(K_max - s) / (K_max - s + 1), K_max + 1
levels in all, normalised over the brackets in use.
"""

from __future__ import annotations

import bisect
import copy
import itertools
from collections.abc import Container, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Stop, Verdict
from lightning_hwtune.core.ranking.fronts import is_dominated
from lightning_hwtune.core.ranking.rung import Place, RungRanking
from lightning_hwtune.core.ranking.rung_orders import checked_order, resolved_order
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler
from lightning_hwtune.core.schedulers.rungs import exact_eta, horizon, plain_eta, quota, rung_levels
from lightning_hwtune.errors import ArgumentError, IllegalMoveError
from lightning_hwtune.forms import checked_call

__all__ = ["ASHA"]


@final
class ASHA(Scheduler):
    """Promotes, or stops, on arrival; never waits for a rung to fill.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the lowest level, in the same unit; no trial is judged before it.
        eta: one in eta goes on at each rung. A fraction is allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        brackets: how many races there are; each begins one level higher than the one before.
        type: "promotion" or "stopping".
        strict: with "promotion", never promote more than n // eta trials of a rung in all.
        within: the order of a rung: by fronts, inside them "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".
        keep_front: with "stopping", never stop a member of the rung's front, whatever `within` is. A study with a
            prior sets it: there all arrivals are good, and the rule would stop most of the best ones for ever.
    """

    name: ClassVar[str] = "asha"

    @checked_call("ASHA")
    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        first_rung: int = 1,
        eta: int | float | str | Fraction = 3,
        brackets: int = 1,
        type: str = "promotion",  # noqa: A002 - the word users know
        strict: bool = False,
        within: str = DEFAULT_WITHIN,
        keep_front: bool = False,
    ) -> None:
        self.unit, last = horizon(max_epochs, max_steps, max_samples)
        self.eta = exact_eta(eta)
        self.levels = rung_levels(first_rung, last, self.eta)
        if brackets > len(self.levels):
            raise ArgumentError("brackets", brackets, f"an integer from 1 to {len(self.levels)}, one per rung level")
        if strict and type != "promotion":
            raise ArgumentError("strict", strict, "False, or True with type='promotion'")
        if keep_front and type != "stopping":
            raise ArgumentError("keep_front", keep_front, "False, or True with type='stopping'")
        checked_order(within)
        self.keep_front = keep_front
        self.brackets, self.type, self.strict, self.within = brackets, type, strict, within
        self._shares = _hyperband_shares(self.eta, len(self.levels), brackets)
        self._share_ends = [float(end) for end in itertools.accumulate(self._shares)]
        self._rungs: dict[tuple[int, int], _Rung] = {}
        self._deepest_first: list[_Rung] = []

    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns a copy with empty rungs, for losses of this length."""
        new, order = copy.copy(self), resolved_order(self.within, n_objectives, names)
        new._rungs = {
            (bracket, level): _Rung(level, RungRanking(n_objectives, order), np.empty((0, n_objectives)))
            for bracket in range(self.brackets)
            for level in self.levels[bracket:]
        }
        # those that can be left: deepest level first, there the lowest bracket first
        below = [rung for rung in new._rungs.values() if rung.level < self.max_resource]
        new._deepest_first = sorted(below, key=lambda rung: -rung.level)
        return new

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns a bracket, drawn with Hyperband's proportions."""
        return min(bisect.bisect_right(self._share_ends, rng.random()), self.brackets - 1)

    def first_target(self, bracket: int) -> int:
        """Returns the bracket's lowest level."""
        return self.levels[bracket]

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what should happen if this trial came to this level with this loss now."""
        if level >= self.max_resource:
            return Stop(Reason("max-resource", f"trained to the full {self.max_resource} {self.unit}"))
        rung = self._rung(bracket, level)
        n_go_on = self._n_go_on(len(rung.ranking) + 1)
        place = rung.ranking.arrival(trial_id, loss, n_go_on)
        if self.type == "stopping":
            if self.keep_front and not place.is_in and rung.has_in_front(loss):
                text = f"{_standing(level, place)}, front members are kept"
                return Continue(Reason("front", text, place.standing))
            return Continue(_reason(level, place, n_go_on)) if place.is_in else Stop(_reason(level, place, n_go_on))
        if place.is_in and self._is_used_up(rung, n_go_on):
            text = f"{_standing(level, place)}, all {n_go_on} places are taken"
            return Pause(Reason("strict", text, place.standing))
        return Continue(_reason(level, place, n_go_on)) if place.is_in else Pause(_reason(level, place, n_go_on))

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """A trial came to a level, and `kind` was decided: "continue" (it goes on at once), "pause" or "stop"."""
        rung = self._rung(bracket, level)
        rung.ranking.insert(trial_id, loss)
        if self.keep_front:
            rung.widen_front(loss)
        if kind != "pause" or level >= self.max_resource:
            rung.ranking.shut(trial_id)
            rung.n_promoted += kind == "continue"

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due: deepest level first, there the best; never one of `exclude`."""
        for rung in self._deepest_first:
            n_go_on = self._n_go_on(len(rung.ranking))
            if self.type == "stopping" or self._is_used_up(rung, n_go_on):
                continue
            trial_id = rung.ranking.first_open(n_go_on, exclude)
            if trial_id is not None:
                reason = _reason(rung.level, rung.ranking.place(trial_id, n_go_on), n_go_on)
                return Promotion(trial_id, rung.level, self.next_target(0, rung.level), reason)
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial may be promoted from this level now."""
        rungs = (rung for rung in self._deepest_first if rung.level == level and trial_id in rung.ranking)
        return self.type == "promotion" and any(
            not self._is_used_up(rung, n_go_on) and rung.ranking.is_open_among(trial_id, n_go_on)
            for rung in rungs
            for n_go_on in [self._n_go_on(len(rung.ranking))]
        )

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """A paused trial was promoted from this level."""
        rung = self._rung(bracket, level)
        rung.ranking.shut(trial_id)
        rung.n_promoted += 1

    def withdraw(self, trial_id: int) -> None:
        """A trial ended for good: it is never promoted, and what it showed stays in its rungs."""
        for rung in self._rungs.values():
            rung.ranking.shut(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of those that might still be promoted: deepest level first, best first there."""
        return [(trial_id, rung.level) for rung in self._deepest_first for trial_id in rung.ranking.open_order()]

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)`; see the module's docstring for who goes on.

        With "promotion" that is n // eta of each rung, a lower bound unless `strict`: with one objective about an
        eighth more go on while the order shifts, with several a quarter to a half. With "stopping" it is the mean over
        all orders of arrival.
        """
        totals = dict.fromkeys(self.levels, 0)
        for bracket, n_left in enumerate(self._divided(n_trials)):
            for level in self.levels[:bracket]:
                totals[level] += n_left  # passes below its own first rung
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
        """What the expected numbers are of the real ones."""
        if self.type == "stopping":
            return "about"
        return "" if self.strict else "at least"

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "name": self.name,
            f"max_{self.unit}": self.max_resource,
            "first_rung": self.levels[0],
            "eta": plain_eta(self.eta),
            "brackets": self.brackets,
            "type": self.type,
            "strict": self.strict,
            "within": self.within,
            **({"keep_front": True} if self.keep_front else {}),
        }

    def keeping_front(self) -> Self:
        """Returns these settings, with `keep_front` if trials are stopped."""
        if self.type != "stopping" or self.keep_front:
            return self
        new = copy.copy(self)
        new.keep_front = True
        return new

    def _n_go_on(self, n_trials: int) -> int:
        """How many of a rung's trials go on: promotion n // eta; stopping those whose position / n <= 1 / eta."""
        return quota(n_trials, self.eta) + (self.type == "stopping")

    def _n_expected(self, n_trials: int) -> int:
        """How many of a rung's trials go on in the end."""
        if self.type == "promotion":
            return quota(n_trials, self.eta)
        # arrival number n is at each of the positions 0 to n - 1 with the same probability
        return round(sum(self._n_go_on(n) / n for n in range(1, n_trials + 1)))

    def _is_used_up(self, rung: _Rung, n_go_on: int) -> bool:
        return self.strict and rung.n_promoted >= n_go_on

    def _rung(self, bracket: int, level: int) -> _Rung:
        if not self._rungs:
            raise IllegalMoveError("this scheduler holds settings only; a study works with its fresh(n_objectives)")
        return self._rungs[bracket, level]

    def _divided(self, n_trials: int) -> list[int]:
        """Returns whole numbers of trials for each bracket, by largest remainder."""
        exact = [share * n_trials for share in self._shares]
        counts = [int(number) for number in exact]
        by_remainder = sorted(range(len(exact)), key=lambda s: (counts[s] - exact[s], s))
        for bracket in by_remainder[: n_trials - sum(counts)]:
            counts[bracket] += 1
        return counts


class _Rung:
    """One rung of one bracket.

    Attributes:
        front: losses of its trials that no other dominates, each once, `(n_points, n_objectives)`; of `keep_front`.
    """

    __slots__ = ("front", "level", "n_promoted", "ranking")

    def __init__(self, level: int, ranking: RungRanking, front: npt.NDArray[np.float64]) -> None:
        self.level, self.ranking, self.front = level, ranking, front
        self.n_promoted = 0

    def has_in_front(self, loss: npt.NDArray[np.float64]) -> bool:
        """Tells whether a finite loss is one that no trial here dominates."""
        return bool(np.isfinite(loss).all()) and not is_dominated(loss, self.front)

    def widen_front(self, loss: npt.NDArray[np.float64]) -> None:
        """A loss arrives; those that it dominates are no front members any more."""
        if self.has_in_front(loss):
            self.front = np.vstack([self.front[(self.front < loss).any(axis=1)], loss])


def _hyperband_shares(eta: Fraction, n_levels: int, n_brackets: int) -> list[Fraction]:
    """Returns each bracket's share of the trials; see the module's docstring."""
    weights = [eta**n_above / (n_above + 1) for n_above in range(n_levels - 1, n_levels - 1 - n_brackets, -1)]
    return [weight / sum(weights) for weight in weights]


def _standing(level: int, place: Place) -> str:
    """Returns "rank 2 of 27 at rung 3 (front 0)"; ranks count from 1 here."""
    rank = f"rank {place.first + 1}" if place.first == place.last else f"ranks {place.first + 1} to {place.last + 1}"
    front = f" (front {place.front})" if place.front is not None else ""
    return f"{rank} of {place.n_trials} at rung {level}{front}"


def _reason(level: int, place: Place, n_go_on: int) -> Reason:
    if not place.is_finite:
        return Reason("not-finite", f"{_standing(level, place)}: a loss is not finite", place.standing)
    return Reason(
        "promotion" if place.is_in else "quota",
        f"{_standing(level, place)}, {n_go_on} {'goes' if n_go_on == 1 else 'go'} on",
        place.standing,
    )
