"""How much earlier tasks are trusted, which of them, and when the study's own trials are the better guide.

All three rules compare predictions with results (`evidence`).

Weights. For each objective, r is the rank correlation between the mean prediction of the tasks and the results. It
counts as k observations (`Evidence.worth`). A few draws say little about a single objective, so an estimate is shrunk
towards that of all objectives of its kind, and that one towards a belief b that follows from the tasks themselves
(`Lesson.belief`). Metrics are one kind, and measured time and money another: every prior predicts seconds well, which
says nothing about its errors. With m objectives of a kind, pooled = (n0 b + k sum(r)) / (n0 + k m),
estimate = (n1 pooled + k r) / (n1 + k). The weight is the estimate divided by what is enough for full weight, clipped
to [0, 1]. That is `ENOUGH` where the other draws come from the study's own trials, which soon are a good guide as well,
and `ENOUGH_FOR_RANDOM` where they are random.

Picks. These follow Feurer, Letham and Bakshy, "Scalable meta-learning for Bayesian optimization using ranking-weighted
Gaussian process ensembles", 2018 (arXiv 1802.02219): draws are sampled with replacement, and the task with the fewest
pairs of them in the wrong order is picked. This is repeated for each pick, and separately for each objective. A pair
that a task ranks as equal counts half.

The study's own trials compete by the same rule, with predictions for each trial that do not know its result. Their
opponent is what the earlier tasks say together, after their weights. So their share grows with what they predict. All
pairs count here, because both sides have the same range. Time and money do not count, unless the study has no metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.searchers.evidence import Evidence, wrong_pairs

__all__ = [
    "ENOUGH",
    "ENOUGH_FOR_RANDOM",
    "is_time_or_money",
    "metric_columns",
    "own_ranks_better",
    "picked_tasks",
    "weights_of",
]

Floats = npt.NDArray[np.float64]

ENOUGH = 0.4
"""Estimated rank correlation that gives full weight, if draws without trust come from the study's own trials."""
ENOUGH_FOR_RANDOM = 0.1
"""The same if draws without trust are random; a higher value then costs good priors too much."""

_N0 = 4  # weight, in observations, of the belief in advance
_N1 = 8  # the weight, in observations, of all objectives of a kind together for one of them
_LEAST = 3  # least number of draws with which tasks are compared
_PAIRED = 32  # largest number of draws used in a comparison


def weights_of(
    evidence: Evidence, expected: Floats, belief: Floats, is_measured: Sequence[bool], enough: float = ENOUGH
) -> Floats:
    """Returns the weight of each objective, shape `(n_objectives,)`, from 0 to 1.

    Args:
        expected: the mean prediction of the tasks for each trial, shape `(n_trials, n_objectives)`.
        belief: the rank correlations expected in advance, shape `(n_objectives,)`.
        is_measured: for each objective, whether it is measured time or money.
        enough: the estimated rank correlation that gives full weight.
    """
    r, worth = evidence.correlations(expected), evidence.worth
    estimates = np.empty_like(r)
    for kind in (True, False):
        of_kind = np.array([measured == kind for measured in is_measured])
        estimates[of_kind] = _estimates(r[of_kind], belief[of_kind], worth)
    weights: Floats = (estimates / enough).clip(0.0, 1.0)
    return weights


def _estimates(r: Floats, belief: Floats, worth: float) -> Floats:
    """Returns the estimated correlations of objectives of one kind from their observed ones."""
    is_known = ~np.isnan(r)  # a constant is evidence neither for nor against
    pooled = (_N0 * belief + worth * r[is_known].sum()) / (_N0 + worth * is_known.sum())
    estimates: Floats = np.where(is_known, (_N1 * pooled + worth * r) / (_N1 + worth), pooled)
    return estimates


def picked_tasks(
    evidence: Evidence, expected: Floats, column: int, n_picks: int, rng: np.random.Generator
) -> list[int]:
    """Returns `n_picks` tasks for one objective, with repetitions; random for fewer than three trials.

    Args:
        expected: each task's predictions of the objective, shape `(n_tasks, n_trials)`. column: the objective.
    """
    n_tasks, n = len(expected), len(evidence)
    if n < _LEAST:
        return [int(task) for task in rng.integers(n_tasks, size=n_picks)]
    picks = []
    for _ in range(n_picks):
        wrong = evidence.wrong_pairs(expected, rng.integers(n, size=min(n, _PAIRED)), column)
        picks.append(int(rng.choice(np.flatnonzero(wrong == wrong.min()))))
    return picks


def own_ranks_better(own: Floats, earlier: Floats, seen: Floats, rng: np.random.Generator) -> bool:
    """Returns whether the study's own predictions rank one random sample of draws better than the earlier tasks do.

    Args:
        own, earlier, seen: predicted and actual scores of the draws, shape `(n_draws, n_objectives)`.
    """
    if len(seen) < _LEAST:
        return False
    drawn = rng.integers(len(seen), size=min(len(seen), _PAIRED))
    wrong = wrong_pairs(np.stack([own, earlier])[:, drawn], seen[drawn]).sum(axis=(1, 2))
    return bool(wrong[0] < wrong[1])


def metric_columns(objectives: Objectives) -> list[int]:
    """Returns the places of the objectives that are neither time nor money, even if those are logged; all if none is.

    Every prior predicts time and money, so they say nothing about what it knows.
    """
    columns = [place for place, item in enumerate(objectives) if not is_time_or_money(item)]
    return columns or list(range(len(objectives)))


def is_time_or_money(objective: Objective) -> bool:
    """Returns whether an objective is time or money, measured here or logged as a metric with such a unit."""
    return objective.is_measured or objective.unit in ("s", "USD")
