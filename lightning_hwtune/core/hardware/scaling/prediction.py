"""A prediction of the scaling model, and what no measurement supports in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.hardware.scaling.points import ScalingPoint
from lightning_hwtune.text import counted

__all__ = ["Prediction", "extrapolations"]


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted seconds of one optimiser step.

    Attributes:
        seconds: the most likely value.
        low, high: the ends of the interval in which a measurement is expected.
        accumulate: the number of accumulation steps. per_device_batch: samples per device and forward pass.
        extrapolated: how the size lies outside what was measured, one sentence each; empty if it does not.
    """

    seconds: float
    low: float
    high: float
    accumulate: int
    per_device_batch: int
    extrapolated: tuple[str, ...]

    @property
    def is_extrapolated(self) -> bool:
        """Whether the size lies outside what was measured."""
        return bool(self.extrapolated)


def extrapolations(points: Sequence[ScalingPoint], devices: int, nodes: int, per_device_batch: int) -> tuple[str, ...]:
    """Returns how a size lies outside what was measured, one sentence each; empty if it does not."""
    found = []
    most_nodes = max(point.nodes for point in points)
    if nodes > most_nodes:
        found.append(f"measured: at most {counted(most_nodes, 'nodes')}")
    alike = [p for p in points if p.nodes > 1] if nodes > 1 else [p for p in points if p.nodes == 1]
    densest = max((p.devices / p.nodes for p in alike), default=0.0)
    if devices / nodes > densest:
        where = "per node on several nodes" if nodes > 1 else "of one node"
        most = counted(int(densest), "devices") if densest.is_integer() else f"{densest:g} devices"
        found.append(f"measured: at most {most} {where}")
    if devices == 1 and not any(point.devices == 1 for point in points):
        found.append("one device alone was not measured")
    batches = [point.per_device_batch for point in points]
    if not min(batches) <= per_device_batch <= max(batches):
        measured = f"batches from {min(batches)} to {max(batches)} per device"
        found.append(f"measured: {measured}, not {per_device_batch}")
    return tuple(found)
