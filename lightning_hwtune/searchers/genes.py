"""Configurations as the mixed variables of pymoo.

A `Float`, or an `Int` with `log`, is a real number from 0 to 1: its coordinate in the unit cube. Any other `Int`, an
ordered choice and the number of devices are integers: the position of the value in its list. An unordered choice is one
of its positions. A parameter with a single value has no gene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from lightning_hwtune.core.parameters.options import handed_out
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, Parameter, SearchSpace

__all__ = ["Genes"]


@final
class Genes:
    """The translation between configurations and genes.

    Attributes:
        variables: name -> pymoo's variable.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.variables = {name: _variable(item) for name, item in space.items() if item.n_values != 1}

    def of(self, config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Returns the genes of a configuration; those of absent parameters are random."""
        return {
            name: _gene(self.space[name], config[name] if name in config else self.space[name].quantile(rng.random()))
            for name in self.variables
        }

    def config(self, genes: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the configuration with these genes."""
        return self.space.kept({name: _value(item, genes.get(name, 0)) for name, item in self.space.items()})


def _is_real(parameter: Parameter) -> bool:
    return isinstance(parameter, Float) or (isinstance(parameter, Int) and parameter.log)


def _variable(parameter: Parameter) -> Any:
    from pymoo.core import variable  # pymoo takes half a second to import

    if _is_real(parameter):
        return variable.Real(bounds=(0.0, 1.0))
    last = (parameter.n_values or 1) - 1
    if isinstance(parameter, Choice) and not parameter.ordered:
        return variable.Choice(options=list(range(last + 1)))
    return variable.Integer(bounds=(0, last))


def _gene(parameter: Parameter, value: Any) -> float | int:
    if _is_real(parameter):
        return parameter.encode(value)[0]
    if isinstance(parameter, Choice | NumDevices):
        return parameter.place(value)
    assert isinstance(parameter, Int)
    return int(value - parameter.low) // parameter.step


def _value(parameter: Parameter, gene: Any) -> Any:
    if _is_real(parameter):
        return parameter.quantile(float(gene))
    assert not isinstance(parameter, Float)
    return handed_out(parameter.levels()[round(float(gene))])
