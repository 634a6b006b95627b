"""The devices that one segment trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard, final

__all__ = ["LOCAL", "ONE_DEVICE", "Allocation"]

LOCAL = "local"
"""The name of the instance type of a pool on this host."""


@final
@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """A number of devices of one instance type.

    Attributes:
        devices: the total number of devices. nodes: the number of nodes. instance: the name of the instance type.

    Examples:
        >>> hwt.Allocation(8, nodes=2, instance="g5.48xlarge")
        Allocation(devices=8, nodes=2, instance='g5.48xlarge')
    """

    devices: int
    nodes: int = 1
    instance: str = LOCAL

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"instance": self.instance, "devices": self.devices, "nodes": self.nodes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the allocation that `to_dict` described.

        Raises:
            ValueError: the data has another form.
        """
        instance, devices, nodes = data.get("instance"), data.get("devices"), data.get("nodes")
        if len(data) == 3 and isinstance(instance, str) and _is_count(devices) and _is_count(nodes):
            return cls(devices, nodes, instance)
        raise ValueError(f"{dict(data)} is not an allocation")


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


ONE_DEVICE = Allocation(1)
