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
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.memory import Memory

__all__ = ["chained", "chained_scores", "copula_scores", "light_scores", "violators_behind", "winsor_margin"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_QUANTILE = np.frompyfunc(NormalDist().inv_cdf, 1, 1)


def winsor_margin(n: int) -> float:
    """Returns delta(n), the share cut off at each end of `n` losses; 1/2 for a single one."""
    return min(0.25 / (n**0.25 * math.sqrt(math.pi * math.log(n))), 0.5) if n > 1 else 0.5


def copula_scores(losses: npt.ArrayLike) -> Floats:
    """Returns the scores of one task's losses, column by column; low is good, and 0 is the middle.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; NaN means diverged.
    """
    from scipy.special import ndtri  # takes a quarter of a second to import, and only priors need it

    shares = _shares(np.asarray(losses, dtype=np.float64))
    return np.asarray(ndtri(shares)) if len(shares) else shares


def light_scores(losses: npt.ArrayLike) -> Floats:
    """Returns the same scores without scipy; they may differ in the last digit."""
    shares = _shares(np.asarray(losses, dtype=np.float64))
    return np.asarray(_QUANTILE(shares), dtype=np.float64)


def _shares(matrix: Floats) -> Floats:
    """Returns F(loss), clipped at both ends."""
    if not len(matrix):
        return matrix
    ranks = np.column_stack([_mean_ranks(column) for column in np.where(np.isfinite(matrix), matrix, np.inf).T])
    margin = winsor_margin(len(matrix))
    shares: Floats = ((ranks - 0.5) / len(matrix)).clip(margin, 1 - margin)
    return shares


def chained_scores(trials: Sequence[TrialRecord], objectives: Objectives) -> tuple[list[TrialRecord], Floats]:
    """Returns the trials that a level has judged, and their scores, shape `(n, n_objectives)`; low is good.

    At the lowest level all trials are ranked together. Those that reached the next level are ranked there again, and
    their new scores are given the mean and the spread of their old ones. So later results order these trials among
    themselves, without moving them as a group against the others. This is repeated up to the highest level.
    """
    rungs = Memory().rungs(trials, objectives)
    scores = chained(rungs, len(trials), len(objectives))
    places = np.flatnonzero(~np.isnan(scores[:, 0]))
    kept = [trials[place] for place in places.tolist()]
    return kept, violators_behind(kept, objectives, scores[places])


def chained(
    rungs: Mapping[int, tuple[Places, Floats]],
    n_trials: int,
    n_objectives: int,
    score: Callable[[Floats], Floats] = copula_scores,
) -> Floats:
    """Returns the scores of all trials, shape `(n_trials, n_objectives)`; NaN for a trial that no level has judged.

    Args:
        rungs: level -> the places of the trials that it has judged, and their losses, in ascending order of levels.
        score: gives the scores of the losses at one level.
    """
    scores = np.full((n_trials, n_objectives), np.nan)
    for places, losses in rungs.values():
        new, old = score(losses), scores[places]
        is_known = ~np.isnan(old[:, 0])
        scores[places] = _moved(new, new[is_known], old[is_known]) if is_known.any() else new
    return scores


def violators_behind(trials: Sequence[TrialRecord], objectives: Objectives, scores: Floats) -> Floats:
    """Returns the scores of judged trials, with violators of a constraint moved as a group behind all feasible ones."""
    if not objectives.bounds:
        return scores
    violations = [objectives.violation(trial.measurements[-1].values) for trial in trials]
    is_violating = np.array(violations, dtype=np.float64) > 0
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


def _mean_ranks(column: Floats) -> Floats:
    """Returns the ranks, from 1; equal values share their mean rank."""
    _, places, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks
