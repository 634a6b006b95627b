"""What the judged trials of a study say about the predictions of earlier tasks.

A searcher's own draws come from a narrow range, in which even a good model seems to predict nothing. So a pair of them
is never compared. A pair with at least one uniform draw is: if a prior misleads, its draws turn out to be worse than
the uniform ones, which shows sooner than by the uniform draws alone.

The relation of predictions and results is Kendall's rank correlation tau-b over these pairs. sin(tau pi / 2) has the
scale of Spearman's correlation (exactly, for normal values). All pairs of n trials are worth n - 1 observations, as for
Spearman's; m pairs are worth 2 m / n.

Until the prior had the setting `evidence`, only the uniform draws counted, by Spearman's correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

__all__ = ["Evidence", "rank_correlation", "wrong_pairs"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """The results by which predictions are judged.

    Attributes:
        seen: the actual scores of the trials, shape `(n_trials, n_objectives)`.
        compared: which pairs of trials count, shape `(n_trials, n_trials)`; None for all.
    """

    seen: Floats
    compared: Mask | None = None

    @classmethod
    def of_draws(cls, seen: Floats, is_uniform: Mask) -> Self:
        """Returns the evidence of trials, of which pairs with at least one uniform draw count."""
        return cls(seen, is_uniform[:, None] | is_uniform[None, :])

    def __len__(self) -> int:
        """Returns the number of trials."""
        return len(self.seen)

    @property
    def worth(self) -> float:
        """The number of independent observations that the pairs are worth."""
        if self.compared is None:
            return max(len(self) - 1, 0)
        n_pairs = np.triu(self.compared, 1).sum()
        return 2 * float(n_pairs) / max(len(self), 1)

    def correlations(self, expected: Floats) -> Floats:
        """Returns the rank correlation of predictions with the results, per objective; NaN if it is unknown.

        Args:
            expected: shape `(n_trials, n_objectives)`.
        """
        columns = zip(expected.T, self.seen.T, strict=True)
        if self.compared is None:
            found = [rank_correlation(*column) if len(self) > 1 else math.nan for column in columns]
        else:
            found = [_pair_correlation(*column, np.triu(self.compared, 1)) for column in columns]
        return np.array(found)

    def wrong_pairs(self, expected: Floats, drawn: npt.NDArray[np.int64], column: int) -> Floats:
        """Returns how many pairs of a sample each task orders wrongly, shape `(n_tasks,)`; its ties count half.

        Args:
            expected: each task's predictions of this objective, shape `(n_tasks, n_trials)`.
            drawn: the places of the sample, with repetitions. column: the objective.
        """
        of_pairs = wrong_pairs(expected[:, drawn, None], self.seen[drawn][:, [column]])
        counted = of_pairs if self.compared is None else of_pairs * self.compared[np.ix_(drawn, drawn)]
        wrong: Floats = counted.sum(axis=(1, 2))
        return wrong


def wrong_pairs(expected: Floats, seen: Floats) -> Floats:
    """Returns for each task and pair of trials in how many objectives the task orders them wrongly; ties count half.

    Args:
        expected: shape `(n_tasks, n_trials, n_objectives)`. seen: shape `(n_trials, n_objectives)`.
    """
    theirs = np.sign(expected[:, :, None] - expected[:, None, :])
    wrong: Floats = ((1 - theirs * np.sign(seen[:, None] - seen[None, :])) / 2).sum(axis=3)
    return wrong


def _pair_correlation(first: Floats, second: Floats, compared: Mask) -> float:
    """Returns sin(tau pi / 2) over the pairs that are compared; NaN if one of the two is the same in all of them."""
    a, b = (np.sign(values[:, None] - values[None, :])[compared] for values in (first, second))
    norm = math.sqrt(float(np.abs(a).sum() * np.abs(b).sum()))
    return math.sin(math.pi / 2 * float(a @ b) / norm) if norm > 0 else math.nan


def rank_correlation(first: Floats, second: Floats) -> float:
    """Returns the rank correlation (Spearman) of two arrays of one length; NaN if one of the two is constant."""
    from scipy.stats import rankdata  # takes most of a second to import, and only priors need it

    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else math.nan
