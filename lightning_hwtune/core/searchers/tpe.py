"""TPE over fronts: new configurations that resemble the best ones and differ from the others.

Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011, section 4: l(x) is a density
of the good configurations and g(x) one of the others (`kernels`). Of the configurations drawn from l, the one with the
greatest l / g is tried. Differences from the paper:

- For most draws, a Gaussian process chooses among candidates from l, from steps around the good configurations and from
  the whole space (`improvement`). It finds a smooth minimum much more exactly. The ratio l / g chooses for the others,
  because it also works where losses are not smooth.
- A share of the draws uses kernels that are products over all parameters, so that parameters which are only good
  together stay together. The paper's estimator has each parameter for itself, as the other draws do.
- "Good" is the beginning of an order by fronts. Of the last front that counts, the trials are taken that add most
  hypervolume to those taken before, so that several objectives need no weights. Ozaki et al., "Multiobjective
  tree-structured Parzen estimator", JAIR 2022, do the same.
- Trials of all rungs count (`copula.chained_scores`): what a deeper rung says orders its trials among themselves.
- A trial that no rung has judged yet counts among the others, so that draws on several devices keep apart. This is the
  constant liar of Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010.
- The number of a draw decides whether it is random.

With `estimator="bohb"` everything about the densities is as in Falkner, Klein and Hutter, "BOHB: robust and efficient
hyperparameter optimization at scale", ICML 2018 (arXiv 1807.01774), section 4; see `bohb`. With the Hyperband
scheduler and `rungs="highest"` this *is* BOHB.

Losses that are not finite count as the worst. Cost of a proposal: O(trials) for the order,
O(candidates * parameters * min(trials, 500)) for the densities, and a fit to at most 100 trials for the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.bohb import BohbModel
from lightning_hwtune.core.searchers.expert import expert_draw
from lightning_hwtune.core.searchers.improvement import ImprovementModel
from lightning_hwtune.core.searchers.new_configs import Untried, listed_configs
from lightning_hwtune.core.searchers.parzen import ParzenModel
from lightning_hwtune.core.searchers.random import Random
from lightning_hwtune.core.searchers.trend import Expectation
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.forms import checked_call

__all__ = ["TPE"]


@final
@dataclass(frozen=True, slots=True, init=False)
class TPE(Searcher):
    """Draws near the best trials; at random until enough trials are judged.

    Args:
        good: the share of the judged trials that counts as good.
        random: the share of draws that stays random.
        candidates: how many configurations are compared for a proposal.
        min_points: the model is used once `2 * min_points` trials are judged. With "bohb" it is also the least
            number of good trials and of other trials. None: 5; with "bohb", the number of parameters plus one.
        rungs: "all" to learn from the trials of all rungs, or "highest" to use only the highest rung with enough
            points.
        configs: draw only from this list, each once; None for the whole space.
        estimator: "parzen", or "bohb" for the estimator of BOHB, which this class had before.
        gaussian: the share of the model's draws for which a Gaussian process chooses among the candidates, instead of
            the ratio of the densities. Only with "parzen".

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
    estimator: str
    gaussian: float
    name: ClassVar[str] = "tpe"
    uses_expert: ClassVar[bool] = True

    @checked_call("TPE", prefix="TPE.")
    def __init__(
        self,
        good: float = 0.1,
        random: float = 0.02,
        candidates: int = 64,
        min_points: int | None = None,
        rungs: str = "all",
        configs: Sequence[Mapping[str, Any]] | None = None,
        *,
        estimator: str = "parzen",
        gaussian: float = 0.9,
    ) -> None:
        fields: dict[str, Any] = {"good": good, "random": random, "candidates": candidates, "min_points": min_points}
        fields |= {"rungs": rungs, "configs": listed_configs("TPE.configs", configs)}
        fields |= {"estimator": estimator, "gaussian": gaussian}
        for field, value in fields.items():
            object.__setattr__(self, field, value)

    def check(self, space: SearchSpace) -> None:
        """Refuses a listed configuration that is not in the space.

        Raises:
            ArgumentError: this is the case; the message says which.
        """
        for config in self.configs or ():
            space.validate(config)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a list or a small finite space is exhausted."""
        return self.proposal(space, draw, seed, history)

    def proposal(
        self, space: SearchSpace, draw: int, seed: int, history: History, expect: Expectation | None = None
    ) -> dict[str, Any] | None:
        """Returns the same, given what earlier tasks expect, which must be the same for all calls of this instance."""
        rng = stream(seed, self.name, draw)
        untried, model, improvement = history.once(self, lambda: self._learned(space, seed, history, expect))
        expected = expert_draw(space, draw, seed, history) if self.configs is None else None
        if expected is not None and untried.may_draw(expected):
            return expected
        if model is None and self.configs is None and self.estimator != "bohb":
            return Random().propose(space, draw, seed, history)
        if rng.random() < self.random or model is None:
            return untried.one(rng)
        chosen = improvement if improvement is not None and rng.random() < self.gaussian else model
        return chosen.best(untried, self.candidates, rng)

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
            "estimator": self.estimator,
            "gaussian": self.gaussian,
            **listed,
        }

    def _learned(
        self, space: SearchSpace, seed: int, history: History, expect: Expectation | None
    ) -> tuple[Untried, ParzenModel | BohbModel | None, ImprovementModel | None]:
        untried = Untried.of(space, self.configs, history.trials, history.memory)
        if self.estimator == "bohb":
            return untried, BohbModel.of(space, history, self.rungs, self.good, self.min_points), None
        model = ParzenModel.of(space, history, self.rungs, self.good, self.min_points)
        if model is None or not self.gaussian:
            return untried, model, None
        return untried, model, ImprovementModel.of(history, seed, model, expect)
