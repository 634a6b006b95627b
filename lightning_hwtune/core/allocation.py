"""The devices that one segment trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

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
        instance, devices, nodes = (data.get(key) for key in ("instance", "devices", "nodes"))
        is_counted = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (devices, nodes))
        if set(data) != {"instance", "devices", "nodes"} or not isinstance(instance, str) or not is_counted:
            raise ValueError(f"{dict(data)} is not an allocation")
        return cls(int(devices or 0), int(nodes or 0), instance)


ONE_DEVICE = Allocation(1)
