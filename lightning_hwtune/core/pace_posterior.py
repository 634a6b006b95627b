"""The true logarithms of paces, given noisy ones: their joint normal distribution.

A true value is the sum of a function of the configuration, which has a covariance, and of an effect of the trial alone.
A few trials are much quicker or slower than their configuration lets expect. So the effects have Student's t
distribution: a normal one whose variance differs from trial to trial. These variances are estimated by the EM
algorithm (Lange, Little and Taylor, "Robust statistical modeling using the t distribution", 1989). An ordinary trial is
therefore pulled towards what its configuration lets expect, and an exceptional one is not.

All values are sampled together. What makes one of them uncertain often makes similar ones uncertain in the same
direction, which changes neither their order nor the front. Trials are promoted, and are on the front, also because
their noise was lucky. The distribution allows for that, because it is the one given the values of all trials.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

__all__ = ["PacePosterior"]

_N_STEPS = 8
_FREEDOM = 3.0  # degrees of freedom of Student's t
_PRIOR_TRIALS = 3  # what is known beforehand about the effects counts as so many trials
_LEAST = 1e-12  # variance
_SHARES = (1, 1 / 4, 1 / 16, 1 / 64)  # of the expected variance, from which the steps may begin

Array = npt.NDArray[np.float64]


@final
class PacePosterior:
    """A joint normal distribution.

    Args:
        covariance: that of the function of the configuration, shape `(n, n)`.
        logs: what was measured, shape `(n,)`. noise: the variances of the noise, shape `(n,)`.
        effect: the variance of the effects that is expected beforehand.

    Attributes:
        mean: shape `(n,)`.
        covariance: shape `(n, n)`.
    """

    def __init__(self, covariance: Array, logs: Array, noise: Array, effect: float) -> None:
        middle = float(logs.mean())
        away = logs - middle
        shared = covariance + float(logs.var())  # the mean of all is known only roughly
        own = _own_variances(shared, away, noise, effect)
        total = shared + np.diag(own)
        gain = np.linalg.solve(total + np.diag(noise), total).T
        self.mean: Array = middle + gain @ away
        self.covariance: Array = total - gain @ total

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Returns samples of the true values, shape `(n, len(mean))`."""
        sizes, directions = np.linalg.eigh((self.covariance + self.covariance.T) / 2)
        root = directions * np.sqrt(sizes.clip(0.0))
        found: Array = self.mean + rng.standard_normal((n, len(self.mean))) @ root.T
        return found


def _own_variances(shared: Array, away: Array, noise: Array, effect: float) -> Array:
    """Returns the variance of each trial's own effect."""
    usual = _most_likely(shared, away, noise, effect)
    own = np.full(len(away), usual)
    for _ in range(_N_STEPS):
        inverse = np.linalg.inv(shared + np.diag(own + noise))
        expected = own * (inverse @ away)
        squares = expected**2 + own - own**2 * np.diag(inverse)
        weights = (_FREEDOM + 1) / (_FREEDOM + squares / usual)
        usual = (_PRIOR_TRIALS * effect + float(weights @ squares)) / (_PRIOR_TRIALS + len(away))
        usual = max(usual, _LEAST)
        own = usual / weights
    return own


def _most_likely(shared: Array, away: Array, noise: Array, effect: float) -> float:
    """Returns the most likely of some variances up to the expected one, if all effects have the same.

    The EM algorithm approaches a small one only in hundreds of steps. Until then, noise would count as an effect.
    """

    def surprise(usual: float) -> float:
        root = np.linalg.cholesky(shared + np.diag(noise + usual))
        return 2 * float(np.log(np.diag(root)).sum()) + float((np.linalg.solve(root, away) ** 2).sum())

    return min((max(effect * share, _LEAST) for share in _SHARES), key=surprise)
