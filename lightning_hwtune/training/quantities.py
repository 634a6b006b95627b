"""Quantities that the process of a rank measures for constraints; they are reported with the metrics.

A check does not measure them, because no trial is judged there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from lightning_hwtune.host.memory import peak_bytes
from lightning_hwtune.training.across_ranks import Share

__all__ = ["own_quantities"]


def _peak_memory() -> float:
    n_bytes = peak_bytes()
    return math.nan if n_bytes is None else float(n_bytes)


_MEASURES: Mapping[str, Callable[[], float]] = {"peak_memory": _peak_memory}


def own_quantities(names: Sequence[str]) -> dict[str, Share]:
    """Returns this rank's share of each of these quantities."""
    return {name: Share(_MEASURES[name]()) for name in names}
