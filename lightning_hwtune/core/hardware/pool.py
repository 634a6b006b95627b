"""The devices that a study may use, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core.hardware.billing import usd_per_device_hour
from lightning_hwtune.core.hardware.catalogue import CPU, Catalogue, InstanceType, instance_of
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call
from lightning_hwtune.forms.given import Given

__all__ = ["NODE", "Pool"]

NODE = "node"
"""The name of the instance type of nodes whose user gave no type."""

_MOST_PACKED = 8  # trials on a GPU, if their number is chosen


@final
@dataclass(frozen=True, slots=True, init=False)
class Pool(Given):
    """Devices of one kind on this host, or on several nodes.

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
            what "auto" means for `accelerator` and `devices`.

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
    nodes: int | str

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
        nodes: int | str = 1,
    ) -> None:
        found = None if instance is None else instance_of(instance, Catalogue.builtin(), "Pool.instance")
        is_several = not isinstance(nodes, int) or nodes > 1
        if found is None and isinstance(nodes, int) and is_several:
            found = _node_type(accelerator, devices, usd_per_device_hour, threads_per_device)
            usd_per_device_hour = None
        if found is not None:
            accelerator = _accelerator(found, accelerator)
            devices = _devices(found, devices, threads_per_device)
            usd_per_device_hour = _price(found, usd_per_device_hour, threads_per_device, spot=spot)
            if found.name == NODE and not usd_per_device_hour:  # nodes without a price cost an unknown amount, not 0
                usd_per_device_hour = None
        if spot and instance is None:
            hint = "For example Pool(instance='g4dn.12xlarge', spot=True)."
            raise ArgumentError("Pool.spot", spot, "False without an instance type", hint=hint)
        if is_several and per_device != 1:
            hint = "A trial on rented nodes has its devices to itself. Leave `per_device` out, or use one node."
            raise ArgumentError("Pool.per_device", per_device, "1, because the pool has several nodes", hint=hint)
        object.__setattr__(self, "accelerator", accelerator)
        object.__setattr__(self, "devices", devices)
        object.__setattr__(self, "usd_per_device_hour", usd_per_device_hour)
        object.__setattr__(self, "threads_per_device", threads_per_device)
        object.__setattr__(self, "instance", found)
        object.__setattr__(self, "per_device", per_device)
        object.__setattr__(self, "spot", spot)
        object.__setattr__(self, "nodes", nodes)

    @property
    def size(self) -> int:
        """The number of devices, of all nodes together.

        Raises:
            ArgumentError: the pool is still "auto"; the engine resolves it on the host where the study runs.
        """
        return self.node_size * self.n_nodes

    @property
    def n_nodes(self) -> int:
        """The number of nodes.

        Raises:
            ArgumentError: as for `size`.
        """
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
        instance = _node_type(accelerator, devices, self.usd_per_device_hour, threads)
        return Pool(accelerator, devices, threads_per_device=threads, instance=instance, nodes=nodes)

    @property
    def node_size(self) -> int:
        """The number of devices of each node.

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


def _node_type(accelerator: str, devices: int | str, usd_per_device_hour: float | None, threads: int) -> InstanceType:
    """Returns the type of the machines of a pool whose user gave no type."""
    hint = "For example Pool('gpu', devices=8, nodes=2)."
    if accelerator == "auto":
        allowed = "'cpu' or 'gpu', because the nodes of a pool are not this machine"
        raise ArgumentError("Pool.accelerator", accelerator, allowed, hint=hint)
    if not isinstance(devices, int):
        allowed = "the number of devices of each node, because the nodes of a pool are not this machine"
        raise ArgumentError("Pool.devices", devices, allowed, hint=hint)
    usd_per_hour = (usd_per_device_hour or 0.0) * devices
    if accelerator == CPU:
        return InstanceType(NODE, usd_per_hour, vcpus=devices * threads)
    return InstanceType(NODE, usd_per_hour, devices=devices)


def _accelerator(instance: InstanceType, given: str) -> str:
    own = "gpu" if instance.devices else CPU
    if given not in ("auto", own):
        allowed = f"{own!r}, or left out, because {instance.name!r} has {instance.accelerator}"
        raise ArgumentError("Pool.accelerator", given, allowed)
    return own


def _all_devices(instance: InstanceType, threads_per_device: int) -> int:
    return instance.devices or max(instance.pool_devices // threads_per_device, 1)


def _devices(instance: InstanceType, given: int | str, threads_per_device: int) -> int:
    there = _all_devices(instance, threads_per_device)
    if not isinstance(given, int):
        return there
    if given > there:
        raise ArgumentError("Pool.devices", given, f"at most {there}, the devices of {instance.name!r}")
    return given


def _price(instance: InstanceType, given: float | None, threads_per_device: int, *, spot: bool) -> float:
    own = usd_per_device_hour(instance, _all_devices(instance, threads_per_device), spot=spot)
    if given not in (None, own):
        allowed = f"left out, because {instance.name!r} has a price: {instance.price(spot=spot):g} US dollars per hour"
        hint = "For another price, give `instance` as InstanceType(name, usd_per_hour, ...)."
        raise ArgumentError("Pool.usd_per_device_hour", given, allowed, hint=hint)
    return own
