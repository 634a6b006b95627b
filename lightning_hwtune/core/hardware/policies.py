"""Allocation policies: what a trial's next segment trains on.

Two exist: the count is fixed for the whole study, or it is one more parameter of the space. A trial that ran out of
memory moves to the next larger count that the space allows; there is no such count for a fixed one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.space import SearchSpace

__all__ = ["AllocationPolicy", "FixedAllocation", "SearchedAllocation", "allocation_for"]


class AllocationPolicy(Protocol):
    """What a configuration trains on. Answers depend on the arguments alone; the log keeps each of them."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Every count that may occur, ascending."""

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial."""

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns the next larger allocation on which this configuration can train, or None if there is none."""


@final
@dataclass(frozen=True, slots=True)
class FixedAllocation:
    """Every trial gets the same number of devices."""

    num_devices: int = 1

    @property
    def counts(self) -> tuple[int, ...]:
        """The one count."""
        return (self.num_devices,)

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the one allocation."""
        return Allocation(self.num_devices)

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
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

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the configuration's own count."""
        return Allocation(int(config[self.key]))

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns the next larger count of the space by which the configuration's batch sizes divide, or None."""
        larger = (count for count in self.counts if count > allocation.devices)
        found = next((count for count in larger if self.space.allows({**config, self.key: count})), None)
        return None if found is None else dataclasses.replace(allocation, devices=found)


def allocation_for(space: SearchSpace) -> AllocationPolicy:
    """Returns the policy that a space asks for: searched if it has a `NumDevices`, else one device."""
    if space.devices_key is None:
        return FixedAllocation(1)
    return SearchedAllocation(space.devices_key, space)
