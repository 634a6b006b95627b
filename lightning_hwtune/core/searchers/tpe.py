"""TPE over fronts: new configurations that resemble those of the first fronts and differ from the others.

Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011, section 4: l(x) is a density
of the good configurations and g(x) one of the others. Of the configurations drawn from l, the one with the greatest
l / g is tried. The densities are products of one kernel per coordinate. The model is that of the highest rung with
enough points, as in BOHB: Falkner, Klein and Hutter, "BOHB: robust and efficient hyperparameter optimization at
scale", ICML 2018 (arXiv 1807.01774), section 4; with the Hyperband scheduler this *is* BOHB. Differences: "good" is
the beginning of the rung's order by fronts (`ranking.order`, farthest-first within a front), so that several
objectives need no weights, as in Ozaki et al., "Multiobjective tree-structured Parzen estimator", JAIR 2022. The number
of a draw decides whether it is random. The densities of numbers are truncated to the unit interval.

With `rungs="all"` every judged trial counts. Trials are ordered by the highest level that judged them, deepest first,
and within a level by fronts. A rung contains only trials that were promoted into it, so "highest" learns from few, good
trials. On measured tables, all trials were more informative (`docs/searchers/tpe.md`).

Losses that are not finite count as the worst. Cost of a proposal: O(trials + candidates * points).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.kernels import Kernels
from lightning_hwtune.core.searchers.new_configs import Untried, listed_configs
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.forms import checked_call

__all__ = ["TPE"]


@final
@dataclass(frozen=True, slots=True, init=False)
class TPE(Searcher):
    """Draws near the best trials of the highest rung with enough points; at random until there is one.

    Args:
        good: the share of a rung's trials that counts as good.
        random: the share of draws that stays random.
        candidates: how many configurations are compared for a proposal.
        min_points: the least number of good trials, and of others; None for one more than there are parameters.
        rungs: "highest" to use only the highest rung with enough points, or "all".
        configs: draw only from this list, each once; None for the whole space.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space, searcher = hwt.SearchSpace(optimizer=hwt.Choice(["adam", "sgd"])), hwt.TPE(good=0.2)
        >>> searcher.propose(space, 0, seed=0, history=history)["optimizer"] in ["adam", "sgd"]
        True
    """

    good: float
    random: float
    candidates: int
    min_points: int | None
    rungs: str
    configs: tuple[Mapping[str, Any], ...] | None
    name: ClassVar[str] = "tpe"

    @checked_call("TPE", prefix="TPE.")
    def __init__(
        self,
        good: float = 0.15,
        random: float = 0.33,
        candidates: int = 64,
        min_points: int | None = None,
        rungs: str = "highest",
        configs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        fields = {"good": good, "random": random, "candidates": candidates, "min_points": min_points}
        for field, value in {**fields, "rungs": rungs, "configs": listed_configs("TPE.configs", configs)}.items():
            object.__setattr__(self, field, value)

    def check(self, space: SearchSpace) -> None:
        """Refuses a space in which no batch size is divisible, or a listed configuration that is not in the space.

        Raises:
            ArgumentError: one of these is the case; the message says which.
        """
        _ = space.rejected_share
        for config in self.configs or ():
            space.validate(config)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a list or a small finite space is exhausted."""
        rng = stream(seed, self.name, draw)
        untried, models = history.once(self, lambda: self._learned(space, history))
        if rng.random() >= self.random and models is not None:
            return self._best(space, untried, *models, rng)
        return untried.one(rng)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        listed = {} if self.configs is None else {"configs": [dict(config) for config in self.configs]}
        return {
            "name": self.name,
            "good": self.good,
            "random": self.random,
            "candidates": self.candidates,
            "min_points": self.min_points,
            "rungs": self.rungs,
            **listed,
        }

    def _learned(self, space: SearchSpace, history: History) -> tuple[Untried, tuple[Kernels, Kernels] | None]:
        return Untried.of(space, self.configs, history.trials), self._models(space, history)

    def _models(self, space: SearchSpace, history: History) -> tuple[Kernels, Kernels] | None:
        """Returns the densities of the good trials and of the others; None while no rung has enough of both."""
        n_min = self.min_points or len(space) + 1
        trials = _ranked(history) if self.rungs == "all" else _highest(history, 2 * n_min)
        if len(trials) < 2 * n_min:
            return None
        configs = [trial.config for trial in trials]
        n_good = min(max(n_min, math.ceil(self.good * len(trials))), len(trials) - n_min)
        return Kernels(space, configs[:n_good]), Kernels(space, configs[n_good:])

    def _best(
        self, space: SearchSpace, untried: Untried, good: Kernels, others: Kernels, rng: np.random.Generator
    ) -> dict[str, Any] | None:
        """Returns the candidate with the greatest l / g, drawn from l or from the rest of a list."""
        if untried.listed is not None:
            candidates = untried.some(rng, self.candidates)
        else:
            candidates = [config for config in good.sample(rng, self.candidates) if untried.may_draw(config)]
        if not candidates:
            return untried.one(rng)
        ratios: npt.NDArray[np.float64] = good.log_density(candidates) - others.log_density(candidates)
        return candidates[int(ratios.argmax())]


def _highest(history: History, n_points: int) -> list[TrialRecord]:
    """Returns the trials of the highest rung with at least `n_points`, best first."""
    trials, losses = history.rung(n_points)
    return [trials[index] for index in total_order(losses, "farthest_first")] if trials else []


def _ranked(history: History) -> list[TrialRecord]:
    """Returns all judged trials, those of the deepest level first, and within a level by fronts."""
    by_level: dict[int, list[TrialRecord]] = {}
    for trial in history.results:
        if trial.decided and trial.measurements:
            by_level.setdefault(max(trial.decided), []).append(trial)
    ranked: list[TrialRecord] = []
    for level in sorted(by_level, reverse=True):
        there = by_level[level]
        rows = [history.objectives.loss((trial.at(level) or trial.measurements[-1]).values) for trial in there]
        ranked += [there[index] for index in total_order(np.array(rows).reshape(len(there), -1), "farthest_first")]
    # the sort is stable: violators of a constraint come behind all feasible trials, whatever their level
    return sorted(ranked, key=lambda trial: history.objectives.violation(trial.measurements[-1].values) > 0)
