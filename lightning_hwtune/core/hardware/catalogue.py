"""Instance types with their prices: a table of facts in the package, which the user can extend.

A price is what a provider's list said on a date. `instances.csv` has these facts. It is part of the package, as the
code is, and `benchmarks/instance_prices.py` writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.forms import checked_call, checked_class
from lightning_hwtune.names import refuse_unknown_keys

__all__ = ["COLUMNS", "CPU", "LOCAL_PROVIDER", "Catalogue", "InstanceType", "instance_of"]

CPU = "cpu"
"""The accelerator of an instance type that has none: its CPUs are the devices of a pool."""

LOCAL_PROVIDER = "local"
"""The provider of a machine that belongs to the user."""

_MAX_LISTED = 12  # names in a message


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class InstanceType:
    """A kind of machine that can be rented, with its price.

    Args:
        name: the provider's name for it.
        usd_per_hour: the price on demand of the whole machine for one hour, in US dollars.
        devices: the number of accelerators; 0 if the machine has only CPUs.
        accelerator: the name of the accelerator; empty: "gpu", or "cpu" if `devices` is 0.
        memory_gib: the main memory. vcpus: the number of CPUs. None if unknown.
        provider: a name such as "aws", which also decides how time is billed; "local" for your own machine.
        region: the provider's region to which the price applies.
        usd_per_hour_spot: the price as a spot instance; None if unknown.
        source, date: where and when the price was found.

    Examples:
        >>> hwt.InstanceType("workstation", 0.8, devices=2).accelerator
        'gpu'
    """

    name: str
    usd_per_hour: float
    devices: int = 0
    accelerator: str = ""
    memory_gib: float | None = None
    vcpus: int | None = None
    provider: str = LOCAL_PROVIDER
    region: str = ""
    usd_per_hour_spot: float | None = None
    source: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if not self.accelerator:
            object.__setattr__(self, "accelerator", "gpu" if self.devices else CPU)
        if self.devices == 0 and self.accelerator.casefold() != CPU:
            hint = f"Accelerator {self.accelerator!r} needs `devices`, the number of them."
            raise ArgumentError("InstanceType.devices", self.devices, "a positive integer", hint=hint)
        if self.devices and self.accelerator.casefold() == CPU:
            hint = "With 'cpu', the CPUs are the devices: give `vcpus`, and leave out `devices`."
            raise ArgumentError("InstanceType.accelerator", self.accelerator, "the name of an accelerator", hint=hint)
        if self.devices == 0 and self.vcpus is None:
            raise ArgumentError("InstanceType.vcpus", None, "the number of CPUs, because there are no accelerators")

    @property
    def pool_devices(self) -> int:
        """The number of devices in a pool on one such machine: its accelerators, or its CPUs if it has none."""
        return self.devices or self.vcpus or 0

    def price(self, *, spot: bool = False) -> float:
        """Returns the price of the whole machine in US dollars per hour.

        Raises:
            ArgumentError: its spot price is unknown.
        """
        if not spot:
            return self.usd_per_hour
        if self.usd_per_hour_spot is None:
            hint = f"Add {self.name!r} to a catalogue file with its `usd_per_hour_spot`."
            raise ArgumentError("spot", True, f"False, because the spot price of {self.name!r} is unknown", hint=hint)
        return self.usd_per_hour_spot

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log: the arguments that differ from their defaults."""
        fields = dataclasses.fields(self)
        values = {item.name: getattr(self, item.name) for item in fields}
        return {item.name: values[item.name] for item in fields if values[item.name] != item.default}


COLUMNS = tuple(item.name for item in dataclasses.fields(InstanceType))
"""The columns of a catalogue file."""


@final
class Catalogue:
    """Instance types by name. No two have the same name.

    Examples:
        >>> [item.name for item in hwt.Catalogue.builtin().where(min_devices=4, max_usd_per_hour=4, provider="aws")]
        ['g4dn.12xlarge']
    """

    __slots__ = ("_types",)

    def __init__(self, instances: Iterable[InstanceType]) -> None:
        self._types: dict[str, InstanceType] = {}
        for item in instances:
            if not isinstance(item, InstanceType):
                raise ArgumentError("Catalogue.instances", item, "instances of InstanceType")
            if item.name in self._types:
                raise ArgumentError("Catalogue.instances", item.name, "each name once")
            self._types[item.name] = item

    @classmethod
    def builtin(cls) -> Self:
        """Returns the table of the package."""
        return cls(_builtin())

    def __iter__(self) -> Iterator[InstanceType]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def __getitem__(self, name: str) -> InstanceType:
        """Returns the type with this name.

        Raises:
            ArgumentError: the catalogue has no such type.
        """
        try:
            return self._types[name]
        except (KeyError, TypeError):
            near = nearest(name, self._types) or f", such as {_listed(self._types)}"
            hint = "`hwtune instances` lists them; your own ones are given as InstanceType(...) or in a catalogue file."
            raise ArgumentError("instance", name, f"the name of an instance type{near}", hint=hint) from None

    def extended(self, instances: Iterable[InstanceType]) -> Catalogue:
        """Returns a catalogue with these types added. They replace those that have the same name."""
        return Catalogue({**self._types, **Catalogue(instances)._types}.values())

    @checked_call("Catalogue.where")
    def where(
        self,
        *,
        min_devices: int | None = None,
        max_usd_per_hour: float | None = None,
        accelerator: str | None = None,
        provider: str | None = None,
        region: str | None = None,
    ) -> Catalogue:
        """Returns the types that satisfy every condition that is given.

        Args:
            min_devices: the smallest number of accelerators. max_usd_per_hour: the highest price on demand.
            accelerator: "gpu" for any, "cpu" for none, or a name. "A100" includes "A100-40GB". Capitals do not matter.
            provider, region: their names. Capitals do not matter.

        Raises:
            ArgumentError: the catalogue has no such accelerator, provider or region.
        """
        kept = list(self)
        for name, wanted in (("accelerator", accelerator), ("provider", provider), ("region", region)):
            if wanted is not None:
                having = self._having(name, wanted)
                kept = [item for item in kept if item.name in having]
        least, most = min_devices or 0, math.inf if max_usd_per_hour is None else max_usd_per_hour
        return Catalogue(item for item in kept if item.devices >= least and item.usd_per_hour <= most)

    def _having(self, name: str, wanted: str) -> set[str]:
        """Returns the names of the types with this accelerator, provider or region."""
        found = {item.name for item in self if _fits(item, name, wanted.casefold())}
        if not found:
            known = sorted({getattr(item, name) for item in self} - {""})
            raise ArgumentError(name, wanted, f"one of {_listed(known)}{nearest(wanted, known)}")
        return found


def _fits(item: InstanceType, name: str, wanted: str) -> bool:
    value = getattr(item, name).casefold()
    if name != "accelerator":
        return bool(value == wanted)
    return value == wanted or value.startswith(f"{wanted}-") or (wanted == "gpu" and item.devices > 0)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(map(repr, found[:_MAX_LISTED])) + (", ..." if len(found) > _MAX_LISTED else "")


def instance_of(given: object, known: Catalogue, argument: str) -> InstanceType:
    """Returns the instance type with this name, or with these arguments as a mapping. `argument` is for messages.

    Raises:
        ArgumentError: the catalogue has no such type, or an argument is not allowed.
    """
    if isinstance(given, InstanceType):
        return given
    if isinstance(given, Mapping):
        refuse_unknown_keys(f"{argument}.", given, InstanceType.__dataclass_fields__)
        for name in ("name", "usd_per_hour"):
            if name not in given:
                raise ArgumentError(argument, dict(given), f"a mapping with the key {name!r}")
        try:
            return InstanceType(**given)
        except ArgumentError as error:
            place = f"{argument}: {error.argument.rpartition('.')[2]}"
            raise ArgumentError(place, error.received, error.allowed, hint=error.hint) from None
    if not isinstance(given, str):
        allowed = "the name of an instance type, an InstanceType, or its arguments as a mapping"
        raise ArgumentError(argument, given, allowed)
    return known[given]


@functools.cache
def _builtin() -> tuple[InstanceType, ...]:
    from lightning_hwtune.core.hardware.catalogue_text import instances_of_csv

    file = importlib.resources.files("lightning_hwtune.core.hardware").joinpath("instances.csv")
    return tuple(instances_of_csv(file.read_text(encoding="utf-8"), "instances.csv"))
