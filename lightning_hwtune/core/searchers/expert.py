"""Draws near the values that the user expects to be good: the `prior` of parameters.

The idea is that of Mallik et al., "PriorBand: practical hyperparameter optimization in the age of deep learning",
NeurIPS 2023 (arXiv 2306.12370), section 4: a share of the draws comes from a density around the expert's values, and
the share falls as results come in, faster if they speak against it. Any searcher can ask for such a draw first.

Density. A number, or an ordered choice: a normal density around the value, cut to the range, with a standard deviation
of `_WIDTH` of the range (of its logarithm, if `log`). An unordered choice: the option has the probability `_OWN`, and
the rest is shared equally among all options. Parameters without a `prior` stay uniform. The first draw has exactly
the expert's values.

Share. With n results it is `_HALF` / (`_HALF` + n), at most 1/2, times the evidence, which is 1 with few results.
From `_LEAST` on it is 1 / (1 + exp(-2 d)), where d says how much more probable the best third of the results is under
the density than the others are: the difference of the mean logarithms. "Best" counts the metrics, not time or money.
Different from PriorBand: there the share depends on the rung, and the evidence on the best configuration alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.trust import metric_columns
from lightning_hwtune.core.space import Choice, Parameter, SearchSpace
from lightning_hwtune.core.streams import stream

__all__ = ["expert_draw", "expert_share", "has_expert"]

_WIDTH = 0.15  # standard deviation of a number, as a share of its range
_OWN = 0.6  # probability of the expert's option
_HALF = 10  # number of results at which the share has fallen to a half
_LEAST = 6  # number of results from which they count as evidence
_MOST = 500  # number of results from which no draw is the expert's
_TRIES = 50  # for a draw that satisfies the rule of batch sizes


def has_expert(space: SearchSpace) -> bool:
    """Returns whether a parameter of the space has a value that the user expects to be good."""
    return any(_prior(parameter) is not None for parameter in space.values())


def expert_draw(space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
    """Returns a configuration near the expert's values; None if draw number `draw` is not the expert's."""
    if not has_expert(space):
        return None
    rng = stream(seed, "expert", draw)
    if draw > 0 and rng.random() >= expert_share(space, history):
        return None
    for _ in range(_TRIES):
        shares = rng.random(len(space)).tolist()
        pairs = zip(space.values(), shares, strict=True)
        config = space.at([_near(parameter, share, is_exact=draw == 0) for parameter, share in pairs])
        if draw == 0:
            exact = {name: _prior(space[name]) for name in config}
            config |= {name: value for name, value in exact.items() if value is not None}
        if space.allows(config):
            return config
    return None


def expert_share(space: SearchSpace, history: History) -> float:
    """Returns the share of the next draws that are the expert's."""
    if len(history.results) >= _MOST:
        return 0.0
    trials, scores = chained_scores(history.results, history.objectives)
    share = min(_HALF / (_HALF + len(trials)), 0.5)
    if len(trials) < _LEAST:
        return share
    order = np.argsort(scores[:, metric_columns(history.objectives)].mean(axis=1), kind="stable")
    densities = np.array([_log_density(space, trial.config) for trial in trials])[order]
    n_best = len(trials) // 3
    ahead = float(densities[:n_best].mean() - densities[n_best:].mean())
    return share / (1 + math.exp(min(-2 * ahead, 700.0)))


def _prior(parameter: Any) -> Any:
    return getattr(parameter, "prior", None)


def _near(parameter: Any, share: float, *, is_exact: bool) -> float:
    """Returns a share of the parameter's range, drawn from the density around its `prior` by a uniform `share`."""
    prior = _prior(parameter)
    if prior is None:
        return share
    if isinstance(parameter, Choice) and not parameter.ordered:
        place, n = parameter.place(prior), len(parameter.options)
        if is_exact or share < _OWN:
            return (place + 0.5) / n
        return float((share - _OWN) / (1 - _OWN))  # the expert's option included
    centre = _coordinate(parameter, prior)
    low, high = _cdf((0 - centre) / _WIDTH), _cdf((1 - centre) / _WIDTH)
    return centre if is_exact else _inverse(low + share * (high - low), centre)


def _log_density(space: SearchSpace, config: Any) -> float:
    """Returns the logarithm of the density at a configuration, relative to that of uniform draws."""
    total = 0.0
    for name, value in config.items():
        parameter = space[name]
        prior = _prior(parameter)
        if prior is None:
            continue
        if isinstance(parameter, Choice) and not parameter.ordered:
            n = len(parameter.options)
            is_own = parameter.place(value) == parameter.place(prior)
            total += math.log((1 - _OWN) + (_OWN * n if is_own else 0.0))
        else:
            centre = _coordinate(parameter, prior)
            mass = _cdf((1 - centre) / _WIDTH) - _cdf((0 - centre) / _WIDTH)
            away = (_coordinate(parameter, value) - centre) / _WIDTH
            total -= 0.5 * away**2 + math.log(math.sqrt(2 * math.pi) * _WIDTH * mass)
    return total


def _coordinate(parameter: Parameter, value: Any) -> float:
    return float(parameter.encode(value)[0])


def _cdf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _inverse(share: float, centre: float) -> float:
    """Returns the coordinate in [0, 1] below which this share of the uncut normal density lies, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _cdf((middle - centre) / _WIDTH) < share else (low, middle)
    return 0.5 * (low + high)
