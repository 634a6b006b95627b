"""The kinds of nodes of a pool: how many machines of which type there can be, and how many devices each has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core.hardware.billing import usd_per_device_hour
from lightning_hwtune.core.hardware.catalogue import CPU, Catalogue, InstanceType, instance_of
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.text import counted

__all__ = [
    "NODE",
    "Nodes",
    "accelerator_of",
    "devices_of",
    "kinds_of",
    "node_type",
    "price_of",
]

NODE = "node"
"""The name of the instance type of nodes whose user gave no type."""


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class Nodes:
    """Equal nodes of a pool.

    Args:
        count: how many of them there can be at the same time.
        devices: the number of devices of each; None for all of the instance type.
        instance: the instance type of each, as in `Pool`; None for nodes without a type, which need `devices`.

    Examples:
        >>> pool = hwt.Pool("gpu", nodes=[hwt.Nodes(4, devices=8), hwt.Nodes(8, devices=4)])
        >>> pool.size
        64
    """

    count: int
    devices: int | None = None
    instance: InstanceType | str | Mapping[str, Any] | None = None

    @property
    def type(self) -> InstanceType:
        """The instance type; only the kinds of a pool have one in any case."""
        assert isinstance(self.instance, InstanceType)
        return self.instance

    @property
    def n_devices(self) -> int:
        """The number of devices of each; only the kinds of a pool have one in any case."""
        assert self.devices is not None
        return self.devices

    @property
    def shape(self) -> tuple[str, int]:
        """What a node of this kind has: the name of its instance type, and its number of devices."""
        return self.type.name, self.n_devices

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"count": self.count, "devices": self.devices, "instance": self.type.to_dict()}


def kinds_of(
    given: Iterable[object], accelerator: str, usd_per_device_hour: float | None, threads_per_device: int
) -> tuple[Nodes, ...]:
    """Returns the kinds of nodes that were given, those with most devices first; equal ones are one kind.

    Raises:
        ArgumentError: they do not fit together.
    """
    listed = [_nodes(item, number) for number, item in enumerate(given)]
    has_types = {item.instance is not None for item in listed}
    if len(has_types) > 1:
        allowed = "an instance type for each kind of node, or for none"
        raise ArgumentError("Pool.nodes", [_spelled(item) for item in listed], allowed)
    if has_types == {True} and usd_per_device_hour is not None:
        allowed = "left out, because each instance type has a price"
        raise ArgumentError("Pool.usd_per_device_hour", usd_per_device_hour, allowed)
    found = [
        _resolved(item, f"Pool.nodes[{number}]", accelerator, usd_per_device_hour, threads_per_device)
        for number, item in enumerate(listed)
    ]
    types: dict[str, InstanceType] = {}
    for item in found:
        if item.type.name != NODE and types.setdefault(item.type.name, item.type) != item.type:
            hint = "Give different types different names."
            raise ArgumentError("Pool.nodes", item.type.name, "one instance type with this name", hint=hint)
    own = sorted({accelerator_of(item.type, "auto") for item in found})
    if len(own) > 1:
        hint = "Trials on CPUs need a separate study."
        raise ArgumentError("Pool.nodes", [item.type.name for item in found], "nodes with GPUs, or without", hint=hint)
    counts: dict[tuple[InstanceType, int], int] = {}
    for item in found:
        counts[item.type, item.n_devices] = counts.get((item.type, item.n_devices), 0) + item.count
    order = sorted(counts, key=lambda key: (-key[1], key[0].name))
    return tuple(Nodes(counts[key], devices=key[1], instance=key[0]) for key in order)


def _nodes(item: object, number: int) -> Nodes:
    if isinstance(item, Nodes):
        return item
    place = f"Pool.nodes[{number}]"
    if not isinstance(item, Mapping):
        raise ArgumentError(
            place, item, "nodes such as Nodes(4, devices=8), or a mapping such as {count: 4, devices: 8}"
        )
    refuse_unknown_keys(f"{place}: ", item, Nodes.__dataclass_fields__)
    if "count" not in item:
        raise ArgumentError(place, dict(item), "a mapping with the key 'count', the number of such nodes")
    try:
        return Nodes(**item)
    except ArgumentError as error:
        raise _at(place, error) from None


def _resolved(item: Nodes, place: str, accelerator: str, usd: float | None, threads: int) -> Nodes:
    if item.instance is None:
        if item.devices is None:
            allowed = "the number of devices of each node, or leave it out and give `instance`"
            raise ArgumentError(f"{place}: devices", None, allowed)
        return dataclasses.replace(item, instance=node_type(accelerator, item.devices, usd, threads))
    try:
        found = instance_of(item.instance, Catalogue.builtin(), "instance")
        devices = devices_of(found, "auto" if item.devices is None else item.devices, threads)
    except ArgumentError as error:
        raise _at(place, error) from None
    accelerator_of(found, accelerator)
    return dataclasses.replace(item, instance=found, devices=devices)


def _at(place: str, error: ArgumentError) -> ArgumentError:
    """Returns an error about nodes with their place in the list."""
    name = error.argument.rpartition(".")[2]
    return ArgumentError(f"{place}: {name}", error.received, error.allowed, hint=error.hint)


def _spelled(item: Nodes) -> str:
    name = "" if item.instance is None else f" of {getattr(item.instance, 'name', item.instance)!r}"
    return f"{counted(item.count, 'nodes')}{name}"


def node_type(accelerator: str, devices: int | str, usd_per_device_hour: float | None, threads: int) -> InstanceType:
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


def accelerator_of(instance: InstanceType, given: str) -> str:
    """Returns the accelerator of a pool on an instance type.

    Raises:
        ArgumentError: another one was given.
    """
    own = "gpu" if instance.devices else CPU
    if given not in ("auto", own):
        allowed = f"{own!r}, or left out, because {instance.name!r} has {instance.accelerator}"
        raise ArgumentError("Pool.accelerator", given, allowed)
    return own


def _all_devices(instance: InstanceType, threads_per_device: int) -> int:
    return instance.devices or max(instance.pool_devices // threads_per_device, 1)


def devices_of(instance: InstanceType, given: int | str, threads_per_device: int) -> int:
    """Returns the number of devices of a machine that a pool uses.

    Raises:
        ArgumentError: the machine has fewer.
    """
    there = _all_devices(instance, threads_per_device)
    if not isinstance(given, int):
        return there
    if given > there:
        raise ArgumentError("Pool.devices", given, f"at most {there}, the devices of {instance.name!r}")
    return given


def price_of(instance: InstanceType, given: float | None, threads_per_device: int, *, spot: bool) -> float:
    """Returns the price of each device of a machine.

    Raises:
        ArgumentError: another price was given, or the spot price is unknown.
    """
    own = usd_per_device_hour(instance, _all_devices(instance, threads_per_device), spot=spot)
    if given not in (None, own):
        allowed = f"left out, because {instance.name!r} has a price: {instance.price(spot=spot):g} US dollars per hour"
        hint = "For another price, give `instance` as InstanceType(name, usd_per_hour, ...)."
        raise ArgumentError("Pool.usd_per_device_hour", given, allowed, hint=hint)
    return own
