"""Allocation policies, which choose the devices of a trial's next segment.

There are two: the number of devices is fixed for the whole study, or it is a parameter of the search space. A trial
that ran out of memory moves to the next larger count that the space allows. A fixed count has no larger one.
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
    """Chooses the devices for a configuration. Answers depend only on the arguments, and the log keeps each of them."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Every count that can occur, ascending."""

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial."""

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns the next larger allocation on which this configuration can train; None if there is none."""


@final
@dataclass(frozen=True, slots=True)
class FixedAllocation:
    """Every trial gets the same number of devices."""

    num_devices: int = 1

    @property
    def counts(self) -> tuple[int, ...]:
        """The single count."""
        return (self.num_devices,)

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the single allocation."""
        return Allocation(self.num_devices)

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns None, as there is no other count."""
        return None


@final
@dataclass(frozen=True, slots=True)
class SearchedAllocation:
    """Takes the number of devices from the configuration, under the space's `NumDevices` parameter `key`."""

    key: str
    space: SearchSpace

    @property
    def counts(self) -> tuple[int, ...]:
        """The counts in the search space."""
        return tuple(self.space.device_counts)

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns an allocation with the count in the configuration."""
        return Allocation(int(config[self.key]))

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns the next larger count that divides the configuration's batch sizes; None if there is none."""
        larger = (count for count in self.counts if count > allocation.devices)
        found = next((count for count in larger if self.space.allows({**config, self.key: count})), None)
        return None if found is None else dataclasses.replace(allocation, devices=found)


def allocation_for(space: SearchSpace) -> AllocationPolicy:
    """Returns the policy for a space: searched if the space has a `NumDevices`, otherwise one device."""
    if space.devices_key is None:
        return FixedAllocation(1)
    return SearchedAllocation(space.devices_key, space)
