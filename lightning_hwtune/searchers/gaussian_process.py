"""Bayesian optimisation with Gaussian processes, through BoTorch: for few, expensive trials.

A Gaussian process per objective is fitted to the scores of the judged trials. The next configuration is the one with
the greatest expected improvement: of the best score with one objective, of the front's hypervolume with several.

- Balandat et al., "BoTorch: a framework for efficient Monte-Carlo Bayesian optimization", NeurIPS 2020.
- Daulton, Balandat and Bakshy, "Parallel Bayesian optimization of multiple noisy objectives with expected hypervolume
  improvement", NeurIPS 2021.
- Ament, Daulton, Eriksson, Balandat and Bakshy, "Unexpected improvements to expected improvement for Bayesian
  optimization", NeurIPS 2023: the logarithm of both improvements.

The scores are those that the process of TPE learns from (`fences.fenced_losses`, chained over the rungs by
`copula.chained`): trials of all rungs count, an exploded loss does little harm, and violators of a constraint come
behind all feasible trials. A trial that no rung has judged is a pending point: its score is unknown, but draws on
several devices keep apart. An absent number is in the middle of its range, and an absent unordered choice is one more
option.

The same seed and history give the same draw on the same machine. Other machines and other versions of torch or BoTorch
round differently, and may find another maximum. BoTorch is imported when the model begins. Cost of a proposal:
O(points^3) for each step of the fit, with at most 200 points.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.searchers import History, Searcher, Sobol
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.copula import chained
from lightning_hwtune.core.searchers.expert import expert_draw
from lightning_hwtune.core.searchers.fences import fenced_losses
from lightning_hwtune.core.searchers.new_configs import Untried, config_key
from lightning_hwtune.core.searchers.parzen import evenly, first_by_fronts
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.forms import checked_class

if TYPE_CHECKING:
    from lightning_hwtune.searchers.gaussian_model import GaussianModel

__all__ = ["GP", "learned_places"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_MAX_PARAMETERS = 15
_MAX_OBJECTIVES = 4  # the number of boxes below a front grows exponentially with the number of objectives
_MAX_POINTS, _MAX_FIRST = 200, 100  # points that the model learns from; those of them that are the best ones
_MAX_FRONT = 50  # points that may be the best or on the front: the model doubts the scores of all of them
_MAX_PENDING = 50
_N_ANYWHERE, _N_NEAR = 256, 256  # candidates drawn from the whole space, and near the best trials
_N_BEST = 8  # trials near which candidates are drawn
_N_CLIMBED = 3  # candidates from which the gradient is followed
_STEPS = (0.3, 0.1, 0.03, 0.01)  # standard deviations of candidates near a trial, in coordinates
_SHARES = (0.1, 0.3, 1.0)  # shares of the parameters in which they differ from it


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class GP(Searcher):
    """Draws where Gaussian processes expect the greatest improvement; evenly spread until enough trials are judged.

    For up to 15 parameters, 4 objectives and about 200 trials. If more are judged, it learns from the best 100 and from
    100 of the others, evenly spread over the study. It needs BoTorch: `pip install 'lightning_hwtune[gp]'`.

    Args:
        start: the model is used once this many trials are judged. Before, draws are those of `Sobol`.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space, searcher = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.GP(start=6)
        >>> sorted(int(4 * searcher.propose(space, draw, seed=0, history=history)["lr"]) for draw in range(4))
        [0, 1, 2, 3]
    """

    start: int = 10
    name: ClassVar[str] = "gp"
    uses_expert: ClassVar[bool] = True

    def check_installed(self) -> None:
        """Refuses to begin or to continue a study without BoTorch, which is not imported here.

        Raises:
            MissingDependencyError: it is not installed; the message names the extra to install.
        """
        if importlib.util.find_spec("botorch") is None:
            raise MissingDependencyError("the searcher GP needs BoTorch: pip install 'lightning_hwtune[gp]'")

    def check(self, space: SearchSpace) -> None:
        """Refuses a space with more than 15 parameters.

        Raises:
            ArgumentError: this is the case; the message says what to do.
        """
        if len(space) > _MAX_PARAMETERS:
            hint = "Its model would need more trials than it can learn from. Use TPE(), or search fewer parameters."
            raise ArgumentError("space", list(space), f"at most {_MAX_PARAMETERS} parameters with GP()", hint=hint)

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses more than four objectives.

        Raises:
            ArgumentError: there are more; the message says what to do.
        """
        if len(objectives) > _MAX_OBJECTIVES:
            hint = "The improvement of a front takes too long to compute with more. Use TPE()."
            allowed = f"at most {_MAX_OBJECTIVES} objectives with GP()"
            raise ArgumentError("objectives", list(objectives.names), allowed, hint=hint)

    def remark(self, space: SearchSpace) -> str:
        """Returns how far the draws can be repeated."""
        return (
            "the searcher 'gp' repeats its draws on this machine with these versions of torch and botorch; on another "
            "machine, or with other versions, the same seed may draw other configurations"
        )

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a small finite space is exhausted."""
        tried = history.memory.keys(history.trials)
        expected = expert_draw(space, draw, seed, history)
        if expected is not None and config_key(expected) not in tried:
            return expected
        rng, untried = stream(seed, self.name, draw), Untried.of(space, None, history.trials, history.memory)
        learned = history.once(self, lambda: self._learned(space, history, seed))
        found = learned.best(untried, tried, rng) if learned is not None else None
        if found is not None:
            return found
        even = Sobol().propose(space, draw, seed, history)
        return even if even is not None and config_key(even) not in tried else untried.one(rng)

    def _learned(self, space: SearchSpace, history: History, seed: int) -> _Learned | None:
        """Returns what the trials say; None while fewer than `start` are judged, and if all of them are as good."""
        trials, scores = history.results, _scores(history)
        judged = np.flatnonzero(~np.isnan(scores[:, 0]))
        if len(judged) < self.start or not (varies := np.ptp(scores[judged], axis=0) > 0).any():
            return None
        self.check_installed()
        places = judged[learned_places(scores[judged][:, varies])]
        pending = [place for place, trial in enumerate(trials) if not trial.is_judged]
        cells, rows = history.memory.cells(space), history.memory.rows(space, trials)
        filled = _filled(cells, rows)
        model = _model_class()(
            filled[places],
            scores[places][:, varies],
            choices=[place for place, n_options in enumerate(cells.n_options.values()) if n_options],
            n_first=_MAX_FRONT,
            pending=filled[pending[-_MAX_PENDING:]],
            seed=seed % 2**31,
        )
        return _Learned(cells, model, filled[places[:_N_BEST]])


@final
@dataclass(frozen=True, slots=True)
class _Learned:
    """The model of one history. `best_rows`: the filled cells of the best trials."""

    cells: Cells
    model: GaussianModel
    best_rows: Floats

    def best(self, untried: Untried, tried: frozenset[str], rng: np.random.Generator) -> dict[str, Any] | None:
        """Returns the new configuration with the greatest expected improvement; None if there is no candidate."""
        new = _new([*untried.some(rng, _N_ANYWHERE), *self._near(rng)], untried.space, tried)
        if not new:
            return None
        rows = self.cells.rows(new)
        values = self.model.improvements(_filled(self.cells, rows))
        starts = rows[np.argsort(-values, kind="stable")[:_N_CLIMBED]]
        may_change = ~np.isnan(starts) & (self._n_options == 0)
        if may_change.any():
            climbed = self.model.climbed(_filled(self.cells, starts), may_change)
            higher = _new(map(self.cells.config, climbed.tolist()), untried.space, tried)
            if higher:
                new += higher
                values = np.append(values, self.model.improvements(_filled(self.cells, self.cells.rows(higher))))
        return new[int(values.argmax())]

    def _near(self, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Returns configurations near the best trials."""
        n_options, rows = self._n_options, self.best_rows[np.arange(_N_NEAR) % len(self.best_rows)]
        moved = (rows + rng.normal(size=rows.shape) * rng.choice(_STEPS, size=(_N_NEAR, 1))).clip(0.0, 1.0)
        options = np.floor(rng.random(rows.shape) * n_options)
        differs = rng.random(rows.shape) < rng.choice(_SHARES, size=(_N_NEAR, 1))
        differs[np.arange(_N_NEAR), rng.integers(rows.shape[1], size=_N_NEAR)] = True
        changed = np.where(differs, np.where(n_options > 0, options, moved), rows)
        known = np.where(n_options > 0, np.minimum(changed, n_options - 1), changed)  # absent choices are one more
        return [self.cells.config(row) for row in known.tolist()]

    @property
    def _n_options(self) -> Places:
        """The number of options of each unordered choice; 0 for other parameters."""
        return np.array(list(self.cells.n_options.values()))


def learned_places(scores: Floats) -> Places:
    """Returns the places of the rows that the model learns from, at most 200: the best ones first, by fronts."""
    first = first_by_fronts(scores, _MAX_FIRST)
    rest = np.setdiff1d(np.arange(len(scores)), first)
    return np.concatenate([first, evenly(rest, _MAX_POINTS - len(first))])


def _scores(history: History) -> Floats:
    """Returns the scores of all trials, low is good; NaN for a trial that no rung has judged."""
    trials, objectives = history.results, history.objectives
    rungs = history.memory.rungs(trials, objectives)
    return chained(rungs, len(trials), len(objectives), lambda losses: fenced_losses(losses, objectives))


def _filled(cells: Cells, rows: Floats) -> Floats:
    """Returns rows without NaN: an absent number is in the middle, and an absent choice is one more option."""
    return np.where(np.isnan(rows), [float(n) if n else 0.5 for n in cells.n_options.values()], rows)


def _new(configs: Iterable[dict[str, Any]], space: SearchSpace, tried: frozenset[str]) -> list[dict[str, Any]]:
    """Returns the distinct configurations among these that are allowed and have no trial yet."""
    known = {config_key(config): config for config in configs if space.allows(config)}
    return [config for key, config in known.items() if key not in tried]


def _model_class() -> type[GaussianModel]:
    """Imports BoTorch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of BoTorch use what torch deprecates
        from lightning_hwtune.searchers.gaussian_model import GaussianModel
    return GaussianModel
