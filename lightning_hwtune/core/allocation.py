"""The devices that one segment trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard, final

__all__ = ["LOCAL", "ONE_DEVICE", "Allocation", "powers_up_to"]

LOCAL = "local"
"""The name of the instance type of a pool on this host."""


@final
@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """A number of devices of one instance type, or a share of one device.

    Attributes:
        devices: the total number of devices. nodes: the number of nodes. instance: the name of the instance type.
        per_device: how many segments share each of the devices; 1 if the segment has them to itself.

    Examples:
        >>> hwt.Allocation(8, nodes=2, instance="g5.48xlarge")
        Allocation(devices=8, nodes=2, instance='g5.48xlarge', per_device=1)
    """

    devices: int
    nodes: int = 1
    instance: str = LOCAL
    per_device: int = 1

    @property
    def share(self) -> float:
        """The devices, each counted by the part that belongs to the segment: 0.5 for half a device."""
        return self.devices / self.per_device

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        packed = {} if self.per_device == 1 else {"per_device": self.per_device}
        return {"instance": self.instance, "devices": self.devices, "nodes": self.nodes, **packed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the allocation that `to_dict` described.

        Raises:
            ValueError: the data has another form.
        """
        instance, devices, nodes = data.get("instance"), data.get("devices"), data.get("nodes")
        per_device = data.get("per_device", 1)
        is_known = data.keys() <= {"instance", "devices", "nodes", "per_device"}
        is_packed = _is_count(per_device) and per_device > 0
        if is_known and isinstance(instance, str) and _is_count(devices) and _is_count(nodes) and is_packed:
            return cls(devices, nodes, instance, per_device)
        raise ValueError(f"{dict(data)} is not an allocation")


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


ONE_DEVICE = Allocation(1)


def powers_up_to(most: int) -> tuple[int, ...]:
    """Returns the powers of two up to a positive number of devices: 1, 2, 4, and so on."""
    return tuple(2**power for power in range(most.bit_length()))
