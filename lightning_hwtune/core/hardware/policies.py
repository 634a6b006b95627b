"""The allocation policies that come with the package, and how a policy is found by its name.

The number of devices is fixed for the whole study, or it is a parameter of the search space, or it grows at the rungs,
or it follows from a deadline, or from a simulation of the study (`planning.advised_policy`), or from the plan of each
stage (`planning.seer_policy`). A trial that ran out of
memory moves to the next larger count that is allowed. A fixed count has no larger one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.policy import AllocationPolicy, GrowingPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, checked_class
from lightning_hwtune.plugins import Registry

__all__ = [
    "POLICIES",
    "POLICY_REGISTRY",
    "DoublingAllocation",
    "FixedAllocation",
    "SearchedAllocation",
    "allocation_for",
    "policy_from_settings",
]


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


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class DoublingAllocation(GrowingPolicy):
    """The devices of a trial double at each rung that it reaches: 1, 2, 4 and so on.

    This is RASDA: Aach, Sarma, Neukirchen, Riedel and Lintermann, "Resource-adaptive successive doubling for
    hyperparameter optimization with large datasets on high-performance computing systems", 2024 (arXiv 2412.02729).
    Unlike theirs, the global batch size stays, so a trial gets only numbers of devices that divide its batch sizes.
    There is no doubling at the full training, and never more devices than in the pool.

    Args:
        devices: the number of devices of a new trial.
        max_devices: maximum number of devices per trial; None for the whole pool.
        factor: the number of devices is multiplied by this at each rung.

    Examples:
        >>> space, pool = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 8)
        >>> hwt.DoublingAllocation(max_devices=4).counts(space, pool)
        (1, 2, 4)
    """

    name: ClassVar[str] = "doubling"
    devices: int = 1
    max_devices: int | None = None
    factor: int = 2

    def __post_init__(self) -> None:
        if self.max_devices is not None and self.max_devices < self.devices:
            allowed = f"at least {self.devices}, the number of devices of a new trial, or None"
            raise ArgumentError("DoublingAllocation.max_devices", self.max_devices, allowed)

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the number of devices of a new trial, and all to which it can grow."""
        most = pool.largest if self.max_devices is None else min(pool.largest, self.max_devices)
        found = [self.devices]
        while found[-1] * self.factor <= most:
            found.append(found[-1] * self.factor)
        return tuple(found)

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices that the rungs reached so far give the trial; never fewer than it has."""
        wanted = self.devices * self.factor**moment.n_rungs
        grown = max((count for count in moment.counts if count <= wanted), default=self.devices)
        return dataclasses.replace(moment.allocation, devices=max(grown, moment.allocation.devices))


POLICIES: Mapping[str, type[AllocationPolicy]] = {
    cls.name: cls for cls in (FixedAllocation, SearchedAllocation, DoublingAllocation, DeadlineAllocation)
}
"""Name in study files and in the log -> policy class."""

POLICY_REGISTRY = Registry[AllocationPolicy](
    "policy", "hwtune.policies", AllocationPolicy, POLICIES, argument="allocation",
    other_rooms={
        "advised": "lightning_hwtune.planning.advised_policy:AdvisedAllocation",
        "planned": "lightning_hwtune.planning.planned_policy:PlannedAllocation",
        "seer": "lightning_hwtune.planning.seer_policy:SeerAllocation",
    },
)  # fmt: skip
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
