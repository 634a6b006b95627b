"""How far values exceed their bounds, and how a violator is ordered behind every feasible trial.

Constraint domination: Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm:
NSGA-II", 2002, section VI. A feasible point dominates every violator, and of two violators the one with the smaller
violation dominates. The violation is the sum of the amounts beyond the bounds, each relative to its bound.

All losses of a violator are therefore one number, its *place*: above every loss of a feasible trial, and greater for a
greater violation. Such vectors have the order of constraint domination in every rule that compares losses: fronts,
medians, a single objective, and rules of users. Rules that use distances between losses set violators apart
(`is_violator`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_LOSS", "excess", "is_violator", "place_of", "violator_mask"]

_FIRST = 2.0**1000
LARGEST_LOSS = _FIRST / 2
"""In a study with constraints, a greater loss of a feasible trial counts as this one."""
_EXPONENTS = 2200.0  # more than the binary exponents of positive floats, from -1074 to 1023


def excess(value: float, at_most: float | None, at_least: float | None) -> float:
    """Returns by how much a value violates its bounds, relative to the bound; 0 if it does not.

    For a bound of 0 it is the absolute amount. A value that is not finite violates every bound by infinity.
    """
    if not math.isfinite(value):
        return 0.0 if at_most is None and at_least is None else math.inf
    over = 0.0 if at_most is None else _relative(value - at_most, at_most)
    under = 0.0 if at_least is None else _relative(at_least - value, at_least)
    return max(over, under)


def _relative(amount: float, bound: float) -> float:
    return 0.0 if amount <= 0 else amount / abs(bound) if bound else amount


def place_of(violation: float) -> float:
    """Returns the loss of a trial with this violation, which must be above 0; infinity is allowed.

    Violations that differ by less than a factor of 1 + 1e-12 may share a place.
    """
    share = 1.0 if math.isinf(violation) else (math.log2(violation) + 1080) / _EXPONENTS
    return _FIRST * (1 + 0.99 * share)


def is_violator(loss: Sequence[float]) -> bool:
    """Returns whether this is the loss vector of a violator."""
    return _FIRST <= loss[0] < 2 * _FIRST and all(value == loss[0] for value in loss)


def violator_mask(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Returns whether each row is that of a violator, shape `(n_points,)`."""
    first = losses[:, :1]
    mask: npt.NDArray[np.bool_] = ((first >= _FIRST) & (first < 2 * _FIRST) & (losses == first)).all(axis=1)
    return mask
