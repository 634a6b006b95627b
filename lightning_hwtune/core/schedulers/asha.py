"""Asynchronous successive halving with any number of objectives.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), 2020, arXiv 1810.05934, algorithm 2;
with several objectives the rung's order is that of Schmucker et al., arXiv 2106.12639: Pareto fronts, then
farthest-first. Type "promotion" is the paper's: a trial pauses at a rung and goes on once it is among the first
`n // eta` of it. Type "stopping" decides once, on arrival, and for ever.

Differences: a trial that is promotable as it reports goes on without a pause; a stopping rule never stops a member of
the first front while that front fits the quota; values are normalised per rung before distances are taken.

A rung's promotions may exceed `n // eta` as its order shifts, as in the paper; `strict` caps them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, final

import numpy as np

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Stop, Verdict
from lightning_hwtune.core.ranking.order import check_strategy
from lightning_hwtune.core.schedulers.base import Loss, Promotion, Scheduler, SchedulerState, horizon
from lightning_hwtune.core.schedulers.rungs import Rung, Standing, rung_levels
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown

__all__ = ["ASHA"]

_NAMES = ("max_epochs", "max_steps", "max_samples", "first_rung", "eta", "brackets", "type", "strict", "within")


@final
class ASHA(Scheduler):
    """Settings of ASHA.

    Args:
        max_epochs, max_steps, max_samples: the full horizon; exactly one of them.
        first_rung: resource of the lowest rung; no trial is judged before it.
        eta: one in eta goes on at each rung; rungs lie a factor eta apart. A number above 1.
        brackets: races with their own rungs, each beginning one level higher than the one before.
        type: "promotion" (pause, promote later) or "stopping" (stop for ever).
        strict: never promote more than `n // eta` trials of a rung.
        within: the order inside a front.

    Raises:
        ArgumentError, RenamedArgumentError: a value or a name that is not allowed.
    """

    name: ClassVar[str] = "asha"

    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        first_rung: int = 1,
        eta: float = 3,
        brackets: int = 1,
        type: str = "promotion",  # noqa: A002 - the agreed public name
        strict: bool = False,
        within: str = "farthest_first",
        **unknown: object,
    ) -> None:
        refuse_unknown("ASHA", unknown, _NAMES)
        self.unit, self.max_resource = horizon(max_epochs, max_steps, max_samples)
        for argument, value in (("first_rung", first_rung), ("brackets", brackets)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(argument, value, "a whole number from 1")
        if isinstance(eta, bool) or not isinstance(eta, int | float) or not 1 < eta < float("inf"):
            raise ArgumentError("eta", eta, "a number above 1")
        if type not in ("promotion", "stopping"):
            raise ArgumentError("type", type, "'promotion' or 'stopping'")
        self.first_rung, self.eta, self.brackets = first_rung, eta, brackets
        self.type, self.strict, self.within = type, bool(strict), check_strategy(within)
        self.levels = rung_levels(first_rung, self.max_resource, Fraction(str(eta)))
        if brackets > len(self.levels):
            raise ArgumentError("brackets", brackets, f"at most {len(self.levels)}, the number of levels {self.levels}")

    def __repr__(self) -> str:
        return f"ASHA({', '.join(f'{key}={value!r}' for key, value in self.settings().items() if key != 'name')})"

    def fresh(self, n_objectives: int) -> SchedulerState:
        """Returns the empty rungs of a new study."""
        return _State(self)

    def bracket_shares(self) -> tuple[float, ...]:
        """Returns the share of trials that each bracket gets.

        As in Hyperband (Li et al., 2018, arXiv 1603.06560, algorithm 1), where bracket s of S begins with
        `ceil(S / (s + 1) * eta^s)` trials, counted from the one that begins at the highest level.
        """
        n = self.brackets
        weights = [n / (n - b) * float(self.eta) ** (n - 1 - b) for b in range(n)]
        return tuple(weight / sum(weights) for weight in weights)

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns (level, trials expected to train to it): `floor(n / eta^k)` of each bracket's trials at its k-th."""
        counts = dict.fromkeys(self.levels, 0)
        for bracket, share in enumerate(self.bracket_shares()):
            n = Fraction(round(n_trials * share))
            for level in self.levels[bracket:]:
                counts[level] += int(n)
                n = Fraction(int(n / Fraction(str(self.eta))))
        return tuple(counts.items())

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "name": self.name,
            f"max_{self.unit}": self.max_resource,
            "first_rung": self.first_rung,
            "eta": self.eta,
            "brackets": self.brackets,
            "type": self.type,
            "strict": self.strict,
            "within": self.within,
        }


@final
@dataclass(slots=True)
class _State(SchedulerState):
    asha: ASHA
    unit: str = field(init=False)
    max_resource: int = field(init=False)
    levels: tuple[int, ...] = field(init=False)
    _rungs: dict[tuple[int, int], Rung] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.unit, self.max_resource, self.levels = self.asha.unit, self.asha.max_resource, self.asha.levels
        for bracket in range(self.asha.brackets):
            for level in self.levels[bracket:]:
                self._rungs[bracket, level] = Rung(level, self.asha.within)

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns a bracket, drawn with `bracket_shares`."""
        shares = self.asha.bracket_shares()
        return int(rng.choice(len(shares), p=shares)) if len(shares) > 1 else 0

    def first_target(self, bracket: int) -> int:
        """Returns the bracket's lowest level."""
        return self.levels[bracket]

    def next_target(self, bracket: int, level: int) -> int:
        """Returns the next level; the last one's is itself."""
        return next((deeper for deeper in self.levels if deeper > level), level)

    def verdict(self, trial_id: int, bracket: int, level: int, loss: Loss) -> Verdict:
        """Returns Continue if the arrival is promotable at once; else Pause, or Stop under the stopping rule."""
        if level >= self.max_resource:
            return Stop(Reason("max-resource", f"trained to the full {self.max_resource} {self.unit}"))
        rung = self._rungs[bracket, level]
        standing = rung.standing(trial_id, loss)
        if self.asha.type == "stopping":
            return self._stopping(level, standing)
        quota = self._quota(standing.n)
        text = _describe(level, standing, quota)
        is_capped = self.asha.strict and len(rung.promoted) >= quota
        if standing.is_finite and standing.place < quota and not is_capped:
            return Continue(Reason("promotion", text))
        return Pause(Reason("promotion", text if standing.is_finite else f"a value is not finite at rung {level}"))

    def _stopping(self, level: int, standing: Standing) -> Verdict:
        """A survivor's place over n is at most 1 / eta; the first arrival always survives."""
        if not standing.is_finite:
            return Stop(Reason("stopping", f"a value is not finite at rung {level}"))
        n_survive = int(standing.n / Fraction(str(self.asha.eta))) + 1
        text = _describe(level, standing, n_survive)
        return (Continue if standing.place < n_survive else Stop)(Reason("stopping", text))

    def _quota(self, n: int) -> int:
        return int(n / Fraction(str(self.asha.eta)))

    def record(self, trial_id: int, bracket: int, level: int, loss: Loss, kind: str) -> None:
        """Takes a report."""
        rung = self._rungs[bracket, level]
        rung.insert(trial_id, loss)
        if level >= self.max_resource or kind == "stop":
            rung.withdrawn.add(trial_id)
        elif kind == "continue":
            rung.promoted.add(trial_id)

    def promotable(self, exclude: Collection[int] = ()) -> Promotion | None:
        """Returns the best trial of the deepest rung that is among its first `n // eta` and was not promoted yet."""
        if self.asha.type == "stopping":
            return None
        for level in reversed(self.levels[:-1]):
            for bracket in range(self.asha.brackets):
                rung = self._rungs.get((bracket, level))
                found = self._first_due(rung, exclude) if rung is not None else None
                if rung is not None and found is not None:
                    quota = self._quota(len(rung))
                    place = rung.order().index(found)
                    text = f"place {place + 1} of {len(rung)} at rung {level}, {quota} go on"
                    return Promotion(found, level, self.next_target(bracket, level), Reason("promotion", text))
        return None

    def _first_due(self, rung: Rung, exclude: Collection[int]) -> int | None:
        quota = self._quota(len(rung))
        if self.asha.strict and len(rung.promoted) >= quota:
            return None
        for trial_id in rung.order()[:quota]:
            if trial_id not in rung.promoted and trial_id not in rung.withdrawn and trial_id not in exclude:
                return trial_id if rung.is_finite(trial_id) else None
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial is among the first of its rung and not promoted yet."""
        for bracket in range(self.asha.brackets):
            rung = self._rungs.get((bracket, level))
            if rung is not None and trial_id in rung.trial_ids:
                others = set(rung.trial_ids) - {trial_id}
                return self.asha.type == "promotion" and self._first_due(rung, others) == trial_id
        return False

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Takes a promotion."""
        self._rungs[bracket, level].promoted.add(trial_id)

    def withdraw(self, trial_id: int) -> None:
        """Marks a trial in every rung where it stands."""
        for rung in self._rungs.values():
            rung.withdrawn.add(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns those that no rung promoted, with finite values; the deepest rung first, in its order."""
        return [
            (trial_id, level)
            for level in reversed(self.levels[:-1])
            for bracket in range(self.asha.brackets)
            if (rung := self._rungs.get((bracket, level))) is not None
            for trial_id in rung.order()
            if trial_id not in rung.promoted and trial_id not in rung.withdrawn and rung.is_finite(trial_id)
        ]


def _describe(level: int, standing: Standing, quota: int) -> str:
    return f"place {standing.place + 1} of {standing.n} at rung {level} (front {standing.front}), {quota} go on"
