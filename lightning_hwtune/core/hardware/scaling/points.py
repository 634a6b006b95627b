"""Measured points of a scaling model, and the split of a global batch among devices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.forms.containers import elements
from lightning_hwtune.forms.kinds import LARGEST, integer, number
from lightning_hwtune.text import counted

__all__ = [
    "ScalingPoint",
    "accumulation",
    "check_nodes",
    "checked_points",
    "dividing",
    "fewest_nodes",
    "per_device",
]

_COUNT = integer(1, LARGEST)
_SECONDS = number(1e-9, 1e9).but("seconds from 1e-9 to 1e9")
_POINTS = elements("a list of ScalingPoint", 100_000)
_COUNTS = elements("a list of device counts such as [1, 2, 4]", 100_000)


@final
@checked_class(prefix="")
@dataclass(frozen=True, slots=True)
class ScalingPoint:
    """The seconds of one optimiser step, measured on an allocation at a global batch.

    Args:
        devices: the total number of devices.
        nodes: the number of nodes that the devices are on.
        global_batch: samples per optimiser step, over all devices.
        seconds: mean or median seconds of one optimiser step, after warm-up.
        accumulate: number of forward and backward passes per optimiser step.

    Raises:
        ArgumentError: a value is not positive, the devices do not spread over the nodes, or the global batch does not
            divide into equal parts.

    Examples:
        >>> hwt.ScalingPoint(devices=2, nodes=1, global_batch=64, seconds=0.31).per_device_batch
        32
    """

    devices: int
    nodes: int
    global_batch: int
    seconds: float
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("devices", "nodes", "global_batch", "accumulate"):
            object.__setattr__(self, name, _COUNT.read(name, getattr(self, name)))
        object.__setattr__(self, "seconds", _SECONDS.read("seconds", self.seconds))
        check_nodes(self.devices, self.nodes)
        per_device(self.global_batch, self.devices, self.accumulate)

    @property
    def per_device_batch(self) -> int:
        """Samples per device and forward pass."""
        return self.global_batch // (self.devices * self.accumulate)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for a file."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the point that `to_dict` described.

        Raises:
            ArgumentError: a key is missing or unknown, or a value is not allowed.
        """
        needed = {"devices", "nodes", "global_batch", "seconds"}
        if not isinstance(data, Mapping) or not needed <= set(data) <= needed | {"accumulate"}:
            raise ArgumentError("point", data, f"a mapping with the keys {', '.join(sorted(needed))}, and accumulate")
        return cls(**data)


def checked_points(points: Iterable[ScalingPoint], devices_per_node: int) -> tuple[ScalingPoint, ...]:
    """Returns the points in order of size.

    Raises:
        ArgumentError: a point does not fit its nodes or occurs twice, or the points cannot determine a model.
    """
    listed = _POINTS.read("points", points)
    for point in listed:
        if not isinstance(point, ScalingPoint):
            raise ArgumentError("points", point, "a list of ScalingPoint")
    found = tuple(sorted(listed, key=lambda point: (point.nodes, point.devices, point.global_batch, point.accumulate)))
    for point in found:
        if point.devices > point.nodes * devices_per_node:
            allowed = f"at most {point.nodes * devices_per_node} for {counted(point.nodes, 'nodes')}"
            hint = f"devices_per_node is {devices_per_node}."
            raise ArgumentError("devices", point.devices, allowed, hint=hint)
    for left, right in itertools.pairwise(found):
        if _size(left) == _size(right):
            hint = "Give the median of repeated measurements."
            raise ArgumentError("points", [left, right], "one point for each allocation and batch", hint=hint)
    if len(found) < 2:
        raise ArgumentError(
            "points",
            list(found),
            "at least two points",
            hint="One measured size does not show how time scales. Measure the same global batch on another number of "
            "devices, or another batch on one device.",
        )
    if len({point.per_device_batch for point in found}) == 1:
        raise ArgumentError(
            "points",
            list(found),
            "points with at least two different batches per device",
            hint="At a fixed global batch, more devices have smaller batches. Measure one device at half the batch.",
        )
    return found


def _size(point: ScalingPoint) -> tuple[int, ...]:
    return point.devices, point.nodes, point.global_batch, point.accumulate


def check_nodes(devices: int, nodes: int) -> None:
    """Refuses more nodes than devices.

    Raises:
        ArgumentError: a node would have no device.
    """
    if nodes > devices:
        raise ArgumentError("nodes", nodes, f"at most {devices}, as there are {counted(devices, 'devices')}")


def fewest_nodes(devices: int, devices_per_node: int) -> int:
    """Returns the number of nodes that hold these devices if as few nodes as possible are used."""
    return -(-devices // devices_per_node)


def per_device(global_batch: int, devices: int, accumulate: int = 1) -> int:
    """Returns samples per device and forward pass.

    Raises:
        ArgumentError: the global batch does not divide into equal parts.
    """
    parts = devices * accumulate
    if global_batch % parts or global_batch < parts:
        among = counted(devices, "devices") + (f" with {accumulate} accumulation steps" if accumulate > 1 else "")
        raise ArgumentError("global_batch", global_batch, f"a multiple of {parts}, to be shared by {among}")
    return global_batch // parts


def accumulation(global_batch: int, devices: int, max_per_device_batch: int | None) -> int:
    """Returns the smallest number of accumulation steps with which a batch per device fits into memory.

    Raises:
        ArgumentError: the global batch cannot be shared by the devices.
    """
    whole = per_device(global_batch, devices)
    if max_per_device_batch is None or whole <= max_per_device_batch:
        return 1
    steps = -(-whole // max_per_device_batch)
    while whole % steps:
        steps += 1
    return steps


def dividing(global_batch: int, counts: Sequence[int]) -> tuple[int, ...]:
    """Returns the device counts that can share a global batch, ascending.

    Raises:
        ArgumentError: none can, or a count is not a positive integer.
    """
    listed = sorted({_COUNT.read("counts", count) for count in _COUNTS.read("counts", counts)})
    if not listed:
        raise ArgumentError("counts", counts, "at least one number of devices")
    found = tuple(count for count in listed if global_batch % count == 0 and global_batch >= count)
    if not found:
        allowed = f"a multiple of one of the device counts {listed}"
        hint = "No allowed number of devices can share this batch equally: change the batch or the counts."
        raise ArgumentError("global_batch", global_batch, allowed, hint=hint)
    return found
