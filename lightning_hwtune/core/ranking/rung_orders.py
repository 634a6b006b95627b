"""The order of a rung by name: fronts with an order within each, a weighted sum, or a single objective.

- a key of `within.WITHIN`, such as "farthest_first": front by front.
- "weighted" (equal weights) or "weighted:2,1,1", one weight per objective, in the study's order: without fronts.
- "objective:val_error", or "objective:0" with its index from 0: only this objective, as if there were no others.

With one objective they are all the same. `checked_order` refuses names that are wrong for every study,
`resolved_order` those that are wrong for a particular one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_hwtune.core.ranking.by_fronts import ByFronts
from lightning_hwtune.core.ranking.by_loss import ByLoss
from lightning_hwtune.core.ranking.by_weights import ByWeights
from lightning_hwtune.core.ranking.finite import FiniteOrder
from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["checked_order", "finite_order", "resolved_order"]


def checked_order(name: str) -> str:
    """Returns `name` if it is the name of an order.

    Raises:
        ArgumentError: it is not.
    """
    kind, colon, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
    if (kind in WITHIN and not colon) or (kind == "objective" and rest):
        return name
    if kind == "weighted" and (not colon or _weights(rest) is not None):
        return name
    options = [*WITHIN, "weighted", "objective"]
    allowed = f"{', '.join(map(repr, WITHIN))}, 'weighted', 'weighted:2,1' or 'objective:NAME'"
    raise ArgumentError("within", name, f"{allowed}{nearest(kind, options)}")


def resolved_order(name: str, n_objectives: int, names: Sequence[str] = ()) -> str:
    """Returns the order with an objective's name replaced by its index.

    Raises:
        ArgumentError: there is no such objective, or the number of weights is not that of the objectives.
    """
    kind, _, rest = checked_order(name).partition(":")
    if kind == "weighted" and rest and len(_weights(rest) or ()) != n_objectives:
        raise ArgumentError("within", name, f"{n_objectives} weights, one per objective{_listed(names)}")
    if kind != "objective":
        return name
    if rest in names:
        return f"objective:{list(names).index(rest)}"
    if rest.isdecimal() and int(rest) < n_objectives:
        return name
    allowed = (
        f"one of the objectives {', '.join(names)}" if names else f"'objective:0' to 'objective:{n_objectives - 1}'"
    )
    raise ArgumentError("within", name, f"{allowed}{nearest(rest, names)}")


def finite_order(name: str, n_objectives: int, exact_up_to: int) -> FiniteOrder:
    """Returns an empty order of this name, as given by `resolved_order`."""
    kind, _, rest = resolved_order(name, n_objectives).partition(":")
    if n_objectives == 1:
        return ByLoss()
    if kind == "objective":
        return ByLoss(int(rest))
    if kind == "weighted":
        return ByWeights(_weights(rest) or (1.0,) * n_objectives)
    return ByFronts(n_objectives, name, exact_up_to)


def _weights(text: str) -> tuple[float, ...] | None:
    """Returns the numbers of "2,1,1"; None if they are not weights."""
    try:
        weights = tuple(map(float, text.split(",")))
    except ValueError:
        return None
    return weights if all(map(math.isfinite, weights)) and min(weights) >= 0 < max(weights) else None


def _listed(names: Sequence[str]) -> str:
    return f": {', '.join(names)}" if names else ""
