"""PASHA: asynchronous successive halving whose ladder grows only while its two top rungs disagree.

Bohdal et al., "PASHA: efficient HPO and NAS with progressive resource allocation", ICLR 2023 (arXiv 2207.06940),
algorithm 1, in the form of the authors' code: the ladder begins with two rungs, on which trials go on as in ASHA; a
trial that comes to the top rung of the ladder waits. On every report the two top rungs are compared (`ranking.soft`):
while the order of the trials that came to both differs by more than the noise of the curves, the ladder grows by one
rung, at last to the full training.

With several objectives the two rungs are compared by non-dominated fronts, each objective with a noise of its own:
ours, not the paper's. Rungs are ordered as in `ASHA`.

Differences from the authors' code:
- n // eta trials of a rung go on, so that nothing but the ladder differs from `ASHA`. `quota="quantile"` is the
  authors' rule, for their ASHA too: those not worse than the quantile q of the rung, q = level / next level. It
  promotes up to one trial a rung more, and those in the highest rungs are the dear ones. Quantiles are counted, not
  interpolated: of n >= 2 trials the first floor((n - 1) q) + 1, which are those at or below numpy's linear quantile;
  ties go to the lower id, where there all equals go on;
- a trial that is among those on arrival goes on at once, instead of pausing first;
- a loss that is not finite ranks last and never goes on, and is no evidence; there it raises;
- at least three levels, the full training included, are required; with fewer there is no ladder to grow;
- once the ladder has reached the full training nothing is compared any more.

Noise is estimated from every report, so trials should report at the same resources: every epoch. Where reports fall
on no common resources epsilon stays 0, and every difference of order counts.

Finishers and forecasts speak of the full training. Which rungs will be needed is not known beforehand, so `expected`
tells the quotas of the whole ladder. They are no bound: more go on while the order shifts, and nobody comes to rungs
that the ladder does not reach. A study trains `finishers` trials to the end once nothing else is left; with
`finishers=0` it trains nobody beyond the ladder, as in the paper, which trains the chosen configuration afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Stop, Verdict
from lightning_hwtune.core.ranking.rung import Place, RungRanking
from lightning_hwtune.core.ranking.rung_orders import checked_order, resolved_order
from lightning_hwtune.core.ranking.soft import CrissCross, orders_agree
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler
from lightning_hwtune.core.schedulers.rungs import exact_eta, horizon, plain_eta, rung_levels
from lightning_hwtune.core.schedulers.rungs import quota as quota_of
from lightning_hwtune.errors import ArgumentError, IllegalMoveError
from lightning_hwtune.forms import checked_call

__all__ = ["PASHA"]


@final
class PASHA(Scheduler):
    """Promotes on arrival along a ladder that grows only as far as the order of its rungs still changes.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the lowest level, in the same unit; no trial is judged before it.
        eta: about one in eta goes on at each rung. A fraction is allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        quota: how many of n trials go on: "floor", n // eta as in `ASHA`, or "quantile", the authors' rule.
        within: the order of a rung: by fronts, inside them "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".
    """

    name: ClassVar[str] = "pasha"

    @checked_call("PASHA")
    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        first_rung: int = 1,
        eta: int | float | str | Fraction = 3,
        quota: str = "floor",
        within: str = DEFAULT_WITHIN,
    ) -> None:
        self.unit, last = horizon(max_epochs, max_steps, max_samples)
        self.eta = exact_eta(eta)
        self.levels = rung_levels(first_rung, last, self.eta)
        if len(self.levels) < 3:
            raise ArgumentError(
                f"max_{self.unit}",
                last,
                f"a full training of more than {max(int(first_rung * self.eta), first_rung + 1)} {self.unit}",
                hint=f"The rungs are {', '.join(map(str, self.levels))}: PASHA needs three to grow; take ASHA.",
            )
        checked_order(within)
        self.quota, self.within = quota, within
        self._rungs: dict[int, RungRanking] = {}
        self._losses: dict[int, dict[int, npt.NDArray[np.float64]]] = {}
        self._top = 1
        self._noise = np.empty(0)
        self._curves = CrissCross(1)
        self._compared: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], bool] | None = None

    @property
    def cap(self) -> int:
        """The level of the ladder's top rung; nobody is promoted beyond it yet."""
        return self.levels[self._top]

    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns a copy with a ladder of two empty rungs, for losses of this length."""
        new, order = copy.copy(self), resolved_order(self.within, n_objectives, names)
        new._rungs = {level: RungRanking(n_objectives, order) for level in self.levels}
        new._losses = {level: {} for level in self.levels}
        new._top, new._noise, new._curves = 1, np.zeros(n_objectives), CrissCross(n_objectives)
        new._compared = None
        return new

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns 0: there is one race."""
        return 0

    def first_target(self, bracket: int) -> int:
        """Returns the lowest level."""
        return self.levels[0]

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what should happen if this trial came to this level with this loss now."""
        if level >= self.max_resource:
            return Stop(Reason("max-resource", f"trained to the full {self.max_resource} {self.unit}"))
        rung = self._rung(level)
        n_go_on = self._n_go_on(level, len(rung) + 1)
        place = rung.arrival(trial_id, loss, n_go_on)
        reason = _reason(level, place, n_go_on)
        if level >= self.cap:
            text = f"{reason.text}; the ladder ends here while its two top rungs agree"
            return Pause(Reason("cap" if place.is_finite else reason.rule, text, place.standing))
        return Continue(reason) if place.is_in else Pause(reason)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """A trial came to a level, and `kind` was decided: "continue" (it goes on at once), "pause" or "stop"."""
        rung = self._rung(level)
        rung.insert(trial_id, loss)
        self._losses[level][trial_id] = np.array(loss, dtype=np.float64)
        self._compared = None
        if kind != "pause" or level >= self.max_resource:
            rung.shut(trial_id)

    def observe(self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]) -> None:
        """A trial reported: the noise is estimated anew, and the ladder grows if its two top rungs disagree."""
        if self.cap >= self.max_resource:
            return
        if resource <= self.cap:  # beyond it only finishers report
            self._curves.observe(trial_id, resource, loss)
        if not self._agree():
            self._noise = self._estimate()
            self._top += 1
            self._compared = None

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that is due: deepest level first, there the best; never one of `exclude`."""
        for level in reversed(self.levels[: self._top]):
            rung = self._rung(level)
            n_go_on = self._n_go_on(level, len(rung))
            trial_id = rung.first_open(n_go_on, exclude)
            if trial_id is not None:
                reason = _reason(level, rung.place(trial_id, n_go_on), n_go_on)
                return Promotion(trial_id, level, self.next_target(0, level), reason)
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether this trial may be promoted from this level now."""
        if level not in self.levels[: self._top]:
            return False
        rung = self._rung(level)
        return rung.is_open_among(trial_id, self._n_go_on(level, len(rung)))

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """A paused trial was promoted from this level."""
        self._rung(level).shut(trial_id)

    def withdraw(self, trial_id: int) -> None:
        """A trial ended for good: it is never promoted, and what it showed stays in its rungs."""
        for rung in self._rungs.values():
            rung.shut(trial_id)

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns `(trial_id, level)` of those that might still be promoted: deepest level first, best first there."""
        below = [level for level in reversed(self._rungs) if level < self.max_resource]
        return [(trial_id, level) for level in below for trial_id in self._rungs[level].open_order()]

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)` by the quotas of the whole ladder."""
        totals = []
        for level in self.levels:
            totals.append((level, n_trials))
            n_trials = self._n_go_on(level, n_trials)
        return tuple(totals)

    @property
    def bound(self) -> str:
        """What the expected numbers are of the real ones."""
        return "about"

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "name": self.name,
            f"max_{self.unit}": self.max_resource,
            "first_rung": self.levels[0],
            "eta": plain_eta(self.eta),
            "quota": self.quota,
            "within": self.within,
        }

    def _agree(self) -> bool:
        """Tells whether the two top rungs give the trials of the upper one the same order, up to noise."""
        if self._compared is None:
            above, below = self._losses[self.cap], self._losses[self.levels[self._top - 1]]
            ids = sorted(trial_id for trial_id in above if trial_id in below)
            shape = (len(ids), len(self._noise))
            lower, upper = (np.reshape([losses[i] for i in ids], shape) for losses in (below, above))
            self._compared = lower, upper, orders_agree(lower, upper, np.zeros(len(self._noise)))
        lower, upper, is_exact = self._compared
        return is_exact or orders_agree(lower, upper, self._estimate())

    def _estimate(self) -> npt.NDArray[np.float64]:
        """Returns each objective's noise beyond the lower of the two top rungs; the last known one if it shows none."""
        found = self._curves.noise(above=self.levels[self._top - 1])
        return np.where(np.isnan(found), self._noise, found)

    def _n_go_on(self, level: int, n_trials: int) -> int:
        """How many of a rung's trials go on: as in ASHA, or those at or below the quantile, and nobody of one."""
        if self.quota == "floor":
            return quota_of(n_trials, self.eta)
        return (n_trials - 1) * level // self.next_target(0, level) + 1 if n_trials > 1 else 0

    def _rung(self, level: int) -> RungRanking:
        if not self._rungs:
            raise IllegalMoveError("this scheduler holds settings only; a study works with its fresh(n_objectives)")
        return self._rungs[level]


def _reason(level: int, place: Place, n_go_on: int) -> Reason:
    rank = f"rank {place.first + 1}" if place.first == place.last else f"ranks {place.first + 1} to {place.last + 1}"
    front = f" (front {place.front})" if place.front is not None else ""
    standing = f"{rank} of {place.n_trials} at rung {level}{front}"
    if not place.is_finite:
        return Reason("not-finite", f"{standing}: a loss is not finite", place.standing)
    rule = "promotion" if place.is_in else "quota"
    return Reason(rule, f"{standing}, {n_go_on} {'goes' if n_go_on == 1 else 'go'} on", place.standing)
