"""The median stopping rule: a trial is stopped when it is worse than the median of the others so far.

Golovin et al., "Google Vizier: a service for black-box optimization", KDD 2017, section 3.2.2: a trial is stopped at
step s if its best value up to s is strictly worse than the median of the others' running averages up to s. A running
average is the mean of all values that a trial reported up to s. Trials never pause: a stopped trial has ended for good.

Differences from the paper: all other trials that reached s count, ended or not, because in an asynchronous study hardly
any trial has ended early on. No trial is stopped until `min_trials` others have reached s. A loss that is not finite
ends its trial at a level and does not count for others; between levels it is left out of the average. With several
objectives (ours), a trial is stopped if its running average is strictly worse than the median in *every* objective. The
average is used instead of the best value, because training time is always best at the first report. With constraints
(ours), running averages contain the feasible reports only, and a trial whose last report violates a constraint is
compared by its violation, behind all feasible ones.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Continue, Reason, Rule, Stop, Verdict
from lightning_hwtune.core.feasibility import LARGEST_LOSS, is_violator
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Unit
from lightning_hwtune.core.schedulers.base import Race, Scheduler
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.text import counted

__all__ = ["MedianStopping"]

_MAX_LEVELS = 100_000  # all levels are kept in memory


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False, kw_only=True)
class MedianStopping(Scheduler):
    """Stops trials that are worse than the median of the others' running averages; meant for comparisons.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the first level at which trials are judged, in the same unit.
        every: the distance from one level to the next, in the same unit.
        min_trials: how many others must have reached a level before any trial is stopped there.

    Examples:
        >>> hwt.MedianStopping(max_epochs=10, first_rung=4, every=2).levels
        (4, 6, 8, 10)
    """

    name: ClassVar[str] = "median_stopping"
    first_rung: int = 1
    every: int = 1
    min_trials: int = 5

    def start(self, objectives: Objectives) -> Race:
        """Returns a race without trials."""
        return _AgainstTheMedian(self)

    def rungs(self, unit: Unit, last: int) -> Ladder:
        """Returns the ladder up to `last`, the full training."""
        first, every = self.first_rung, self.every
        if first > last:
            raise ArgumentError("first_rung", first, f"an integer from 1 to {last}, the full training")
        if (last - first) // every >= _MAX_LEVELS:
            least = (last - first) // _MAX_LEVELS + 1
            raise ArgumentError("every", every, f"at least {least}, so that there are at most {_MAX_LEVELS} levels")
        return Ladder(unit, (*range(first, last, every), last))

    @property
    def pauses(self) -> bool:
        """False, as trials are stopped at rungs and never paused there."""
        return False


@final
class _AgainstTheMedian(Race):
    """The running averages of all trials, and which trials reached which level."""

    def __init__(self, settings: MedianStopping) -> None:
        super().__init__(settings.ladder)
        self._min_trials = settings.min_trials
        self._reports: dict[int, _Reports] = {}
        self._reached: dict[int, list[int]] = {level: [] for level in self.levels}

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Stop for a trial that is worse than the median of the others, otherwise Continue."""
        if not np.isfinite(loss).all():
            return Stop(Reason(Rule.NOT_FINITE, f"a loss at {counted(level, self.unit)} is not finite"))
        others, at = self._others(level), counted(level, self.unit)
        if len(others) < self._min_trials:
            text = f"other trials that have reached {at}: {len(others)}; the rule needs {self._min_trials}"
            return Continue(Reason(Rule.MIN_TRIALS, text))
        own, median = self._reports.get(trial_id, _Reports()).judged_with(loss), np.median(others, axis=0)
        is_worse = bool((own > median).all())
        text = (
            f"than the median of {counted(len(others), 'others')} at {at}: {_numbers(own)} against {_numbers(median)}"
        )
        if is_worse:
            return Stop(Reason(Rule.MEDIAN, f"worse {text}"))
        return Continue(Reason(Rule.MEDIAN, f"not worse {text}"))

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Records that a trial reached a level and that `kind` was decided: "continue", "pause" or "stop"."""
        if np.isfinite(loss).all():
            self._reached[level].append(trial_id)

    def observe(self, trial_id: int, bracket: int, resource: int, loss: npt.NDArray[np.float64]) -> None:
        """Records a report; repeated work does not count twice, and values that are not finite do not count at all."""
        if np.isfinite(loss).all():
            self._reports.setdefault(trial_id, _Reports()).add(resource, loss)

    def _others(self, level: int) -> list[npt.NDArray[np.float64]]:
        """Returns the running averages, up to this level, of all trials that reached it and have reported."""
        return [
            self._reports[trial_id].average_at(level) for trial_id in self._reached[level] if trial_id in self._reports
        ]


class _Reports:
    """A trial's reports so far: the best value of each loss, and what it is compared by after each report."""

    __slots__ = ("best", "compared", "n_feasible", "resources", "sum")

    def __init__(self) -> None:
        self.resources: list[int] = []
        self.compared: list[npt.NDArray[np.float64]] = []  # the running average, or the place of a violator
        self.n_feasible = 0
        self.sum: npt.NDArray[np.float64] | None = None
        self.best: npt.NDArray[np.float64] | float = np.inf

    def add(self, resource: int, loss: npt.NDArray[np.float64]) -> None:
        """Adds a report, unless there is already one at this resource or beyond."""
        if self.resources and resource <= self.resources[-1]:
            return
        self.resources.append(resource)
        if is_violator(loss.tolist()):
            self.compared.append(loss)
            return
        self.sum = self._sum_with(loss)
        self.n_feasible += 1
        self.compared.append(self.sum / self.n_feasible)
        self.best = np.minimum(self.best, loss)

    def average_at(self, level: int) -> npt.NDArray[np.float64]:
        """Returns what counts at the first report at this level or beyond, or at the last one if there is none."""
        return self.compared[min(bisect_left(self.resources, level), len(self.compared) - 1)]

    def judged_with(self, loss: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Returns the vector to compare if this loss is reported now: the best value, or the average if several."""
        if is_violator(loss.tolist()):
            return loss
        return np.minimum(self.best, loss) if len(loss) == 1 else self._sum_with(loss) / (self.n_feasible + 1)

    def _sum_with(self, loss: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.array(loss, dtype=np.float64) if self.sum is None else self.sum + loss


def _numbers(vector: npt.NDArray[np.float64]) -> str:
    """Returns the numbers as text; "infeasible" for a violator, and for a median that at least half of them share."""
    if vector[0] >= LARGEST_LOSS / 2:
        return "infeasible"
    return ", ".join(f"{value:.4g}" for value in vector)
