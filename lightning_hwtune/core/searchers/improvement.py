"""The model of TPE that chooses among candidates: a Gaussian process of the loss, and the improvement expected from it.

Several objectives become one loss by weights, which are other ones for each new trial: Knowles, "ParEGO: a hybrid
algorithm with on-line landscape approximation for expensive multiobjective optimization problems", 2006, equation 2.
Of the candidates, the one with the greatest expected improvement is tried.

Losses, not ranks, because close to an optimum ranks say little about where it is. What makes them fit for a process:

- An exploded loss counts as a fence that is not far above the others, and violators are behind it (`fences`).
- Trials of all rungs count. The losses of a deeper rung get the mean and the spread that its trials had before
  (`copula.chained`).
- A trial that failed before its first result counts as the worst.

The process knows the trials that run, with the loss that it expects from them, so that draws on several devices keep
apart: the "kriging believer" of Ginsbourger, Le Riche and Carraro, 2010.

With a prior, the process describes only what the earlier tasks do not explain (`trend`).

Candidates come from the densities of the good trials, jointly and for each parameter alone, from steps around the good
trials, and from the whole space. The best of them are then varied twice more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import copied
from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.copula import chained
from lightning_hwtune.core.searchers.fences import fenced_losses
from lightning_hwtune.core.searchers.gaussian_process import GaussianProcess, log_improvement
from lightning_hwtune.core.searchers.kernels import Kernels
from lightning_hwtune.core.searchers.new_configs import Untried, config_key
from lightning_hwtune.core.searchers.parzen import ParzenModel, evenly, unit_range
from lightning_hwtune.core.searchers.trend import Expectation, Trend
from lightning_hwtune.core.streams import stream

__all__ = ["ImprovementModel", "one_loss"]

Floats = npt.NDArray[np.float64]

_MAX_POINTS = 100  # of the judged trials; the time of a fit grows with their third power
_MAX_SILENT = 16  # trials without a result that run, and as many that failed
_MAX_LISTED = 600  # candidates from a list
_SUM_SHARE = 0.05  # of the weighted sum in the loss; the rest is the greatest weighted objective
_WIDTHS = np.array([0.2, 0.1, 0.05, 0.02, 0.01])  # of the steps around good trials
_LATER_WIDTHS, _N_VARIED, _N_VARIANTS = (0.05, 0.02), 8, 4


@final
@dataclass(frozen=True)
class ImprovementModel:
    """What the process learns from, and where candidates come from.

    Attributes:
        rows: cells of the points. losses: one loss each, minus the expected one if there is a trend.
        running: cells of the trials that have no result yet.
        good: the density of the good trials; its points are `good_rows`.
        trend: what earlier tasks lead to expect; None without a prior.
        expected: the loss that the trend expects of the points and of the running trials; 0 without a trend.
        tried: keys of the trials' configurations; empty without a trend.
    """

    cells: Cells
    rows: Floats
    losses: Floats
    running: Floats
    good: Kernels
    good_rows: Floats
    trend: Trend | None
    expected: Floats
    tried: frozenset[str] = frozenset()

    @classmethod
    def of(cls, history: History, seed: int, parzen: ParzenModel, expect: Expectation | None = None) -> Self:
        """Returns the model after these trials; `parzen` is that of the good ones among them.

        Args:
            expect: what earlier tasks expect; None without a prior.
        """
        trials, objectives, cells, good_places = history.results, history.objectives, parzen.cells, parzen.good_places
        losses = chained(parzen.known, len(trials), len(objectives), lambda found: fenced_losses(found, objectives))
        judged = np.flatnonzero(~np.isnan(losses[:, 0]))
        rest = np.setdiff1d(judged, good_places)
        places = np.append(good_places, evenly(rest, _MAX_POINTS - len(good_places)))
        silent = [place for place, trial in enumerate(trials) if not trial.is_judged]
        failed = [place for place in silent if trials[place].state.is_final][-_MAX_SILENT:]
        running = [place for place in silent if not trials[place].state.is_final][-_MAX_SILENT:]
        losses[failed], places = losses[judged].max(axis=0), np.append(places, failed).astype(np.int64)
        rows = history.memory.rows(cells.space, trials)
        weights = stream(seed, "tpe-weights", len(history.trials)).standard_exponential(len(objectives))
        joined = functools.partial(_joined, weights=weights / weights.sum())
        known, trend, expected = unit_range(losses[places]), None, np.zeros(len(places) + len(running))
        tried: frozenset[str] = frozenset()
        if expect is not None:
            tried = history.memory.keys(history.trials)
            configs = [trials[place].config for place in (*places.tolist(), *running)]
            trend = Trend.fitted(expect, joined, configs[: len(places)], known)
            expected = trend.losses(configs)
        loss = joined(known) - expected[: len(places)]
        return cls(cells, rows[places], loss, rows[running], parzen.good, rows[good_places], trend, expected, tried)

    def best(self, untried: Untried, n: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """Returns the candidate with the greatest expected improvement.

        Args:
            n: half as many candidates come from each density and from the whole space, and as many are steps around
                good trials. A list gives up to `_MAX_LISTED`.
        """
        if untried.listed is not None:
            places = untried.some_places(rng, _MAX_LISTED)
            if not places:
                return None
            gains = self._improvement(self.cells.rows_at(untried.listed, places), [untried.listed[n] for n in places])
            return copied(untried.listed[places[int(gains.argmax())]])
        rows = self._candidates(n, rng)
        gains = self._improvement_at(rows)
        for width in _LATER_WIDTHS:
            best = np.argsort(-gains, kind="stable")[:_N_VARIED]
            varied = self._stepped(rows[best].repeat(_N_VARIANTS, axis=0), width, rng)
            rows, gains = np.vstack([rows, varied]), np.append(gains, self._improvement_at(varied))
        for place in np.argsort(-gains, kind="stable"):
            config = self.cells.config(rows[place].tolist())
            if untried.may_draw(config) and not (self.tried and config_key(config) in self.tried):
                return config
        return untried.one(rng)

    @functools.cached_property
    def _process(self) -> GaussianProcess:
        return GaussianProcess(self.cells, self.rows, self.losses).expecting(self.running)

    def _improvement_at(self, rows: Floats) -> Floats:
        """Returns the logarithm of the improvement that is expected at each row, of which some cells may not exist."""
        configs = [self.cells.config(row) for row in rows.tolist()] if self.trend else []
        return self._improvement(self.cells.active(rows), configs)

    def _improvement(self, rows: Floats, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the same for rows as they count, and their configurations, which only a trend needs."""
        process = self._process
        left, deviation = process.predict(rows)
        trend = self.trend.losses(configs) / process.span if self.trend else 0.0
        best = float((process.losses + self.expected / process.span).min())
        return log_improvement(left + trend, deviation, best)

    def _candidates(self, n: int, rng: np.random.Generator) -> Floats:
        half, near = math.ceil(n / 2), self.good_rows[rng.integers(len(self.good_rows), size=n)]
        widths = _WIDTHS[rng.integers(len(_WIDTHS), size=n)]
        drawn = [self.good.sample(rng, half), self.good.sample_marginals(rng, half), self._anywhere(half, rng)]
        return np.vstack([self.cells.near(np.vstack(drawn)), self._stepped(near, widths, rng)])

    def _anywhere(self, n: int, rng: np.random.Generator) -> Floats:
        """Returns rows drawn evenly from the whole space."""
        shares, n_options = rng.random((n, len(self.cells.n_options))), np.array([*self.cells.n_options.values()])
        return np.where(n_options > 0, np.floor(shares * n_options), shares)

    def _stepped(self, rows: Floats, widths: Floats | float, rng: np.random.Generator) -> Floats:
        """Returns rows with normal steps in some parameters, reflected at the ends of the range; options are redrawn.

        Args:
            widths: of the steps, in units of the range; one for each row, or for all.
        """
        n_rows, n_parameters = rows.shape
        moves = rng.random(rows.shape) < max(0.3, 1.5 / n_parameters)
        moves[np.arange(n_rows), rng.integers(n_parameters, size=n_rows)] = True
        found = rows.copy()
        for place, n_options in enumerate(self.cells.n_options.values()):
            column = found[:, place]
            if n_options:
                moved = np.where(rng.random(n_rows) < 0.5, rng.integers(n_options, size=n_rows), column)
            else:
                moved = np.abs(column + widths * rng.standard_normal(n_rows))
                moved = np.where(moved > 1, 2 - moved, moved).clip(0, 1)
            moved = np.where(moves[:, place], moved, column)
            absent = 0.0 if n_options else 0.5  # it may be present in the new configuration
            found[:, place] = np.where(np.isnan(moved), absent, moved)
        return self.cells.near(found)


def one_loss(losses: Floats, weights: Floats) -> Floats:
    """Returns one loss per point: mostly the greatest weighted objective, each scaled to its range.

    Args:
        losses: finite, shape `(n_points, n_objectives)`. weights: shape `(n_objectives,)`, with the sum 1.
    """
    return _joined(unit_range(losses), weights)


def _joined(losses: Floats, weights: Floats) -> Floats:
    scaled = weights * losses
    found: Floats = scaled.max(axis=1) + _SUM_SHARE * scaled.sum(axis=1)
    return found
