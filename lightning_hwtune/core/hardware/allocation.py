"""Allocation policies: how many devices a trial's next segment gets.

Two exist: the count is fixed for the whole study, or it is one more parameter of the space. A trial that ran out of
memory moves to the next larger count that the space allows; there is no such count for a fixed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

from lightning_hwtune.core.space import SearchSpace

__all__ = ["AllocationPolicy", "FixedAllocation", "SearchedAllocation", "allocation_for"]


class AllocationPolicy(Protocol):
    """How many devices a configuration trains on."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Every count that may occur, ascending."""

    def devices(self, config: Mapping[str, Any]) -> int:
        """Returns the count of a new trial."""

    def larger(self, config: Mapping[str, Any], num_devices: int) -> int | None:
        """Returns the next larger count on which this configuration can train, or None if there is none."""


@final
@dataclass(frozen=True, slots=True)
class FixedAllocation:
    """Every trial gets the same number of devices."""

    num_devices: int = 1

    @property
    def counts(self) -> tuple[int, ...]:
        """The one count."""
        return (self.num_devices,)

    def devices(self, config: Mapping[str, Any]) -> int:
        """Returns the one count."""
        return self.num_devices

    def larger(self, config: Mapping[str, Any], num_devices: int) -> int | None:
        """Returns None: there is no other count."""
        return None


@final
@dataclass(frozen=True, slots=True)
class SearchedAllocation:
    """The configuration says how many, under the space's `NumDevices` parameter `key`."""

    key: str
    space: SearchSpace

    @property
    def counts(self) -> tuple[int, ...]:
        """The counts of the space."""
        return tuple(self.space.device_counts)

    def devices(self, config: Mapping[str, Any]) -> int:
        """Returns the configuration's own count."""
        return int(config[self.key])

    def larger(self, config: Mapping[str, Any], num_devices: int) -> int | None:
        """Returns the next larger count of the space by which the configuration's batch sizes divide, or None."""
        larger = (count for count in self.counts if count > num_devices)
        return next((count for count in larger if self.space.allows({**config, self.key: count})), None)


def allocation_for(space: SearchSpace) -> AllocationPolicy:
    """Returns the policy that a space asks for: searched if it has a `NumDevices`, else one device."""
    if space.devices_key is None:
        return FixedAllocation(1)
    return SearchedAllocation(space.devices_key, space)
