"""A search space in Optuna's terms, and back.

A number keeps its range, scale and step. An ordered choice, and the number of devices, become the position of the value
in its list. An unordered choice becomes a categorical parameter whose categories are positions, so options can be
anything: lists and None, too. A parameter with a single value is left out. A parameter with a condition is suggested
after those that it depends on, and only if it exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightning_hwtune.core.parameters.options import handed_out
from lightning_hwtune.core.space import Choice, Float, Int, Parameter, SearchSpace

__all__ = ["OptunaSpace"]


@final
class OptunaSpace:
    """The translation between configurations and Optuna's parameters.

    Attributes:
        distributions: name -> Optuna's distribution, without the parameters that have a single value.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.distributions = {name: _distribution(item) for name, item in space.items() if item.n_values != 1}
        self._order = sorted(space, key=lambda name: len(space.ancestors(name)))

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values that Optuna has for a configuration."""
        known = ((name, config[name]) for name in self._order if name in config and name in self.distributions)
        return {name: _to_optuna(self.space[name], value) for name, value in known}

    def suggested(self, trial: optuna.Trial) -> dict[str, Any]:
        """Returns the configuration that a trial of Optuna suggests, in the space's order."""
        values: dict[str, Any] = {}
        for name in self._order:
            if self.space.is_active(name, values):
                values[name] = self._suggested(trial, name)
        return {name: values[name] for name in self.space if name in values}

    def _suggested(self, trial: optuna.Trial, name: str) -> Any:
        parameter, distribution = self.space[name], self.distributions.get(name)
        if isinstance(distribution, FloatDistribution):
            value = trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
            return min(max(float(value), distribution.low), distribution.high)
        if isinstance(distribution, IntDistribution):
            found: Any = trial.suggest_int(
                name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        elif isinstance(distribution, CategoricalDistribution):
            found = trial.suggest_categorical(name, distribution.choices)
        else:
            found = None
        return _from_optuna(parameter, found)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, Choice) and not parameter.ordered:
        return CategoricalDistribution(list(range(parameter.n_values)))
    return IntDistribution(0, parameter.n_values - 1)


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    return value if isinstance(parameter, Float | Int) else parameter.place(value)


def _from_optuna(parameter: Parameter, found: int | None) -> Any:
    if isinstance(parameter, Float):
        raise AssertionError("a Float has more than one value")
    if isinstance(parameter, Int):
        return parameter.low if found is None else int(found)
    return handed_out(parameter.levels()[int(found or 0)])
