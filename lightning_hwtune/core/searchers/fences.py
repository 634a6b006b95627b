"""Losses for a Gaussian process: the usual ones as they are, exploded ones at a fence, and violators behind it.

A process describes losses by a mean and a spread, and a few large losses would decide both. So in each objective, a
loss above the fence counts as the fence, and so does one that is not finite. With the quartiles q1, q2, q3 and the
smallest loss q0, there are three fences:

    q3 + 1.5 (q3 - q1)    of all losses, Tukey's upper fence: J. W. Tukey, "Exploratory data analysis", 1977
    q2 + 4 (q2 - q1)      of the first 15 losses: the same fence for symmetric losses, from their better half alone
    q1 + 20 (q1 - q0)     of the first 15 losses, from their best quarter alone

The first one counts, unless the next one is more than `_FAR` times closer to q1: then so many losses exploded that they
raised the first one. The second and the third are compared in the same way. They are those of the first losses, because
the later ones of a study that converges are close together, and the others have not exploded. A quarter without any
spread is left out.

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

_ALL, _HALF, _QUARTER, _FAR = 1.5, 4.0, 20.0, 10.0
_N_FIRST = 15
_MOST = 1e150  # products and sums of such losses are finite
_LOG_UNITS = ("s", "USD")


def fenced_losses(losses: Floats, objectives: Objectives) -> Floats:
    """Returns losses for a process, finite, in the same shape; see the module.

    Args:
        losses: in the order of the trials, shape `(n_points, n_objectives)`.
    """
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
    """Returns the fence of the module for the losses of one objective, finite, at least one, in the order of trials."""
    first, third = np.quantile(losses, [0.25, 0.75])
    least, quarter, half = np.quantile(losses[:_N_FIRST], [0, 0.25, 0.5])
    fence = third + _ALL * (third - first)
    for lower in (half + _HALF * (half - quarter), quarter + _QUARTER * (quarter - least)):
        if 0 < _FAR * (lower - quarter) < fence - quarter:
            fence = lower
    return float(fence)


def _share_below(values: Floats) -> Floats:
    """Returns the share of the values that is below each of them."""
    return np.searchsorted(np.sort(values), values) / max(len(values), 1)
