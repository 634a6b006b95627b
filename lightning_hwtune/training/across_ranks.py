"""One value of an objective for a group of ranks, of which each has seen its own share of the data.

The rule is what Lightning's `sync_dist=True` does, applied afterwards: a mean is weighted by the samples that each
rank saw; a value that was logged with `reduce_fx` "sum", "min" or "max" is combined in the same way. A value that is
the same for all ranks already (`sync_dist=True`, a torchmetrics object) stays as it is.

Everything here is pure, and every rank computes the same from the same shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from lightning_hwtune.forms import plain

__all__ = ["Combined", "Logged", "Share", "as_number", "combine"]


@final
@dataclass(frozen=True, slots=True)
class Share:
    """What one rank has of one objective.

    Attributes:
        value: may be NaN or infinite.
        weight: of a mean, such as the number of samples behind the value; shares without weight do not count.
        reduce: how Lightning reduced it over batches: "mean", "sum", "min" or "max".
        is_combined: True if the value is that of all ranks already.
    """

    value: float
    weight: float = 1.0
    reduce: str = "mean"
    is_combined: bool = False


@final
@dataclass(frozen=True, slots=True)
class Logged:
    """What one rank has logged.

    Attributes:
        shares: objective -> share; without those that this rank did not log.
        names: everything that counts now. older: what was logged before, but does not count any more.
        unusable: objective -> what was logged instead of a number.
    """

    shares: Mapping[str, Share]
    names: frozenset[str] = frozenset()
    older: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Combined:
    """What all ranks have logged together.

    Attributes:
        values: objective -> value; without those that are missing.
        averaged: objectives that differed between the ranks and were averaged.
        names, older, unusable: as in `Logged`.
    """

    values: Mapping[str, float]
    averaged: tuple[str, ...]
    names: frozenset[str]
    older: frozenset[str]
    unusable: Mapping[str, str]


def as_number(value: Any) -> float | None:
    """Returns a single number as a float: of Python, numpy or torch; None for anything else, True and False too."""
    try:
        if isinstance(plain(value), str | bytes | bool) or value is np.ma.masked:
            return None
        return float(value.item() if hasattr(value, "item") else value)
    except Exception:  # also what an object of the user's own raises
        return None


def combine(ranks: Sequence[Logged], rules: Mapping[str, str]) -> Combined:
    """Returns what the ranks, in their order, have logged together.

    Args:
        rules: objective -> "mean", "max", "min", "sum" or "rank0"; "mean" where it is silent.
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
    return Combined(values, tuple(averaged), names, older, unusable)


def _value(shares: Sequence[Share], rule: str) -> float:
    """Returns the value of all ranks from the shares of those that have one."""
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
    """Return whether all ranks have the same value, which then needs no rounding."""
    first = shares[0].value
    return all(share.value == first or (math.isnan(share.value) and math.isnan(first)) for share in shares)


def _mean(shares: Sequence[Share]) -> float:
    weighted = [share for share in shares if share.weight > 0]
    if not weighted:
        return sum(share.value for share in shares) / len(shares)
    return sum(share.value * share.weight for share in weighted) / sum(share.weight for share in weighted)


_REDUCTIONS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}
