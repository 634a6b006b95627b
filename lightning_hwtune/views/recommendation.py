"""The one trial of the front to take: its knee, or the trial that fits given weights best.

- Without weights: a high trade-off point. Moving from it to any other trial nearby loses much and gains little
  (Rachmawati and Srinivasan, "Multiobjective evolutionary algorithm with controllable focus on the knees of the Pareto
  front", 2009; computed by pymoo). Of several, or if there is none, it is the one nearest to the best of every
  objective.
- With weights: the trial with the smallest achievement scalarisation (Wierzbicki, "The use of reference objectives in
  multiobjective optimization", 1980; computed by pymoo). Its largest weighted distance from the best of an objective
  is the smallest one. The reason names its pseudo-weights (Deb, "Multi-objective optimization using evolutionary
  algorithms", 2001), the importance that each objective has where the trial lies on the front.

Losses are scaled by the front (`ranking.scale`). A trial with an exploded loss is never recommended if there is
another one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.ranking.knee import knee
from lightning_hwtune.core.ranking.scale import Scale
from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.forms.kinds import number
from lightning_hwtune.views.front_points import Point, candidates, non_dominated

__all__ = ["checked_weights", "recommended"]

_WEIGHT = number(0)
_LEAST_FOR_KNEES = 4  # points; of fewer, none has enough neighbours to compare with

Array = npt.NDArray[np.float64]


def recommended(state: StudyFacts, weights: Array | None = None) -> tuple[Point, str] | None:
    """Returns the recommended trial of the front and the reason in words; None if the front is empty.

    Args:
        weights: one per objective, not negative, with sum 1, shape `(n_objectives,)`; see `checked_weights`.
    """
    front = non_dominated(state, candidates(state, "full"))
    if not front:
        return None
    objectives = state.spec.objectives
    losses = np.array([objectives.loss(point.measurement.values) for point in front])
    scale = Scale.of(losses)
    kept = np.flatnonzero(~scale.exploded(losses))
    if not len(kept):
        kept = np.arange(len(front))
    front, unit = [front[index] for index in kept], scale.unit(losses[kept])
    if len(front) == 1 or len(objectives) == 1:
        return front[0], "it is the best fully trained trial, and no other is better in any objective"
    index, reason = _of_weights(unit, weights, objectives) if weights is not None else _of_knees(unit)
    return front[index], f"{reason}; {_compared(front, index, objectives)}"


def checked_weights(weights: Mapping[str, float] | Sequence[float], objectives: Objectives) -> Array:
    """Returns the weights in the order of the objectives, with sum 1; an objective that is not named has weight 0.

    Raises:
        ArgumentError: a name is not that of an objective, or the weights are not numbers of at least 0, one above 0.
    """
    names = objectives.names
    example = {name: len(names) - index for index, name in enumerate(names)}
    allowed = f"one number per objective, not negative and not all 0, such as {example}"
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in names:
                raise ArgumentError("weights", name, f"the objectives {', '.join(names)}{nearest(str(name), names)}")
        listed = [weights.get(name, 0.0) for name in names]
    elif isinstance(weights, str | bytes) or not hasattr(weights, "__len__") or len(weights) != len(names):
        raise ArgumentError("weights", weights, allowed)
    else:
        listed = list(weights)
    try:
        numbers = np.array([_WEIGHT.read("weights", value) for value in listed])
    except ArgumentError:
        raise ArgumentError("weights", weights, allowed) from None
    if not numbers.sum() > 0:
        raise ArgumentError("weights", weights, allowed)
    return np.asarray(numbers / numbers.max() / (numbers / numbers.max()).sum())


def _of_knees(unit: Array) -> tuple[int, str]:
    from pymoo.mcdm.high_tradeoff import HighTradeoffPoints  # takes 0.3 s to import

    found: Any = None
    if len(np.unique(unit, axis=0)) >= _LEAST_FOR_KNEES:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # pymoo changes the filters of warnings
            found = HighTradeoffPoints().do(unit)
    rows = np.atleast_1d(found).astype(int) if found is not None else np.array([], dtype=int)
    if not len(rows):
        return knee(unit), "it is nearest to the best of every objective"
    index = int(rows[np.argmin(np.square(unit[rows]).sum(axis=1))])
    others = "" if len(rows) == 1 else f"; of {len(rows)} knees, it is nearest to the best of every objective"
    return index, f"it is a knee of the front: any change nearby loses much and gains little{others}"


def _of_weights(unit: Array, weights: Array, objectives: Objectives) -> tuple[int, str]:
    from pymoo.decomposition.asf import ASF

    # a large weight means that little may be lost, so distances are multiplied by it
    away = ASF().do(unit, 1 / np.maximum(weights, 1e-9), utopian_point=np.zeros(unit.shape[1]))
    # of equals, the one with the smallest weighted sum
    index = int(np.lexsort((unit @ weights, np.round(np.ravel(away), 12)))[0])
    given = _shares(weights, objectives)
    given, place = _shares(weights, objectives), _shares(_pseudo(unit, index), objectives)
    return index, f"it fits the weights {given} best (its place on the front has the weights {place})"


def _pseudo(unit: Array, index: int) -> Array:
    """Returns the pseudo-weights of a member of the front."""
    low, high = unit.min(axis=0), unit.max(axis=0)
    share = np.divide(high - unit[index], high - low, out=np.zeros(unit.shape[1]), where=high > low)
    return np.asarray(share / share.sum()) if share.sum() > 0 else share


def _shares(weights: Array, objectives: Objectives) -> str:
    return ", ".join(f"{name} {weight:.0%}" for name, weight in zip(objectives.names, weights, strict=True))


def _compared(front: Sequence[Point], index: int, objectives: Objectives) -> str:
    """Returns how far the trial is from the best value of each objective on the front."""
    values = front[index].measurement.values
    parts = []
    for item in objectives:
        best = _best(item, [point.measurement.values[item.name] for point in front])
        is_best = values[item.name] == best
        parts.append(f"{item.name} {values[item.name] + 0.0:.4g}" + ("" if is_best else f" (best: {best + 0.0:.4g})"))
    return ", ".join(parts)


def _best(item: Objective, values: Sequence[float]) -> float:
    return min(values) if item.mode == "min" else max(values)
