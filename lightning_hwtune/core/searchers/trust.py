"""How much earlier tasks are trusted, and which of them: judged by how they rank the results of a study.

Both rules use only uniform draws. A prior's own draws have a restricted range, in which a good prior looks bad.

Weights. For each objective, r is the rank correlation (Spearman) between the mean prediction of the tasks and the
results of n draws. It counts as n - 1 observations, because its variance without a relation is 1 / (n - 1). A few draws
say little about a single objective, and tasks that mislead in one tend to mislead in all. So an estimate is shrunk
towards that of all m objectives, and that one towards a belief fixed in advance:
pooled = (n0 r0 + (n - 1) sum(r)) / (n0 + (n - 1) m), estimate = (n1 pooled + (n - 1) r) / (n1 + n - 1). The weight is
the estimate divided by `_ENOUGH`, clipped to [0, 1].

Picks. These follow Feurer, Letham and Bakshy, "Scalable meta-learning for Bayesian optimization using ranking-weighted
Gaussian process ensembles", 2018 (arXiv 1802.02219): draws are sampled with replacement, and the task with the fewest
pairs of them in the wrong order is picked. This is repeated for each pick. A pair that a task ranks as equal counts
half. Differences: all objectives count together, and there is no model of the study's own trials.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["picked_tasks", "weights_of"]

Floats = npt.NDArray[np.float64]

_N0, _R0 = 4, 0.5  # the belief in advance: its weight in draws, and its rank correlation
_N1 = 8  # the weight, in draws, of all objectives together for one of them
_ENOUGH = 0.1  # estimated rank correlation that gives full weight; a higher value costs good priors too much
_LEAST = 3  # least number of draws with which tasks are compared
_PAIRED = 32  # largest number of draws used in a comparison


def weights_of(expected: Floats, seen: Floats) -> Floats:
    """Returns the weight of each objective, shape `(n_objectives,)`, from 0 to 1; all 1 for fewer than two draws.

    Args:
        expected: each task's predictions for the draws, shape `(n_tasks, n_draws, n_objectives)`.
        seen: the actual scores of the draws, shape `(n_draws, n_objectives)`.
    """
    worth = len(seen) - 1
    if worth < 1:
        return np.ones(seen.shape[1])
    columns = zip(expected.mean(axis=0).T, seen.T, strict=True)
    r = np.array([_spearman(first, second) for first, second in columns])
    is_known = ~np.isnan(r)  # a constant is evidence neither for nor against
    pooled = (_N0 * _R0 + worth * r[is_known].sum()) / (_N0 + worth * is_known.sum())
    estimates = np.where(is_known, (_N1 * pooled + worth * r) / (_N1 + worth), pooled)
    weights: Floats = (estimates / _ENOUGH).clip(0.0, 1.0)
    return weights


def picked_tasks(expected: Floats, seen: Floats, n_picks: int, rng: np.random.Generator) -> list[int]:
    """Returns `n_picks` tasks, with repetitions; random for fewer than three draws. Arguments as in `weights_of`."""
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
    """Returns how many pairs of draws each task orders wrongly, over all objectives; its ties count half."""
    theirs = np.sign(expected[:, :, None] - expected[:, None, :])
    truth = np.sign(seen[:, None] - seen[None, :])
    wrong: Floats = ((1 - theirs * truth) / 2).sum(axis=(1, 2, 3))
    return wrong


def _spearman(first: Floats, second: Floats) -> float:
    """Returns the rank correlation; NaN if one of the two is constant."""
    from scipy.stats import rankdata  # takes most of a second to import, and only priors need it

    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else math.nan
