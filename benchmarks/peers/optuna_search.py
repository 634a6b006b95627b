"""A sampler of Optuna as a searcher, for `benchmarks/searchers.py`: through its own ask and tell.

A trial is reported as soon as its first rung has judged it, with its losses there, because Optuna has no pruning for
several objectives and takes one result per trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

import optuna

from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace

__all__ = ["SAMPLERS", "OptunaSampling"]

SAMPLERS: Mapping[str, Callable[[int], Any]] = {
    "optuna_tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna_nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}
"""Name -> the sampler with this seed, and its own defaults."""


@final
class OptunaSampling(Searcher):
    """Proposes what a sampler of Optuna proposes, for one study. Each draw must be asked once, in order.

    Args:
        sampler: a key of `SAMPLERS`.
    """

    name: ClassVar[str] = "optuna_sampling"

    def __init__(self, sampler: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sampler, self.seed = sampler, seed
        self._study: optuna.Study | None = None
        self._drawn: list[dict[str, Any]] = []
        self._n_told: set[int] = set()

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; the same one if it is called again."""
        if draw < len(self._drawn):
            return self._drawn[draw]
        if self._study is None:
            directions = ["minimize"] * len(history.objectives)
            self._study = optuna.create_study(directions=directions, sampler=SAMPLERS[self.sampler](self.seed))
        for trial in history.trials:
            if trial.draw is not None and trial.decided and trial.draw not in self._n_told:
                first = trial.at(min(trial.decided)) or trial.measurements[-1]
                self._study.tell(trial.draw, history.objectives.loss(first.values).tolist())
                self._n_told.add(trial.draw)
        asked = self._study.ask()
        self._drawn.append({name: _suggested(asked, name, parameter) for name, parameter in space.items()})
        return self._drawn[-1]


def _suggested(asked: optuna.Trial, name: str, parameter: Any) -> Any:
    if isinstance(parameter, Float):
        return asked.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Int):
        return asked.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Choice) and not parameter.ordered:
        return asked.suggest_categorical(name, list(parameter.options))
    raise TypeError(f"{name}: no suggestion for {parameter!r}")
