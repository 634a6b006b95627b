"""Quantities that the process of a rank measures for objectives and constraints; they are reported with the metrics.

A check does not measure them, because no trial is judged there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from lightning_hwtune.host.memory import peak_bytes
from lightning_hwtune.training.across_ranks import Share
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["own_quantities"]


def _peak_memory(segment: ActiveSegment) -> float:
    n_bytes = peak_bytes()
    return math.nan if n_bytes is None else float(n_bytes)


def _energy(segment: ActiveSegment) -> float:
    return math.nan if segment.energy is None else segment.energy.joules


_MEASURES: Mapping[str, Callable[[ActiveSegment], float]] = {"peak_memory": _peak_memory, "energy_j": _energy}


def own_quantities(segment: ActiveSegment) -> dict[str, Share]:
    """Returns this rank's share of each quantity that the segment's order asks for."""
    return {name: Share(_MEASURES[name](segment)) for name in segment.order.measured}
