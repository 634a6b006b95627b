"""Combines the values of an objective from a group of ranks, each of which has seen a share of the data, into one.

The rule is that of Lightning's `sync_dist=True`, applied afterwards. A mean is weighted by the samples that each rank
saw. A value that was logged with `reduce_fx` "sum", "min" or "max" is combined with the same function. A value that is
already combined over all ranks (`sync_dist=True`, a torchmetrics object) does not change.

All functions here are pure, and every rank computes the same result from the same shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from lightning_hwtune.forms import plain

__all__ = ["CombinedValues", "RankValues", "Share", "as_number", "combine"]


@final
@dataclass(frozen=True, slots=True)
class Share:
    """One rank's value of one objective.

    Attributes:
        value: the value; may be NaN or infinite.
        weight: the weight in a mean, such as the number of samples of this rank; shares of weight 0 do not count.
        reduce: how Lightning reduced the value over batches: "mean", "sum", "min" or "max".
        is_combined: True if the value is already combined over all ranks.
    """

    value: float
    weight: float = 1.0
    reduce: str = "mean"
    is_combined: bool = False


@final
@dataclass(frozen=True, slots=True)
class RankValues:
    """The values that one rank has logged.

    Attributes:
        shares: the share of each objective that this rank has logged.
        names: all names whose values count now.
        older: names that were logged earlier and whose values no longer count.
        unusable: for each objective without a number, a description of what was logged instead.
    """

    shares: Mapping[str, Share]
    names: frozenset[str] = frozenset()
    older: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class CombinedValues:
    """The values of all ranks, combined.

    Attributes:
        values: the value of each objective that is not missing.
        averaged: objectives that differed between the ranks and were averaged.
        names: as in `RankValues`.
        older: as in `RankValues`.
        unusable: as in `RankValues`.
    """

    values: Mapping[str, float]
    averaged: tuple[str, ...]
    names: frozenset[str]
    older: frozenset[str]
    unusable: Mapping[str, str]


def as_number(value: Any) -> float | None:
    """Returns a single number from Python, numpy or torch as a float; None for anything else, including booleans."""
    try:
        if isinstance(plain(value), str | bytes | bool) or value is np.ma.masked:
            return None
        return float(value.item() if hasattr(value, "item") else value)
    except Exception:  # objects of user code may raise anything
        return None


def combine(ranks: Sequence[RankValues], rules: Mapping[str, str]) -> CombinedValues:
    """Returns the combined values of the ranks.

    Args:
        ranks: the values that each rank has logged, in the order of ranks.
        rules: for each objective "mean", "max", "min", "sum" or "rank0"; "mean" for objectives that are not in it.
    """
    values: dict[str, float] = {}
    averaged = []
    for name in dict.fromkeys(name for rank in ranks for name in rank.shares):
        rule = rules.get(name, "mean")
        if rule == "rank0":
            if name in ranks[0].shares:
                values[name] = ranks[0].shares[name].value
            continue
        shares = [rank.shares[name] for rank in ranks if name in rank.shares]
        values[name] = _value(shares, rule)
        if rule == "mean" and _reduction(shares) == "mean" and not _agree(shares):
            averaged.append(name)
    names = frozenset[str]().union(*(rank.names for rank in ranks))
    older = frozenset[str]().union(*(rank.older for rank in ranks)) - names
    unusable = {name: text for rank in ranks for name, text in rank.unusable.items()}
    return CombinedValues(values, tuple(averaged), names, older, unusable)


def _value(shares: Sequence[Share], rule: str) -> float:
    """Returns the combined value from the shares of the ranks that have one."""
    combined = next((share for share in shares if share.is_combined), None)
    if combined is not None:
        return combined.value
    reduction = _reduction(shares) if rule == "mean" else rule
    if reduction == "mean":
        return shares[0].value if _agree(shares) else _mean(shares)
    values = [share.value for share in shares]
    return math.nan if any(map(math.isnan, values)) else _REDUCTIONS[reduction](values)


def _reduction(shares: Sequence[Share]) -> str:
    return "combined" if any(share.is_combined for share in shares) else shares[0].reduce


def _agree(shares: Sequence[Share]) -> bool:
    """Return whether all ranks have the same value; it is then used as it is, without the rounding of a mean."""
    first = shares[0].value
    return all(share.value == first or (math.isnan(share.value) and math.isnan(first)) for share in shares)


def _mean(shares: Sequence[Share]) -> float:
    weighted = [share for share in shares if share.weight > 0]
    if not weighted:
        return sum(share.value for share in shares) / len(shares)
    return sum(share.value * share.weight for share in weighted) / sum(share.weight for share in weighted)


_REDUCTIONS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}
