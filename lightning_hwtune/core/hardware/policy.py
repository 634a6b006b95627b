"""What an allocation policy is: it chooses the devices of a trial's segments."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning_hwtune.core.allocation import Allocation, powers_up_to
from lightning_hwtune.core.batch_rule import is_batch_size
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms.given import Given
from lightning_hwtune.plugins import init_arguments

__all__ = ["AllocationPolicy", "GrowingPolicy", "divides", "powers_of_two"]


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
    is_for_deadlines: ClassVar[bool] = False
    """Whether `next` gives a finisher the fewest devices with which it can end within the limits of time and cost."""

    plans_stages: ClassVar[bool] = False
    """Whether `stage` plans how many trials begin and continue. The scheduler is then `SuccessiveHalving`."""

    needs_limits: ClassVar[bool] = False
    """Whether it can only plan for a limit of time or cost."""

    reference: ClassVar[int | None] = None
    """The number of devices at which seconds are given; None for that of the trial's first segment."""

    @abc.abstractmethod
    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns every number of devices that can occur, ascending. All of them must fit into the pool.

        Raises:
            ArgumentError: the policy does not suit this space; the message says why.
        """

    def first_counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the numbers of devices that a new trial can get, ascending; by default, all that can occur."""
        return self.counts(space, pool)

    @abc.abstractmethod
    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial. A `NumDevices` in the space must be the number of devices."""

    def begin(self, moment: Moment) -> Allocation:
        """Returns the devices of a new trial while a study runs; by default, those of `first`.

        The answer must be one of `moment.counts`. A policy with this method should have a `reference`, so that the
        rank in a rung does not depend on the devices with which a trial happened to begin.
        """
        return moment.allocation

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

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices on which a trial continues when it is promoted, finishes or passes a rung.

        A policy with this method changes devices while a study runs. By default, a trial keeps its devices. A trial
        that is running and gets others pauses, and continues on them before other work begins. If they are not free,
        devices are drained for it. The global batch size stays, so the answer must be one of `moment.counts`, or the
        present devices.
        """
        return moment.allocation

    def stage(self, moment: StageMoment) -> StagePlan:
        """Returns how many trials train in a stage that begins now, and on what; only for a policy that plans stages.

        Raises:
            NotImplementedError: the policy does not plan stages.
        """
        raise NotImplementedError(f"{type(self).__name__} does not plan stages")

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log: `name` and the constructor arguments that rebuild the policy."""
        return {"name": self.name, **init_arguments(self)}


class GrowingPolicy(AllocationPolicy):
    """A policy whose trials all begin on the same number of devices, and may get others from `next`.

    Attributes:
        devices: the number of devices of a new trial.
    """

    __slots__ = ()
    devices: int = 1

    def first_counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the number of devices of a new trial."""
        return (self.devices,)

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial."""
        return Allocation(self.devices)


def powers_of_two(policy: AllocationPolicy, most: int | None, pool: Pool) -> tuple[int, ...]:
    """Returns the powers of two up to `max_devices` of a policy; None stands for the whole pool.

    Raises:
        ArgumentError: it is more than the pool has.
    """
    if most is not None and most > pool.largest:
        which = "complete nodes of one kind" if pool.has_several_kinds else "the pool"
        allowed = f"at most {pool.largest}, the number of devices in {which}, or None"
        raise ArgumentError(f"{type(policy).__name__}.max_devices", most, allowed)
    return powers_up_to(most or pool.largest)


def divides(space: SearchSpace, config: Mapping[str, Any], count: int) -> bool:
    """Returns whether the batch sizes of a configuration can be shared by `count` devices.

    Without a `NumDevices`, the batch sizes are the parameters called `batch_size` (or `something.batch_size`).
    """
    if space.devices_key is not None:
        return space.allows({**config, space.devices_key: count})
    sizes = (config[name] for name in space if name in config and is_batch_size(name))
    return all(size % count == 0 for size in sizes if isinstance(size, int))
