"""Allocation policies, which choose the devices of a trial's segments.

Two come with the package: the number of devices is fixed for the whole study, or it is a parameter of the search space.
A trial that ran out of memory moves to the next larger count that is allowed. A fixed count has no larger one.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS
from lightning_hwtune.forms.given import Given
from lightning_hwtune.plugins import Registry, init_arguments

__all__ = [
    "POLICIES",
    "POLICY_REGISTRY",
    "AllocationPolicy",
    "FixedAllocation",
    "SearchedAllocation",
    "allocation_for",
    "divides",
    "policy_from_settings",
]


class AllocationPolicy(Given, abc.ABC):
    """Chooses the devices for a configuration.

    A subclass has only settings: each argument of its constructor, as plain data, in an attribute of the same name.
    Answers depend only on these settings and on the arguments. The log keeps each answer. In the log, a class that is
    not part of this package is named by its import path.

    Examples:
        >>> class WholePool(hwt.AllocationPolicy):
        ...     def counts(self, space, pool):
        ...         return (pool.devices,)
        ...     def first(self, space, pool, config):
        ...         return hwt.Allocation(pool.devices)
        >>> WholePool().counts(hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 4))
        (4,)
    """

    __slots__ = ()
    name: ClassVar[str] = "policy"

    @abc.abstractmethod
    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns every number of devices that can occur, ascending. All of them must fit into the pool.

        Raises:
            ArgumentError: the policy does not suit this space; the message says why.
        """

    @abc.abstractmethod
    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial. A `NumDevices` in the space must be the number of devices."""

    def larger(
        self, space: SearchSpace, pool: Pool, config: Mapping[str, Any], allocation: Allocation
    ) -> Allocation | None:
        """Returns where a trial continues that ran out of memory; None if there is no larger allocation.

        By default that is the next larger count that divides the configuration's batch sizes.
        """
        for count in self.counts(space, pool):
            if count > allocation.devices and divides(space, config, count):
                return dataclasses.replace(allocation, devices=count)
        return None

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log: `name` and the constructor arguments that rebuild the policy."""
        return {"name": self.name, **init_arguments(self)}


@final
@dataclass(frozen=True, slots=True)
class FixedAllocation(AllocationPolicy):
    """Every trial gets the same number of devices.

    If batch sizes are searched, use `NumDevices(2)` in the space instead: then only batch sizes that two devices can
    share are drawn.

    Args:
        devices: the number of devices.

    Examples:
        >>> space, pool = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 4)
        >>> hwt.FixedAllocation(2).first(space, pool, {"lr": 0.1}).devices
        2
    """

    name: ClassVar[str] = "fixed"
    devices: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "devices", FORMS["FixedAllocation"]["devices"].read("devices", self.devices))

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the single count."""
        return (self.devices,)

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns the single allocation."""
        return Allocation(self.devices)


@final
@dataclass(frozen=True, slots=True)
class SearchedAllocation(AllocationPolicy):
    """The space's `NumDevices` is the number of devices.

    Examples:
        >>> space, pool = hwt.SearchSpace(devices=hwt.NumDevices(1, 2)), hwt.Pool("cpu", 2)
        >>> hwt.SearchedAllocation().first(space, pool, {"devices": 2}).devices
        2
    """

    name: ClassVar[str] = "searched"

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the counts in the search space.

        Raises:
            ArgumentError: the space has no `NumDevices`.
        """
        if space.devices_key is None:
            raise ArgumentError("allocation", self, "a space with NumDevices(1, 2), or FixedAllocation()")
        return space.device_counts

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns an allocation with the count in the configuration."""
        return Allocation(int(config[str(space.devices_key)]))


POLICIES: Mapping[str, type[AllocationPolicy]] = {cls.name: cls for cls in (FixedAllocation, SearchedAllocation)}
"""Name in study files and in the log -> policy class."""

POLICY_REGISTRY = Registry[AllocationPolicy](
    "policy", "hwtune.policies", AllocationPolicy, POLICIES, argument="allocation"
)
"""The classes above, those of installed entry points, and any class with an import path."""


def allocation_for(space: SearchSpace) -> AllocationPolicy:
    """Returns the default for a space: searched if the space has a `NumDevices`, otherwise one device."""
    return FixedAllocation() if space.devices_key is None else SearchedAllocation()


def policy_from_settings(settings: Mapping[str, Any]) -> AllocationPolicy:
    """Returns the policy with these `settings()`.

    Raises:
        ArgumentError: the name is unknown, or a setting is not allowed.
    """
    return POLICY_REGISTRY.rebuilt(settings)


def divides(space: SearchSpace, config: Mapping[str, Any], count: int) -> bool:
    """Returns whether the batch sizes of a configuration can be shared by `count` devices.

    Without a `NumDevices`, the batch sizes are the parameters called `batch_size` (or `something.batch_size`).
    """
    if space.devices_key is not None:
        return space.allows({**config, space.devices_key: count})
    sizes = (config[name] for name in space if name in config and name.rpartition(".")[2] == "batch_size")
    return all(size % count == 0 for size in sizes if isinstance(size, int))
