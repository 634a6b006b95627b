"""The devices that a study may use, and what they cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType, instance_of
from lightning_hwtune.core.hardware.kinds import NODE, Nodes, accelerator_of, devices_of, kinds_of, node_type, price_of
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call
from lightning_hwtune.forms.given import Given

__all__ = ["NODE", "Pool"]

_MOST_PACKED = 8  # trials on a GPU, if their number is chosen
_NO_TYPES: Mapping[str, float] = MappingProxyType({})


@final
@dataclass(frozen=True, slots=True, init=False)
class Pool(Given):
    """The devices of this host, or of several nodes.

    Args:
        accelerator: "cpu", "gpu", or "auto": the visible GPUs if there are any, otherwise this process's CPU cores.
        devices: the number of devices, or "auto" for all of them.
        usd_per_device_hour: price of one device for one hour in US dollars, paid while it is in use; None for no price,
            which rules out `Cost`.
        threads_per_device: number of torch threads per rank.
        instance: the instance type of this host, which gives the accelerator, the devices and the price: a name of the
            catalogue, an `InstanceType`, or a mapping with its arguments. The whole machine is paid for while a session
            runs, in use or not.
        per_device: how many trials train on each device at the same time, each with its share of the device's threads
            or GPU memory. More than 1 is only for studies whose trials have one device. It falls when a trial runs
            out of memory. "auto": on GPUs as many as fit, at most 8, by the memory that the check of the study has
            measured; on CPUs as many as a device has threads.
        spot: whether the machines are spot instances, with the spot price of the type.
        nodes: how many machines there can be at the same time, each with `devices`. Without an instance type, they need
            `accelerator` and `devices`; a price is then that of the whole machine, in use or not. A study that trains
            on this host has one. "auto": the nodes of the allocation of Slurm in which the study runs, which also says
            what "auto" means for `accelerator` and `devices`. A list of `Nodes`, or of mappings with their arguments,
            for machines of several kinds; leave out `devices` and `instance` then. The attribute `devices` is that of
            the largest one, and `usd_per_device_hour` the highest price.

    Examples:
        >>> pool = hwt.Pool("cpu", devices=4, usd_per_device_hour=0.05)
        >>> pool.devices
        4
        >>> hwt.Pool(instance="g4dn.12xlarge").usd_per_device_hour  # four devices for 3.912 US dollars an hour
        0.978
    """

    accelerator: str
    devices: int | str
    usd_per_device_hour: float | None
    threads_per_device: int
    instance: InstanceType | None
    per_device: int | str
    spot: bool
    nodes: int | str | tuple[Nodes, ...]

    @checked_call("Pool", prefix="Pool.")
    def __init__(
        self,
        accelerator: str = "auto",
        devices: int | str = "auto",
        usd_per_device_hour: float | None = None,
        threads_per_device: int = 1,
        instance: str | InstanceType | Mapping[str, Any] | None = None,
        per_device: int | str = 1,
        spot: bool = False,
        nodes: int | str | Sequence[Nodes | Mapping[str, Any]] = 1,
    ) -> None:
        if not isinstance(nodes, int | str):
            kinds = kinds_of(nodes, accelerator, usd_per_device_hour, threads_per_device)
            if instance is not None or devices != "auto":
                argument, given = ("Pool.instance", instance) if instance is not None else ("Pool.devices", devices)
                raise ArgumentError(argument, given, "left out, because each kind of node in `nodes` has its own")
            if len(kinds) > 1:
                self._set_kinds(kinds, threads_per_device, per_device, spot=spot)
                return
            instance, devices, nodes = kinds[0].instance, kinds[0].n_devices, kinds[0].count
            usd_per_device_hour = None
        found = None if instance is None else instance_of(instance, Catalogue.builtin(), "Pool.instance")
        is_several = not isinstance(nodes, int) or nodes > 1
        if found is None and isinstance(nodes, int) and is_several:
            found = node_type(accelerator, devices, usd_per_device_hour, threads_per_device)
            usd_per_device_hour = None
        if found is not None:
            accelerator = accelerator_of(found, accelerator)
            devices = devices_of(found, devices, threads_per_device)
            usd_per_device_hour = price_of(found, usd_per_device_hour, threads_per_device, spot=spot)
            if found.name == NODE and not usd_per_device_hour:  # nodes without a price cost an unknown amount, not 0
                usd_per_device_hour = None
        if spot and instance is None:
            hint = "For example Pool(instance='g4dn.12xlarge', spot=True)."
            raise ArgumentError("Pool.spot", spot, "False without an instance type", hint=hint)
        if is_several and per_device != 1:
            hint = "A trial on rented nodes has its devices to itself. Leave `per_device` out, or use one node."
            raise ArgumentError("Pool.per_device", per_device, "1, because the pool has several nodes", hint=hint)
        self._set(
            accelerator=accelerator,
            devices=devices,
            usd_per_device_hour=usd_per_device_hour,
            threads_per_device=threads_per_device,
            instance=found,
            per_device=per_device,
            spot=spot,
            nodes=nodes,
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _set_kinds(
        self, kinds: tuple[Nodes, ...], threads_per_device: int, per_device: int | str, *, spot: bool
    ) -> None:
        if per_device != 1:
            hint = "A trial on rented nodes has its devices to itself. Leave `per_device` out."
            raise ArgumentError("Pool.per_device", per_device, "1, because the pool has several nodes", hint=hint)
        prices = [price_of(kind.type, None, threads_per_device, spot=spot) for kind in kinds]
        has_price = any(prices) or kinds[0].type.name != NODE
        self._set(
            accelerator=accelerator_of(kinds[0].type, "auto"),
            devices=max(kind.n_devices for kind in kinds),
            usd_per_device_hour=max(prices) if has_price else None,
            threads_per_device=threads_per_device,
            instance=None,
            per_device=1,
            spot=spot,
            nodes=kinds,
        )

    @property
    def kinds(self) -> tuple[Nodes, ...]:
        """The kinds of machines that are paid as a whole; empty for devices of this host that are paid while in use.

        Raises:
            ArgumentError: as for `size`.
        """
        if isinstance(self.nodes, tuple):
            return self.nodes
        return () if self.instance is None else (Nodes(self.n_nodes, devices=self.node_size, instance=self.instance),)

    @property
    def has_several_kinds(self) -> bool:
        """Whether its nodes are of several kinds."""
        return isinstance(self.nodes, tuple)

    @property
    def is_paid_whole(self) -> bool:
        """Whether its machines are paid as a whole, in use or not."""
        return self.instance is not None or self.has_several_kinds

    @property
    def types(self) -> Mapping[str, float]:
        """The price per device and hour of each instance type, by name; empty if a trial may move between all nodes."""
        return _types(self.nodes, self.threads_per_device, self.spot) if isinstance(self.nodes, tuple) else _NO_TYPES

    @property
    def usd_per_hour(self) -> float:
        """The price of all nodes for one hour; 0 for devices that are paid while they are in use."""
        return sum(kind.count * kind.type.price(spot=self.spot) for kind in self.kinds)

    @property
    def size(self) -> int:
        """The number of devices, of all nodes together.

        Raises:
            ArgumentError: the pool is still "auto"; the engine resolves it on the host where the study runs.
        """
        if isinstance(self.nodes, tuple):
            return sum(kind.count * kind.n_devices for kind in self.nodes)
        return self.node_size * self.n_nodes

    @property
    def largest(self) -> int:
        """The most devices that one trial can have: those of complete nodes of one kind, if there are several.

        Raises:
            ArgumentError: as for `size`.
        """
        if not isinstance(self.nodes, tuple):
            return self.size
        most: dict[str, int] = {}
        for kind in self.nodes:  # those with most devices first
            most[kind.type.name] = max(most.get(kind.type.name, 0), kind.count * kind.n_devices)
        return max(most.values())

    @property
    def n_nodes(self) -> int:
        """The number of nodes.

        Raises:
            ArgumentError: as for `size`.
        """
        if isinstance(self.nodes, tuple):
            return sum(kind.count for kind in self.nodes)
        if not isinstance(self.nodes, int):
            raise ArgumentError("Pool.nodes", self.nodes, "a number; a study inside an allocation has one")
        return self.nodes

    def on_nodes(self, nodes: int, accelerator: str, devices: int) -> Pool:
        """Returns the pool with this number of nodes, also if it is 1; "auto" becomes these devices of each node."""
        if self.instance is not None:
            return dataclasses.replace(self, nodes=nodes)
        accelerator = accelerator if self.accelerator == "auto" else self.accelerator
        devices = self.devices if isinstance(self.devices, int) else devices
        threads = self.threads_per_device
        instance = node_type(accelerator, devices, self.usd_per_device_hour, threads)
        return Pool(accelerator, devices, threads_per_device=threads, instance=instance, nodes=nodes)

    @property
    def node_size(self) -> int:
        """The number of devices of each node, or of the largest one.

        Raises:
            ArgumentError: as for `size`.
        """
        if not isinstance(self.devices, int):
            raise ArgumentError(
                "Pool.devices", self.devices, "a number; only a pool that was resolved on a host has a size"
            )
        return self.devices

    @property
    def places(self) -> int:
        """How many segments of one device can train at the same time, at most; see `size`."""
        return self.size * self.most_per_device

    @property
    def most_per_device(self) -> int:
        """How many segments may share a device, at most."""
        if isinstance(self.per_device, int):
            return self.per_device
        return _MOST_PACKED if self.accelerator == "gpu" else self.threads_per_device

    @property
    def is_packed_by_memory(self) -> bool:
        """Whether a check has to measure how many segments fit on a device."""
        return self.per_device == "auto" and self.accelerator == "gpu"

    @property
    def first_per_device(self) -> int:
        """How many segments share a device until that is measured."""
        return 1 if self.is_packed_by_memory else self.most_per_device

    def threads(self, per_device: int) -> int:
        """Returns the number of torch threads of a rank on a device that so many segments share."""
        return max(self.threads_per_device // per_device, 1)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        if isinstance(self.nodes, tuple):
            kinds = [kind.to_dict() for kind in self.nodes]
            own = {"accelerator": self.accelerator, "threads_per_device": self.threads_per_device, "nodes": kinds}
            return {**own, **({"spot": True} if self.spot else {})}
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "usd_per_device_hour": self.usd_per_device_hour,
            "threads_per_device": self.threads_per_device,
            **({} if self.instance is None else {"instance": self.instance.to_dict()}),
            **({} if self.per_device == 1 else {"per_device": self.per_device}),
            **({"spot": True} if self.spot else {}),
            **({} if self.nodes == 1 else {"nodes": self.nodes}),
        }


@functools.lru_cache(maxsize=64)
def _types(kinds: tuple[Nodes, ...], threads_per_device: int, spot: bool) -> Mapping[str, float]:
    found = {kind.type.name: price_of(kind.type, None, threads_per_device, spot=spot) for kind in kinds}
    return MappingProxyType(found) if len(found) > 1 else _NO_TYPES
