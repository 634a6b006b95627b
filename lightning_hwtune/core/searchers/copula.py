"""Losses of different tasks on one scale: the rank of a loss within its task, as a standard normal quantile.

The winsorised Gaussian copula of Salinas, Shen and Perrone, "A quantile-based approach for hyperparameter transfer
learning", ICML 2020 (arXiv 1909.13595), section 4: z = Phi^-1(clip(F(loss), delta, 1 - delta)) with the empirical F and
delta(n) = 1 / (4 n^(1/4) sqrt(pi log n)). Differences: F is (rank - 1/2) / n, so that reversing the order of the losses
reverses the signs. Equal losses share their mean rank, so that a constant objective becomes 0. A loss that is not
finite counts as the worst.

`chained_scores` builds such a scale from trials that were measured at different levels. Violators of a constraint come
behind all feasible trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import TrialRecord

__all__ = ["chained_scores", "copula_scores", "winsor_margin"]

Floats = npt.NDArray[np.float64]


def winsor_margin(n: int) -> float:
    """Returns delta(n), the share cut off at each end of `n` losses; 1/2 for a single one."""
    return min(0.25 / (n**0.25 * math.sqrt(math.pi * math.log(n))), 0.5) if n > 1 else 0.5


def copula_scores(losses: npt.ArrayLike) -> Floats:
    """Returns the scores of one task's losses, column by column; low is good, and 0 is the middle.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; NaN means diverged.
    """
    matrix = np.asarray(losses, dtype=np.float64)
    n = len(matrix)
    if n == 0:
        return matrix
    # takes most of a second to import, and only priors need it
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(np.where(np.isfinite(matrix), matrix, np.inf), axis=0)
    margin = winsor_margin(n)
    scores: Floats = ndtri(((ranks - 0.5) / n).clip(margin, 1 - margin))
    return scores


def chained_scores(trials: Sequence[TrialRecord], objectives: Objectives) -> tuple[list[TrialRecord], Floats]:
    """Returns the trials that a level has judged, and their scores, shape `(n, n_objectives)`; low is good.

    At the lowest level all trials are ranked together. Those that reached the next level are ranked there again, and
    their new scores are given the mean and the spread of their old ones. So later results order these trials among
    themselves, without moving them as a group against the others. This is repeated up to the highest level.
    """
    levels = sorted({level for trial in trials for level in trial.decided})
    scores: dict[int, Floats] = {}
    for level in levels:
        there = [index for index, trial in enumerate(trials) if level in trial.decided and trial.measurements]
        rows = [objectives.loss((trials[i].at(level) or trials[i].measurements[-1]).values) for i in there]
        new = copula_scores(np.array(rows).reshape(-1, len(objectives)))
        known = [place for place, index in enumerate(there) if index in scores]
        if known:
            old = np.array([scores[there[place]] for place in known])
            new = _moved(new, new[known], old)
        scores.update(zip(there, new, strict=True))
    kept = sorted(scores)
    matrix = np.array([scores[i] for i in kept]).reshape(-1, len(objectives))
    is_violating = np.array([objectives.violation(trials[i].measurements[-1].values) > 0 for i in kept], dtype=np.bool_)
    return [trials[i] for i in kept], _behind(matrix, is_violating)


def _behind(scores: Floats, is_violating: npt.NDArray[np.bool_]) -> Floats:
    """Returns the scores, in which violators of a constraint are moved as a group behind all feasible trials."""
    if not is_violating.any() or is_violating.all():
        return scores
    moved = scores.copy()
    moved[is_violating] += scores[~is_violating].max(axis=0) - scores[is_violating].min(axis=0) + 1.0
    return moved


def _moved(scores: Floats, sample: Floats, like: Floats) -> Floats:
    """Returns the scores, moved so that `sample`, which is a part of them, gets the mean and the spread of `like`."""
    spread = sample.std(axis=0)
    scale = np.divide(like.std(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)
    moved: Floats = like.mean(axis=0) + (scores - sample.mean(axis=0)) * scale
    return moved
