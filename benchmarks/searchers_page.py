"""The part of `docs/results.md` about `benchmarks/searchers.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.page_parts import shown, spread, table

__all__ = ["details"]


def details(document: Mapping[str, Any]) -> list[str]:
    """Returns the medians of each arm, and the ratios of the default to the others."""
    arms = list(dict.fromkeys(arm for found in document["medians"].values() for arm in found))
    medians = [[case, *(shown(found.get(arm)) for arm in arms)] for case, found in document["medians"].items()]
    others = [arm for arm in arms if arm != "default"]
    ratios = [
        [case, *(spread(found[arm]) if arm in found else "-" for arm in others)]
        for case, found in document["ratios"].items()
    ]
    return [
        "Median regret with one objective, or median missing hypervolume with several:",
        table(["problem", *(f"`{arm}`" for arm in arms)], medians),
        "The median of `default` divided by that of the others, over the seeds that both have, with a 90 % bootstrap "
        "interval over seeds:",
        table(["problem", *(f"`{arm}`" for arm in others)], ratios),
    ]
