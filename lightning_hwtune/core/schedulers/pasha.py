"""PASHA: asynchronous successive halving whose ladder grows only while its two top rungs disagree.

Bohdal et al., "PASHA: efficient HPO and NAS with progressive resource allocation", ICLR 2023 (arXiv 2207.06940),
algorithm 1, in the form of the authors' code: the ladder begins with two rungs, on which trials are promoted as in
ASHA. A trial that reaches the top rung of the ladder waits. On every report the two top rungs are compared
(`ranking.soft`): while the order of the trials on both differs by more than the noise of the curves, the ladder grows
by one rung, at most up to the full training.

With several objectives, the two rungs are compared by non-dominated fronts, with a separate noise for each objective;
this is ours, not the paper's. Rungs are ordered as in `ASHA`.

Differences from the authors' code:
- n // eta trials of a rung are promoted, so that only the ladder differs from `ASHA`. `quota="quantile"` is the
  authors' rule, also for their ASHA: the trials that are not worse than the quantile q of the rung are promoted, with
  q = level / next level. It promotes up to one more trial per rung, which is expensive in the highest rungs. Quantiles
  are counted, not interpolated: of n >= 2 trials the first floor((n - 1) q) + 1, which are those at or below numpy's
  linear quantile. Ties go to the lower id, whereas the authors' code promotes all equal trials;
- a trial that is among those on arrival continues at once, instead of pausing first. So a deeper promotion that has
  just become due, because the ladder grew, waits for the next free worker. That saves a checkpoint and a restart, and
  with one worker the order of promotions is the same;
- a trial with a loss that is not finite ranks last, is never promoted, and is ignored in the comparison; the authors'
  code raises an error;
- noise is estimated from feasible reports only. The order of violators, and whether a trial is one, has no noise;
- at least three levels are required, including the full training, as a ladder with fewer cannot grow;
- once the ladder has reached the full training, nothing is compared any more.

Noise is estimated from every report, so trials should report at the same resources: every epoch. If no reports share a
resource, epsilon stays 0, and every difference in order counts.

Finishers and forecasts refer to the full training. Which rungs will be needed is not known beforehand, so `expected`
returns the quotas of the whole ladder. They are not a bound: more trials are promoted while the order shifts, and no
trial reaches rungs beyond the ladder. A study trains `finishers` trials to the end once nothing else is left. With
`finishers=0` it trains no trial beyond the ladder, as in the paper, which trains the chosen configuration afterwards.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Rule, Verdict, VerdictKind
from lightning_hwtune.core.feasibility import is_violator
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.rung_orders import resolved_order
from lightning_hwtune.core.ranking.soft_ranking import CrissCross, orders_agree
from lightning_hwtune.core.schedulers.base import Promotion, Race, RungScheduler
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.schedulers.standings import place_reason
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.text import counted

__all__ = ["PASHA", "GrowingRace"]


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False, kw_only=True)
class PASHA(RungScheduler):
    """Promotes on arrival, along a ladder that grows only while the order of its top rungs still changes.

    The settings are those of `RungScheduler`, and this one:

    Args:
        quota: how many of n trials are promoted: "floor" for n // eta as in `ASHA`, or "quantile", the authors' rule.

    Examples:
        >>> hwt.PASHA(max_epochs=27).levels
        (1, 3, 9, 27)
    """

    name: ClassVar[str] = "pasha"
    quota: str = "floor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.levels) < 3:
            first = self.levels[0]
            least = max(int(first * self.ladder.eta), first + 1)
            raise ArgumentError(
                f"max_{self.unit}",
                self.max_resource,
                f"a full training of more than {counted(least, self.unit)}",
                hint=f"PASHA needs three rungs to grow, but has only {', '.join(map(str, self.levels))}. Use ASHA.",
            )

    def start(self, objectives: Objectives) -> Race:
        """Returns a race with a ladder of two empty rungs."""
        return GrowingRace(self, objectives)

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)` from the quotas of the whole ladder."""
        totals = []
        for level in self.levels:
            totals.append((level, n_trials))
            n_trials = n_promoted(self.ladder, self.quota, level, n_trials)
        return tuple(totals)

    @property
    def bound(self) -> str:
        """How the expected numbers relate to the real ones; see `Scheduler.bound`."""
        return "about"


@final
class GrowingRace(Race):
    """The rungs up to the top of the ladder, and the comparison of its two top rungs.

    Args:
        is_whole: whether the ladder is complete from the beginning and rungs are never compared.
    """

    def __init__(self, settings: PASHA, objectives: Objectives, *, is_whole: bool = False) -> None:
        super().__init__(settings.ladder)
        n_objectives = len(objectives)
        order = resolved_order(settings.within, n_objectives, objectives.names)
        self._quota = settings.quota
        self._rungs = {level: RungRanking(n_objectives, order) for level in self.levels}
        self._losses: dict[int, dict[int, npt.NDArray[np.float64]]] = {level: {} for level in self.levels}
        self._top = len(self.levels) - 1 if is_whole else 1
        self._noise, self._curves = np.zeros(n_objectives), CrissCross(n_objectives)
        self._compared: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], bool] | None = None

    @property
    def cap(self) -> int:
        """The level of the ladder's top rung, beyond which no trial is promoted yet."""
        return self.levels[self._top]

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Continue for a trial that is promoted on arrival, otherwise Pause."""
        rung = self._rungs[level]
        n_next = self._n_promoted(level, len(rung) + 1)
        place = rung.arrival(trial_id, loss, n_next)
        reason = place_reason(level, place, n_next)
        if level >= self.cap:
            text = f"{reason.text}; the ladder ends here while its two top rungs agree"
            return Pause(Reason(Rule.CAP if place.is_finite else reason.rule, text, place.standing))
        return Continue(reason) if place.is_in else Pause(reason)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level and that `kind` was decided: "continue", "pause" or "stop"."""
        rung = self._rungs[level]
        rung.insert(trial_id, loss)
        self._losses[level][trial_id] = np.array(loss, dtype=np.float64)
        self._compared = None
        if kind != VerdictKind.PAUSE or level >= self.max_resource:
            rung.shut(trial_id)

    def observe(self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]) -> None:
        """Records a report: updates the noise estimate, and extends the ladder if its two top rungs disagree."""
        if self.cap >= self.max_resource:
            return
        if resource <= self.cap:  # beyond it, only finishers report
            is_feasible = not is_violator(np.ravel(loss).tolist())
            self._curves.observe(trial_id, resource, loss if is_feasible else np.full(len(self._noise), np.nan))
        if not self._agree():
            self._noise = self._estimate()
            self._top += 1
            self._compared = None

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the due promotion, the best of the deepest level, leaving out `exclude`; None if there is none."""
        for level in reversed(self.levels[: self._top]):
            rung = self._rungs[level]
            n_next = self._n_promoted(level, len(rung))
            trial_id = rung.first_open(n_next, exclude)
            if trial_id is not None:
                reason = place_reason(level, rung.place(trial_id, n_next), n_next)
                return Promotion(trial_id, level, self.ladder.above(level), reason)
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns whether this trial may be promoted from this level now."""
        if level not in self.levels[: self._top]:
            return False
        rung = self._rungs[level]
        return rung.is_open_among(trial_id, self._n_promoted(level, len(rung)))

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Records that a paused trial was promoted from this level."""
        self._rungs[level].shut(trial_id)

    def withdraw(self, trial_id: int) -> None:
        """Records that a trial ended for good: it is never promoted, but its losses stay in its rungs."""
        for rung in self._rungs.values():
            rung.shut(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of trials that could still be promoted: deepest level first, then best first."""
        below = [level for level in reversed(self._rungs) if level < self.max_resource]
        return [(trial_id, level) for level in below for trial_id in self._rungs[level].open_order()]

    def _agree(self) -> bool:
        """Returns whether the two top rungs give the trials of the upper one the same order, up to noise."""
        if self._compared is None:
            above, below = self._losses[self.cap], self._losses[self.levels[self._top - 1]]
            ids = sorted(trial_id for trial_id in above if trial_id in below)
            shape = (len(ids), len(self._noise))
            lower, upper = (np.reshape([losses[i] for i in ids], shape) for losses in (below, above))
            self._compared = lower, upper, orders_agree(lower, upper, np.zeros(len(self._noise)))
        lower, upper, is_exact = self._compared
        return is_exact or orders_agree(lower, upper, self._estimate())

    def _estimate(self) -> npt.NDArray[np.float64]:
        """Returns each objective's noise beyond the lower of the two top rungs; the last known one if there is none."""
        found = self._curves.noise(above=self.levels[self._top - 1])
        return np.where(np.isnan(found), self._noise, found)

    def _n_promoted(self, level: int, n_trials: int) -> int:
        return n_promoted(self.ladder, self._quota, level, n_trials)


def n_promoted(ladder: Ladder, quota: str, level: int, n_trials: int) -> int:
    """Returns how many trials of a rung are promoted: as in ASHA, or those up to the quantile (0 of a single trial)."""
    if quota == "floor":
        return ladder.quota(n_trials)
    return (n_trials - 1) * level // ladder.above(level) + 1 if n_trials > 1 else 0
