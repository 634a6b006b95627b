"""Losses for a Gaussian process: the usual ones as they are, exploded ones at a fence, and violators behind it.

A process describes losses by a mean and a spread, and a few large losses would decide both. So in each objective, a
loss above the fence counts as the fence, and so does one that is not finite. With the quartiles q1, q2, q3 and the
smallest loss q0, the fence is the lowest of

    q3 + 1.5 (q3 - q1)    Tukey's upper fence: J. W. Tukey, "Exploratory data analysis", 1977
    q2 + 4 (q2 - q1)      the same fence for symmetric losses, from their better half alone
    q1 + 20 (q1 - q0)     from their best quarter alone

A quarter without any spread is left out. So the fence stays low, even if more than half of the losses exploded.
Seconds and US dollars count in their logarithm. Violators of a constraint are behind the fence, in the order of their
violations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.objectives import Objectives

__all__ = ["fenced_losses"]

Floats = npt.NDArray[np.float64]

_ALL, _HALF, _QUARTER = 1.5, 4.0, 20.0
_MOST = 1e150  # products and sums of such losses are finite
_LOG_UNITS = ("s", "USD")


def fenced_losses(losses: Floats, objectives: Objectives) -> Floats:
    """Returns losses for a process, finite, in the same shape `(n_points, n_objectives)`; see the module."""
    is_violator = violator_mask(losses)
    violations = losses[is_violator, 0]
    found = np.empty_like(losses)
    for place, objective in enumerate(objectives):
        column = losses[:, place]
        is_usual = np.isfinite(column) & ~is_violator
        usual = column[is_usual].clip(-_MOST, _MOST)
        if objective.unit in _LOG_UNITS and (usual > 0).all():
            usual = np.log(usual)
        fence, low = (_fence(usual), float(usual.min())) if len(usual) else (1.0, 0.0)
        found[:, place] = fence
        found[is_usual, place] = np.minimum(usual, fence)
        found[is_violator, place] = fence + (fence - low) * _share_below(violations)
    return found


def _fence(losses: Floats) -> float:
    """Returns the fence of the module for the losses of one objective, finite, at least one."""
    least, first, middle, third = np.quantile(losses, [0, 0.25, 0.5, 0.75])
    fences = [third + _ALL * (third - first)]
    fences += [middle + _HALF * (middle - first)] if middle > first else []
    fences += [first + _QUARTER * (first - least)] if first > least else []
    return float(min(fences))


def _share_below(values: Floats) -> Floats:
    """Returns the share of the values that is below each of them."""
    return np.searchsorted(np.sort(values), values) / max(len(values), 1)
