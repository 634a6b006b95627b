"""The instance type as a parameter of a search space, made from names, from types, or by a filter of a catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType, instance_of
from lightning_hwtune.core.parameters.instances import InstanceChoice
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown_keys

__all__ = ["FILTERS", "Instance", "expanded"]

FILTERS = ("min_devices", "max_usd_per_hour", "accelerator", "provider", "region")
"""The conditions of `Catalogue.where`."""


def Instance(
    instances: Iterable[str | InstanceType] | None = None,
    *,
    min_devices: int | None = None,
    max_usd_per_hour: float | None = None,
    accelerator: str | None = None,
    provider: str | None = None,
    region: str | None = None,
    prior: str | None = None,
    catalogue: Catalogue | None = None,
) -> InstanceChoice:
    """The machine that a trial trains on, as a parameter: a list of types, or all that satisfy some conditions.

    The price and the other facts of each type are part of the parameter. A study can only train on the machine that it
    runs on. Other types are for simulations.

    Args:
        instances: names of the catalogue, or `InstanceType(...)`; None for all types that satisfy the conditions.
        min_devices, max_usd_per_hour, accelerator, provider, region: as in `Catalogue.where`.
        prior: the name of the type that an expert would try first.
        catalogue: where the names are looked up; None for that of the package.

    Raises:
        ArgumentError: a name is unknown, no type satisfies the conditions, or neither list nor conditions are given.

    Examples:
        >>> hwt.Instance(["g4dn.12xlarge", "p3.8xlarge"]).column("usd_per_hour")
        {'g4dn.12xlarge': 3.912, 'p3.8xlarge': 12.24}
        >>> hwt.Instance(min_devices=4, max_usd_per_hour=4).options
        ('g4dn.12xlarge',)
    """
    known = Catalogue.builtin() if catalogue is None else catalogue
    given = (min_devices, max_usd_per_hour, accelerator, provider, region)
    if instances is None and all(value is None for value in given):
        hint = "For example Instance(['g4dn.12xlarge']) or Instance(min_devices=1, max_usd_per_hour=5)."
        raise ArgumentError("Instance", None, "a list of types, or a condition", hint=hint)
    if isinstance(instances, str | InstanceType | Mapping):
        raise ArgumentError("Instance.instances", instances, "a list", hint="Write Instance(['g4dn.12xlarge']).")
    chosen = (
        known if instances is None else Catalogue(instance_of(item, known, "Instance.instances") for item in instances)
    )
    conditions = dict(zip(FILTERS, given, strict=True))
    found = chosen.where(**conditions)  # type: ignore[arg-type]
    if not len(found):
        what = {name: value for name, value in conditions.items() if value is not None} or list(instances or ())
        raise ArgumentError("Instance", what, "conditions that at least one type satisfies")
    return InstanceChoice([{"devices": 0, **item.to_dict()} for item in found], prior)


def expanded(name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the form of an instance parameter in a study file with all facts: names and conditions are looked up.

    Raises:
        ArgumentError: a name is unknown, or no type satisfies the conditions; the message has the parameter's name.
    """
    given = {key: value for key, value in form.items() if key != "type"}
    refuse_unknown_keys(f"{name}.", given, ("options", "prior", *FILTERS))
    options = given.pop("options", None)
    try:
        return Instance(options, **given).to_dict()
    except ArgumentError as error:
        head, _, last = error.argument.partition(".")
        argument = name if head == "Instance" and not last else f"{name}.{last or head}"
        raise ArgumentError(argument, error.received, error.allowed, hint=error.hint) from None
