"""How far earlier tasks are believed, and which of them: judged by how they rank what a study showed.

Both rules look at uniform draws only. A prior's own draws have a restricted range, in which a good prior looks bad.

Weights. For each objective, r is the rank correlation (Spearman) of what the tasks together expect with what n draws
showed; it is worth n - 1, as its variance without a relation is 1 / (n - 1). A few draws say little about one objective
alone, and tasks that mislead in one tend to mislead in all; so an estimate is drawn towards that of all m objectives,
and this one towards what is believed in advance: pooled = (n0 r0 + (n - 1) sum(r)) / (n0 + (n - 1) m), estimate =
(n1 pooled + (n - 1) r) / (n1 + n - 1). The weight is the estimate over `_ENOUGH`, within [0, 1].

Picks. After Feurer, Letham and Bakshy, "Scalable meta-learning for Bayesian optimization using ranking-weighted
Gaussian process ensembles", 2018 (arXiv 1802.02219): draws are taken with replacement, and the task is picked that
puts the fewest pairs of them in the wrong order; again for each pick. A pair that a task does not tell apart counts a
half. Differences: all objectives count together, and there is no model of the study's own trials.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["picked_tasks", "weights_of"]

Floats = npt.NDArray[np.float64]

_N0, _R0 = 4, 0.5  # what the belief in advance is worth, in draws, and the rank correlation that is believed
_N1 = 8  # what all objectives together are worth for one of them, in draws
_ENOUGH = 0.1  # estimated rank correlation that deserves full weight; asking for more costs good priors too much
_LEAST = 3  # draws from which on tasks are compared
_PAIRED = 32  # draws that a comparison looks at, at most


def weights_of(expected: Floats, seen: Floats) -> Floats:
    """Returns the weight of each objective, shape `(n_objectives,)`, from 0 to 1; all 1 for less than two draws.

    Args:
        expected: what each task expects of the draws, shape `(n_tasks, n_draws, n_objectives)`.
        seen: their scores, shape `(n_draws, n_objectives)`.
    """
    worth = len(seen) - 1
    if worth < 1:
        return np.ones(seen.shape[1])
    columns = zip(expected.mean(axis=0).T, seen.T, strict=True)
    r = np.array([_spearman(first, second) for first, second in columns])
    told = ~np.isnan(r)  # what never differs tells nothing, for or against
    pooled = (_N0 * _R0 + worth * r[told].sum()) / (_N0 + worth * told.sum())
    estimates = np.where(told, (_N1 * pooled + worth * r) / (_N1 + worth), pooled)
    weights: Floats = (estimates / _ENOUGH).clip(0.0, 1.0)
    return weights


def picked_tasks(expected: Floats, seen: Floats, n_picks: int, rng: np.random.Generator) -> list[int]:
    """Returns so many tasks, some perhaps more than once; at random for less than three draws; arguments as above."""
    n_tasks, n = len(expected), len(seen)
    if n < _LEAST:
        return [int(task) for task in rng.integers(n_tasks, size=n_picks)]
    picks = []
    for _ in range(n_picks):
        drawn = rng.integers(n, size=min(n, _PAIRED))
        wrong = _wrong_pairs(expected[:, drawn], seen[drawn])
        picks.append(int(rng.choice(np.flatnonzero(wrong == wrong.min()))))
    return picks


def _wrong_pairs(expected: Floats, seen: Floats) -> Floats:
    """How many pairs of draws each task orders wrongly, over all objectives; a pair that it has equal is a half."""
    theirs = np.sign(expected[:, :, None] - expected[:, None, :])
    truth = np.sign(seen[:, None] - seen[None, :])
    wrong: Floats = ((1 - theirs * truth) / 2).sum(axis=(1, 2, 3))
    return wrong


def _spearman(first: Floats, second: Floats) -> float:
    """The rank correlation; NaN if one of the two never differs."""
    from scipy.stats import rankdata  # most of a second to import: only where a prior is at work

    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else math.nan
