"""What earlier tasks lead a Gaussian process to expect, corrected by the results of the study.

A process of the study's own losses has no data about a configuration that is far from all trials. Earlier tasks have.
So the process describes only what the tasks do not explain, as in Golovin et al., "Google Vizier: a service for
black-box optimization", 2017, section 3.3. Differences: the earlier tasks act together, and the results of the study
decide how much they count. For each objective, the losses are a line over the scores that the tasks expect. Its slope
follows from the judged trials, pulled towards 0 as if `_UNRELATED` further trials had shown no relation, and is never
negative. So tasks that predict the errors but not the seconds help with the errors alone, and tasks that mislead soon
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

__all__ = ["Expectation", "Trend"]

Floats = npt.NDArray[np.float64]
Expectation = Callable[[Sequence[Mapping[str, Any]]], Floats]
"""Returns the scores that earlier tasks expect of configurations, shape `(n_configs, n_objectives)`."""

_UNRELATED = 4


@final
@dataclass(frozen=True)
class Trend:
    """A line for each objective, from what earlier tasks expect to the losses of a study, and one loss from them.

    Attributes:
        expect: what they expect. joined: makes one loss of the losses of all objectives.
        middle, centre: the means of the expected scores and of the losses. slopes: at least 0. All three have the shape
            `(n_objectives,)`.
    """

    expect: Expectation
    joined: Callable[[Floats], Floats]
    middle: Floats
    centre: Floats
    slopes: Floats

    @classmethod
    def fitted(
        cls,
        expect: Expectation,
        joined: Callable[[Floats], Floats],
        configs: Sequence[Mapping[str, Any]],
        losses: Floats,
    ) -> Self:
        """Returns the lines through the losses of these trials, which have the shape `(n_trials, n_objectives)`."""
        expected = expect(configs)
        middle, centre = expected.mean(axis=0), losses.mean(axis=0)
        off = expected - middle
        shared = (off * (losses - centre)).sum(axis=0).clip(0.0)
        spread = (len(losses) + _UNRELATED) * off.var(axis=0)
        slopes = np.divide(shared, spread, out=np.zeros_like(spread), where=spread > 1e-12)
        return cls(expect, joined, middle, centre, slopes)

    def losses(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the one loss that is expected of each configuration, shape `(n_configs,)`."""
        if not configs:
            return np.empty(0)
        return self.joined(self.centre + (self.expect(configs) - self.middle) * self.slopes)
