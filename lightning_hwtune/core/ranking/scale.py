"""The scale of losses in a set of trials, which one exploded loss does not change.

Units must not decide, so losses are scaled before distances, volumes or sums are taken. The smallest and the largest
loss would be a bad scale: one training that diverged to a large finite loss would make all other differences in this
objective negligible. So a scale has the range of the trials that remain after two steps:

1. A trial that is the worst in every objective is left out, then the worst of the others, and so on. Such a trial
   comes last in every order, so it must not influence the order of the others.
2. In each objective, a loss has exploded if it follows a gap: it is more than `_FAR` times as far from the smallest
   loss as the loss before it, and that one is not in the better half, which has at least three trials. A trial with an
   exploded loss is left out of the scale of all objectives.

A very small loss is never left out: it is a good trial.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import le
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import Loss

__all__ = ["GrowingScale", "Scale"]

_FAR = 20.0
_LEAST_TAME = 3  # of so few trials, a gap says nothing
_MOST = 1e150  # a scaled loss; products and sums of two such numbers are finite
_FIRST_CAPACITY = 32

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a set of trials; each attribute has one number per objective.

    Attributes:
        low, high: the losses that become 0 and 1.
        far: the largest loss that has not exploded.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    far: tuple[float, ...]
    _half_low: Vector = field(init=False, repr=False, compare=False)
    _divisor: Vector = field(init=False, repr=False, compare=False)
    _far: Vector = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # halves, as the difference of two finite numbers may be infinite
        half_low = 0.5 * np.array(self.low)
        half_span = 0.5 * np.array(self.high) - half_low
        object.__setattr__(self, "_half_low", half_low)
        object.__setattr__(self, "_divisor", np.where(half_span > 0, half_span, 0.5))
        object.__setattr__(self, "_far", np.array(self.far))

    @classmethod
    def of(cls, losses: Matrix) -> Scale:
        """Returns the scale of finite losses, shape `(n_points, n_objectives)`, with at least one row."""
        return _State.of(losses).scale

    def unit(self, losses: Matrix) -> Matrix:
        """Returns finite losses on the scale, not negative, shape `(n_points, n_objectives)`.

        An objective with one value on the scale keeps its differences.
        """
        with np.errstate(over="ignore"):
            unit = (0.5 * losses - self._half_low) / self._divisor
        np.maximum(unit, 0.0, out=unit)
        return np.asarray(np.minimum(unit, _MOST, out=unit))

    def exploded(self, losses: Matrix) -> npt.NDArray[np.bool_]:
        """Returns whether each row has an exploded loss, shape `(n_points,)`."""
        return np.asarray((losses > self._far).any(axis=1))

    def is_any_exploded(self, losses: Matrix) -> bool:
        """Returns whether any row has an exploded loss."""
        return bool((losses > self._far).any())


@final
@dataclass(slots=True)
class _State:
    """A scale, and for how many further trials it is known to stay the same if their losses are inside it.

    A further trial shifts the place from which gaps are looked for, so a gap in the better half might begin to count.
    """

    scale: Scale
    n_more: int

    @classmethod
    def of(cls, losses: Matrix) -> _State:
        """Returns the state of finite losses, shape `(n_points, n_objectives)`."""
        rows = _without_the_worst(losses)
        far, n_more = list[float](), len(rows)
        for column in np.sort(rows, axis=0).T:
            half = _half(len(column))
            away = 0.5 * column - 0.5 * column[0]
            with np.errstate(over="ignore"):
                gaps = np.flatnonzero((away[:-1] > 0) & (away[1:] > _FAR * away[:-1]))
            end = int(gaps[gaps >= half].min(initial=len(column) - 1))
            start = int(gaps[gaps < half].max(initial=-1)) + 1
            if not start:
                start = min(int(np.count_nonzero(away == 0)), len(column) - 1)
            far.append(float(column[end]))
            # even if all further trials are below `column[start]`, it stays in the better half
            n_more = min(n_more, len(column) - 2 * int(np.searchsorted(column, column[start])))
            n_tame = int(np.searchsorted(column, column[end], side="right"))
            if _half(len(column) + 1) > n_tame:  # one more trial moves the gap into the better half
                n_more = 0
        kept = rows[(rows <= far).all(axis=1)]
        if not len(kept):  # several objectives exploded, each in other trials
            kept, n_more = rows, 0
        return cls(Scale(tuple(kept.min(axis=0).tolist()), tuple(kept.max(axis=0).tolist()), tuple(far)), n_more)

    def is_unchanged_by(self, loss: Loss) -> bool:
        """Returns whether the scale is certainly the same with one more trial; quick."""
        if self.n_more < 1 or tuple(loss) == self.scale.high:  # it may be the worst in every objective
            return False
        return all(map(le, self.scale.low, loss)) and all(map(le, loss, self.scale.high))


@final
class GrowingScale:
    """The scale of trials that arrive one by one. An arrival inside the scale takes a few comparisons."""

    def __init__(self, n_objectives: int) -> None:
        self._losses = np.empty((_FIRST_CAPACITY, n_objectives))
        self._n = 0
        self._state: _State | None = None
        self._foreseen: tuple[tuple[float, ...], _State] | None = None

    def add(self, loss: Loss) -> Scale:
        """Adds a trial with finite losses and returns the scale."""
        state = self._state_with(loss)
        self._foreseen = None
        if self._n == len(self._losses):
            self._losses = np.concatenate([self._losses, np.empty_like(self._losses)])
        self._losses[self._n] = loss
        self._n += 1
        if state is self._state:
            state.n_more -= 1
        self._state = state
        return state.scale

    def with_one_more(self, loss: Loss) -> Scale:
        """Returns the scale that there would be after `add`; has no visible effect."""
        return self._state_with(loss).scale

    def _state_with(self, loss: Loss) -> _State:
        """Returns the state with one more trial, or the present one if that has the same scale.

        It is kept for the next call, as a trial is usually added right after a question about it.
        """
        key = tuple(loss)
        if self._foreseen is None or self._foreseen[0] != key:
            if self._state is not None and self._state.is_unchanged_by(loss):
                self._foreseen = key, self._state
            else:
                self._foreseen = key, _State.of(np.concatenate([self._losses[: self._n], [loss]]))
        return self._foreseen[1]


def _half(n: int) -> int:
    """Returns the place, from 0, of the last of `n` losses that never counts as exploded."""
    return max(n // 2, min(_LEAST_TAME, n) - 1)


def _without_the_worst(losses: Matrix) -> Matrix:
    """Returns the rows without the trailing ones that are the worst of those left in every objective; at least one."""
    rows = losses[np.lexsort(losses.T[::-1])]
    is_worst = (rows == np.maximum.accumulate(rows, axis=0)).all(axis=1)
    return rows[: max(1, int(np.flatnonzero(~is_worst).max(initial=-1)) + 1)]
