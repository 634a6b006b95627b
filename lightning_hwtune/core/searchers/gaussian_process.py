"""A Gaussian process over rows of cells: what a loss probably is at a configuration, and how sure that is.

Rasmussen and Williams, "Gaussian processes for machine learning", 2006: algorithm 2.1 for the prediction, equation 5.9
for the gradient of the likelihood. The covariance is Matern's with nu = 5/2 and one length per parameter. Lengths and
noise maximise their posterior. The middle of the lengths' prior grows with the square root of the number of parameters:
Hvarfner, Hellsten and Nardi, "Vanilla Bayesian optimization performs great in high dimensions", ICML 2024. The maximum
is approached by a few steps of Rprop (Riedmiller and Braun, "A direct adaptive method for faster backpropagation
learning", 1993), so that the time of a fit is known. The variance of the process is the one with the greatest
likelihood.

Two different options of an unordered choice are `_APART` apart. A number that a configuration does not have is in the
middle of its range, and an option that it does not have is one more option.

Only numpy is used, because every study draws with this and the import of scipy would take a second. The last digits of
a prediction may differ between machines, as those of numpy's linear algebra do. Cost of a fit: O(steps * points**2 *
(points + parameters)).
"""

from __future__ import annotations

import math
from typing import Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.searchers.cells import Cells

__all__ = ["GaussianProcess", "log_improvement"]

Floats = npt.NDArray[np.float64]

_APART = 0.7
_MAX_FITTED = 100  # points from which lengths and noise are learned
_N_STEPS = 12
_FIRST_STEP, _MAX_STEP, _LONGER, _SHORTER = 0.4, 1.0, 1.3, 0.5  # Rprop, in logarithms
_LENGTH, _LENGTH_SPREAD = math.log(0.4), 1.2  # of one parameter: where the steps begin, and the spread of the prior
_PRIOR_LENGTH = math.sqrt(2) - 1.0
_NOISE, _NOISE_SPREAD = math.log(1e-3), 1.5  # variance of the noise, as a share of that of the process
_LEAST_LENGTH, _MOST_LENGTH = math.log(0.02), math.log(30.0)
_LEAST_NOISE, _MOST_NOISE = math.log(1e-6), 0.0
_JITTER = 1e-8
_LEAST_VARIANCE = 1e-6
_FAR = 5.0  # deviations below the best at which the tail formula is exact enough

_ERF = np.frompyfunc(math.erf, 1, 1)


@final
class GaussianProcess:
    """A process that was fitted to losses, and may also know where trials are running.

    Args:
        rows: cells of the points, at least one, shape `(n_points, n_parameters)`; further columns are numbers.
        losses: their losses, finite, shape `(n_points,)`.
    """

    def __init__(self, cells: Cells, rows: Floats, losses: Floats) -> None:
        self._is_option = np.zeros(rows.shape[1], dtype=np.bool_)
        self._is_option[: len(cells.n_options)] = [n > 0 for n in cells.n_options.values()]
        self._low, self._span = float(losses.mean()), float(losses.std()) or 1.0
        self._points, self.losses = self._placed(rows), (losses - self._low) / self._span
        some = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_FITTED)).astype(np.int64)
        theta = _fitted(self._squares(self._points[some]), self.losses[some])
        self._weights, self._noise = np.exp(-2 * theta[:-1]), math.exp(theta[-1])
        self._solve()
        self._variance = max(float(self.losses @ self._alpha) / len(losses), _LEAST_VARIANCE)

    def expecting(self, rows: Floats) -> Self:
        """Adds points without a loss, such as running trials, with the loss that is expected there, and returns self.

        So the process is surer near them, but expects no other losses.
        """
        if len(rows):
            expected, _ = self.predict(rows)
            self._points = np.vstack([self._points, self._placed(rows)])
            self.losses = np.append(self.losses, expected)
            self._solve()
        return self

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Returns the expected losses and their deviations, on the scale of `losses`, each of shape `(n_rows,)`."""
        shared = self._covariance(self._placed(rows))
        left = np.maximum(1 - ((shared @ self._root) ** 2).sum(axis=1), _JITTER)
        return shared @ self._alpha, np.sqrt(left * self._variance)

    def prior_covariance(self) -> Floats:
        """Returns the covariance of the points before their losses are known, without noise, on the losses' scale."""
        return self._span**2 * self._variance * self._covariance(self._points)

    @property
    def span(self) -> float:
        """The unit of the predictions and of `losses`, on the scale of the losses that the process was fitted to."""
        return self._span

    @property
    def noise_variance(self) -> float:
        """The variance of the noise, on the scale of the losses."""
        return self._span**2 * self._variance * self._noise

    def _solve(self) -> None:
        covariance = self._covariance(self._points)
        covariance[np.diag_indices(len(covariance))] += self._noise + _JITTER
        self._root = np.linalg.inv(np.linalg.cholesky(covariance)).T
        self._alpha: Floats = self._root @ (self._root.T @ self.losses)

    def _covariance(self, points: Floats) -> Floats:
        """Returns the covariance of points with those that the process knows, shape `(n_points, n_known)`."""
        scales = np.sqrt(self._weights[~self._is_option])
        left, right = points[:, ~self._is_option] * scales, self._points[:, ~self._is_option] * scales
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
        for place in np.flatnonzero(self._is_option):
            squares += self._weights[place] * _APART**2 * (points[:, place, None] != self._points[:, place])
        return _matern(np.maximum(squares, 0.0))

    def _placed(self, rows: Floats) -> Floats:
        return np.where(np.isnan(rows), np.where(self._is_option, -1.0, 0.5), rows)

    def _squares(self, points: Floats) -> Floats:
        """Returns the squared distances in each parameter, shape `(n_parameters, n_points, n_points)`."""
        gaps = points.T[:, :, None] - points.T[:, None, :]
        found: Floats = gaps**2
        found[self._is_option] = _APART**2 * (gaps[self._is_option] != 0)
        return found


def log_improvement(expected: Floats, deviation: Floats, best: float) -> Floats:
    """Returns the logarithm of the expected improvement over `best`.

    Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box functions", 1998, equation 15. Far
    above `best` it is that of the tail, which never becomes 0.
    """
    u = (best - expected) / deviation
    density = np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)
    share = u * 0.5 * (1 + np.asarray(_ERF(u / math.sqrt(2)), dtype=np.float64)) + density
    tail = -0.5 * u**2 - 2 * np.log(np.maximum(-u, 1.0)) - 0.5 * math.log(2 * math.pi)
    found: Floats = np.log(deviation) + np.where(u > -_FAR, np.log(np.maximum(share, 1e-300)), tail)
    return found


def _fitted(squares: Floats, losses: Floats) -> Floats:
    """Returns the logarithms of the lengths and, last, of the noise, with the greatest posterior that was met."""
    n = len(squares)
    middle = np.append(np.full(n, 0.5 * math.log(n) + _PRIOR_LENGTH), _NOISE)
    spread = np.append(np.full(n, _LENGTH_SPREAD), _NOISE_SPREAD)
    low, high = np.append(np.full(n, _LEAST_LENGTH), _LEAST_NOISE), np.append(np.full(n, _MOST_LENGTH), _MOST_NOISE)
    theta = np.append(np.full(n, 0.5 * math.log(n) + _LENGTH), _NOISE)
    step, before = np.full(n + 1, _FIRST_STEP), np.zeros(n + 1)
    least, best = math.inf, theta
    for _ in range(_N_STEPS):
        value, slope = _surprise(theta, squares, losses)
        off = (theta - middle) / spread
        value += 0.5 * float(off @ off)
        if value < least:
            least, best = value, theta
        sign = np.sign(slope + off / spread)
        turned = sign * before
        step = np.where(turned > 0, np.minimum(step * _LONGER, _MAX_STEP), np.where(turned < 0, step * _SHORTER, step))
        theta, before = (theta - step * sign).clip(low, high), sign
    return best


def _surprise(theta: Floats, squares: Floats, losses: Floats) -> tuple[float, Floats]:
    """Returns the negative logarithm of the likelihood, up to a constant, and its gradient."""
    weights, noise, n = np.exp(-2 * theta[:-1]), math.exp(theta[-1]), len(losses)
    root = np.sqrt(5 * np.tensordot(weights, squares, 1))
    decay = np.exp(-root)
    covariance = (1 + root + root**2 / 3) * decay
    covariance[np.diag_indices(n)] += noise + _JITTER
    inverse = np.linalg.inv(covariance)
    alpha = inverse @ losses
    variance = max(float(losses @ alpha) / n, _LEAST_VARIANCE)
    value = 0.5 * n * math.log(variance) + 0.5 * float(np.linalg.slogdet(covariance)[1])
    pull = inverse - np.outer(alpha, alpha) / variance
    by_length = 0.5 * weights * np.tensordot(squares, pull * (5 / 3 * (1 + root) * decay), 2)
    return value, np.append(by_length, 0.5 * noise * float(np.trace(pull)))


def _matern(squares: Floats) -> Floats:
    root = np.sqrt(5 * squares)
    found: Floats = (1 + root + root**2 / 3) * np.exp(-root)
    return found
