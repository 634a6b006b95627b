"""The probability that a point is on the front, if one objective or several are known only up to noise.

The true losses are sampled for all points together. In a sample, all noisy objectives of a point have the same factor,
because a slow machine makes time and cost larger by one factor. The probability is the share of samples in which no
other point dominates the point.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["front_probabilities"]

_MOST_AT_ONCE = 2_000_000  # comparisons

Array = npt.NDArray[np.float64]


def front_probabilities(
    losses: Array,
    members: npt.NDArray[np.intp],
    steps: Array,
    factors: Array,
) -> Array:
    """Returns the probability of each member, shape `(n_members,)`.

    Args:
        losses: finite and minimised, shape `(n_points, n_objectives)`; not negative in noisy objectives.
        members: the indices of the points in question, shape `(n_members,)`.
        steps: for each objective, the width of the cells in the logarithm in which losses are ties, 0 for no cells; NaN
            if the objective has no noise. Shape `(n_objectives,)`.
        factors: samples of the logarithm of each point's factor, shape `(n_samples, n_points)`.
    """
    n_points, n_objectives = losses.shape
    counts = np.zeros(len(members))
    size = max(1, _MOST_AT_ONCE // max(1, n_points * len(members)))
    for begin in range(0, len(factors), size):
        some = factors[begin : begin + size]
        nowhere_worse = np.ones((len(some), len(members), n_points), dtype=np.bool_)
        is_better = np.zeros_like(nowhere_worse)
        for column in range(n_objectives):
            sampled = _sampled(losses[:, column], float(steps[column]), some)
            own, others = sampled[:, members, None], sampled[:, None, :]
            nowhere_worse &= others <= own
            is_better |= others < own
        counts += (~(nowhere_worse & is_better).any(axis=2)).sum(axis=0)
    return counts / len(factors)


def _sampled(column: Array, step: float, factors: Array) -> Array:
    """Returns sampled losses, or logarithms or cells in the same order, shape `(n_samples, n_points)`."""
    if np.isnan(step):
        return np.broadcast_to(column, factors.shape)
    with np.errstate(divide="ignore"):
        logs = np.log(column) + factors
    return np.round(logs / step) if step > 0 else logs
