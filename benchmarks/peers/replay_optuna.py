"""Optuna's multi-objective samplers on replayed tables, with every configuration trained to the end.

Optuna has no pruning for several objectives. If it proposes a configuration again, it gets the known values at once and
without cost; if that configuration is still training, the proposal fails. After `_MAX_REPEATS` such answers in a row,
the next configuration is drawn from the untried ones. This favours Optuna, since a real study would train them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import optuna

from lightning_hwtune.core.parameters import Choice
from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream

__all__ = ["SAMPLERS", "OptunaSearch"]

SAMPLERS = {
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    # the option that Optuna recommends for parallel trials
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
}
_MAX_REPEATS = 5


@final
class OptunaSearch(Searcher):
    """Proposes configurations by a sampler of Optuna, for one study.

    Args:
        sampler: a key of `SAMPLERS`. configs: a full grid, each tried at most once.
    """

    name: ClassVar[str] = "optuna"

    def __init__(self, sampler: str, configs: Sequence[Mapping[str, Any]], seed: int, n_objectives: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._configs = [dict(config) for config in configs]
        self._drawn: list[dict[str, Any]] = []
        self._numbers: list[
            int | None
        ] = []  # Optuna's number of each draw; None = not from Optuna, or already reported
        self._losses: dict[str, list[float]] = {}
        self._sampler = sampler
        self._study = optuna.create_study(directions=["minimize"] * n_objectives, sampler=SAMPLERS[sampler](seed))

    def check(self, space: SearchSpace) -> None:
        """Accepts any space of choices."""

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"name": self.name, "sampler": self._sampler}

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; the same one if it is called again."""
        if draw < len(self._drawn):
            return self._drawn[draw]
        if draw >= len(self._configs):
            return None
        self._tell(history)
        number, config = self._ask(space, seed)
        self._numbers.append(number)
        self._drawn.append(config)
        return config

    def _tell(self, history: History) -> None:
        """Reports to Optuna everything that was trained to the end since the last call."""
        for trial in history.trials:
            if trial.state.is_final and trial.measurements and _key(trial.config) not in self._losses:
                losses = history.objectives.loss(trial.measurements[-1].values).tolist()
                self._losses[_key(trial.config)] = losses
                number = None if trial.draw is None else self._numbers[trial.draw]
                if number is not None:
                    self._study.tell(number, losses)

    def _ask(self, space: SearchSpace, seed: int) -> tuple[int | None, dict[str, Any]]:
        taken = {_key(config) for config in self._drawn}
        for _ in range(_MAX_REPEATS):
            asked = self._study.ask()
            config = {name: _suggested(asked, name, parameter) for name, parameter in space.items()}
            if _key(config) not in taken:
                return asked.number, config
            if _key(config) in self._losses:
                self._study.tell(asked.number, self._losses[_key(config)])
            else:
                self._study.tell(asked.number, state=optuna.trial.TrialState.FAIL)
        left = [config for config in self._configs if _key(config) not in taken]
        return None, left[int(stream(seed, "optuna-rest", len(self._drawn)).integers(len(left)))]


def _suggested(asked: optuna.Trial, name: str, parameter: Any) -> Any:
    """Optuna's suggestion: the index of an ordered choice as an integer, of any other choice as a category."""
    if not isinstance(parameter, Choice):
        raise TypeError(f"{name}: {parameter!r} is no choice")
    places = range(len(parameter.options))
    if parameter.ordered:
        return parameter.options[asked.suggest_int(name, 0, len(places) - 1)]
    return parameter.options[asked.suggest_categorical(name, list(places))]


def _key(config: Mapping[str, Any]) -> str:
    return repr(sorted(config.items()))
