"""What is assumed about the shape of a scaling curve as long as measurements do not show it.

Few points cannot determine how well communication overlaps with computing, or how synchronisation grows with the number
of nodes. Each of these numbers therefore has a mean and a standard deviation that were known before. Points that show
something else outweigh them; without such points, the standard deviation makes the interval of a prediction wider.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np

from lightning_hwtune.core.hardware.scaling.step_time import OVERLAP, SHAPE
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.forms.containers import elements
from lightning_hwtune.forms.kinds import number

if TYPE_CHECKING:
    from lightning_hwtune.core.hardware.scaling.model import ScalingModel

__all__ = ["ScalingShape"]

_MEAN, _SPREAD, _NOISE = number(0.0), number(0.0, above=True), number(0.0, 1.0, above=True)
_OVERLAP = number(*OVERLAP)
_MODELS = elements("a list of ScalingModel", 100_000)
_LEAST_SPREAD = 0.5  # learned from a few applications, a spread is not reduced below this share of the default one


@final
@checked_class(prefix="")
@dataclass(frozen=True, slots=True)
class ScalingShape:
    """Means and standard deviations, each a pair, of the numbers in `StepTime` that describe a shape; and the noise.

    The defaults say that synchronisation across nodes does not grow, which nothing but measurements can refute.
    `ScalingShape.learned` takes them from models of other applications on the same hardware.

    Attributes:
        overlap: the exponent of the overlap of computing and synchronisation; 1 means none.
        sharing: relative growth of computing if a node is shared by very many devices; half of it on two devices.
        local_growth: relative growth of synchronisation inside a node per device after the second.
        crowding: relative growth of synchronisation across nodes per further device on each node.
        third_node: synchronisation on three nodes, as a multiple of that on two.
        per_node: growth of this multiple per node after the third.
        noise: the relative standard deviation of one point, at least; a few steps on one day do not show all of it.

    Examples:
        >>> hwt.ScalingShape(third_node=(0.8, 0.1)).third_node
        (0.8, 0.1)
    """

    overlap: tuple[float, float] = (1.6, 0.5)
    sharing: tuple[float, float] = (0.0, 0.3)
    local_growth: tuple[float, float] = (0.0, 0.3)
    crowding: tuple[float, float] = (0.0, 0.3)
    third_node: tuple[float, float] = (1.0, 0.3)
    per_node: tuple[float, float] = (0.0, 0.05)
    noise: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", _NOISE.read("noise", self.noise))
        for name in SHAPE:
            pair = getattr(self, name)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ArgumentError(name, pair, "a pair of numbers: the mean and the standard deviation")
            form = _OVERLAP if name == "overlap" else _MEAN
            object.__setattr__(self, name, (form.read(name, pair[0]), _SPREAD.read(name, pair[1])))

    @classmethod
    def learned(cls, models: Iterable[ScalingModel]) -> Self:
        """Returns the medians over models of other applications, and their robust spread.

        Raises:
            ArgumentError: there are fewer than three models, or something else is among them.
        """
        found = _MODELS.read("models", models)
        if len(found) < 3 or not all(hasattr(model, "step_time") for model in found):
            raise ArgumentError("models", found, "models of at least three applications on the same hardware")
        default, pairs = cls(), {}
        for name in SHAPE:
            values = np.array([getattr(model.step_time, name) for model in found])
            centre = float(np.median(values))
            spread = 1.4826 * float(np.median(np.abs(values - centre)))
            pairs[name] = (centre, max(spread, _LEAST_SPREAD * getattr(default, name)[1]))
        noise = float(np.median([model.fitted.spread for model in found]))
        return cls(**pairs, noise=max(noise, default.noise))
