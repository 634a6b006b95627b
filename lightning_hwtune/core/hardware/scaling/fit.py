"""Fits the formula of a step to measured points.

The unknown numbers minimise the squared relative errors of the points and the squared distances from the
`ScalingShape`, both in units of their standard deviation. A large error counts with its absolute value, not its square
("soft L1"), so a single disturbed point changes little. No number is negative. The covariance is that of the linearised
model at the solution (Seber and Wild, Nonlinear Regression, 1989, section 5.1). One fit takes tens of milliseconds. The
combination of these parts is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.hardware.scaling.points import ScalingPoint
from lightning_hwtune.core.hardware.scaling.shape import ScalingShape
from lightning_hwtune.core.hardware.scaling.step_time import FITTED, LOCAL, NODES, OVERLAP, SHAPE, StepTime

__all__ = ["Fitted", "fitted"]

_INSIDE, _WIDTH = 0.8, 1.2816  # the share of normal errors that this many standard deviations hold
_LEAST_BATCHES = 4  # batches on one device from which a batch that does not fill the device can be seen
_BETTER = 0.7  # such a batch is assumed only if it reduces the error to this share
_REWEIGHTED = 20  # passes of the fit of least absolute errors
_LEAST_ERROR = 0.005  # relative; smaller ones have the weight of this one
_MOST_STEPS = 100  # of one least-squares fit; measured points need about 20
_SMALLEST = 1e-9  # the lower bound of seconds, as a share of typical ones: a logarithm needs a positive number

Array = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a fit.

    Attributes:
        step_time: the formula with its numbers.
        covariance: of the numbers called `FITTED`, in this order.
        spread: the relative noise of one point.
    """

    step_time: StepTime
    covariance: tuple[tuple[float, ...], ...]
    spread: float


def fitted(points: Sequence[ScalingPoint], shape: ScalingShape) -> Fitted:
    """Returns the formula for checked points.

    Args:
        points: one for each measured allocation and batch, at least two.
        shape: what is assumed where points show nothing.
    """
    return _Fit(points, shape).solved()


class _Fit:
    """One fit: the points as arrays, the scale of each unknown, and the residuals."""

    def __init__(self, points: Sequence[ScalingPoint], shape: ScalingShape) -> None:
        self._devices, self._nodes, self._batch, self._steps, self._seconds = (
            np.array(column, dtype=np.float64)
            for column in zip(
                *((p.devices, p.nodes, p.per_device_batch, p.accumulate, p.seconds) for p in points), strict=True
            )
        )
        self._centre, self._width = np.array([getattr(shape, name) for name in SHAPE]).T
        self._noise = shape.noise
        self._full_batch, fixed_s, per_sample_s = self._computing()
        typical = float(np.median(self._seconds))
        per_sample = typical / float(np.median(self._batch))
        self._scale = np.array([typical, per_sample, typical, typical, *([1.0] * len(SHAPE))])
        self._is_free = np.array([name in self._shown() for name in FITTED])
        self._start = np.array([fixed_s, per_sample_s, 0.0, 0.0, *self._centre]) / self._scale
        self._start[2:4] = np.where(self._is_free[2:4], 0.3, 0.0)

    def _shown(self) -> set[str]:
        """Returns the numbers that the points show something about."""
        shown = {"fixed_s", "per_sample_s"}
        if ((self._nodes == 1) & (self._devices > 1)).any():
            shown |= {*LOCAL, "overlap"}
        if (self._nodes > 1).any():
            shown |= {*NODES, "overlap"}
        return shown | ({"sharing"} if (self._devices > self._nodes).any() else set())

    def solved(self) -> Fitted:
        """Returns the solution with the smallest error over several starts."""
        from scipy.optimize import least_squares

        low = np.array([*([_SMALLEST] * 4), OVERLAP[0], 0.0, 0.0, 0.0, 0.1, 0.0])
        high = np.array([*([np.inf] * 4), OVERLAP[1], *([np.inf] * 5)])
        free = self._is_free
        best = None
        for fixed in (self._start[0], 0.5, _SMALLEST):
            start = self._start.copy()
            start[0] = fixed
            start = np.clip(start, low + 1e-6, high)
            found = least_squares(
                lambda x: self._residuals(self._whole(x), self._noise),
                start[free],
                bounds=(low[free], high[free]),
                loss="soft_l1",
                x_scale=np.maximum(start[free], 0.05),
                max_nfev=_MOST_STEPS,
            )
            if best is None or found.cost < best.cost * (1 - 1e-9):
                best = found
        assert best is not None
        numbers = self._whole(best.x)
        errors = np.abs(self._residuals(numbers, 1.0)[: len(self._seconds)])
        n_left = len(errors) - int(free[:4].sum())
        spread = np.quantile(errors, _INSIDE) / _WIDTH * np.sqrt(len(errors) / n_left) if n_left > 0 else 0.0
        spread = max(float(spread), self._noise)
        return Fitted(self._step_time(numbers), self._covariance(numbers, spread), spread)

    def _whole(self, x: Array) -> Array:
        """Returns all numbers in their scale; those that no point shows are 0 seconds, or as assumed."""
        numbers = np.array([0.0, 0.0, 0.0, 0.0, *self._centre])
        numbers[self._is_free] = x
        return numbers

    def _step_time(self, numbers: Array) -> StepTime:
        values = dict(zip(FITTED, (float(value) for value in numbers * self._scale), strict=True))
        return StepTime(full_batch=self._full_batch, **values)

    def _residuals(self, numbers: Array, spread: float) -> Array:
        predicted = self._step_time(numbers).seconds(self._devices, self._nodes, self._batch, self._steps)
        return np.concatenate(
            [np.log(predicted / self._seconds) / spread, (numbers[4:] - self._centre) / self._width],
        )

    def _covariance(self, numbers: Array, spread: float) -> tuple[tuple[float, ...], ...]:
        free = np.flatnonzero(self._is_free)
        columns = []
        for index in free:
            step = 1e-5 * max(abs(numbers[index]), 0.01)
            moved = numbers.copy()
            moved[index] += step
            columns.append((self._residuals(moved, spread) - self._residuals(numbers, spread)) / step)
        slopes = np.array(columns).T
        covariance = np.zeros((len(FITTED), len(FITTED)))
        covariance[np.ix_(free, free)] = np.linalg.pinv(slopes.T @ slopes, rcond=1e-12, hermitian=True)
        covariance *= np.outer(self._scale, self._scale)
        return tuple(tuple(float(value) for value in row) for row in covariance)

    def _computing(self) -> tuple[float, float, float]:
        """Returns the batch that fills a device, and the seconds per pass and per sample."""
        is_one = self._devices == 1
        rows = is_one if is_one.any() else np.ones_like(is_one)
        batch, seconds = self._batch[rows], self._seconds[rows] / self._steps[rows]
        batches = np.unique(batch)
        plain = best = _affine(batch, seconds, 0.0)
        if is_one.any() and len(batches) >= _LEAST_BATCHES:
            best = min((_affine(batch, seconds, full) for full in batches[1:-1]), default=plain)
            best = best if best[0] < _BETTER * plain[0] else plain
        return best[1:]


def _affine(batch: Array, seconds: Array, full_batch: float) -> tuple[float, float, float, float]:
    """Returns the mean relative error of the non-negative fit, the batch that fills a device, and both numbers.

    Reweighting makes the fit one of least absolute errors, so that one disturbed batch changes little.
    """
    from scipy.optimize import nnls

    columns = np.column_stack([np.ones_like(batch), np.maximum(batch, full_batch)]) / seconds[:, None]
    weights = np.ones_like(seconds)
    for _ in range(_REWEIGHTED):
        found, _ = nnls(columns * weights[:, None], weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(columns @ found - 1), _LEAST_ERROR))
    error = float(np.abs(columns @ found - 1).mean())
    return error, full_batch, float(found[0]), float(found[1])
