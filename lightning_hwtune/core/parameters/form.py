"""Reads a parameter from its form in study files, e.g. `{type: float, low: 1e-4, high: 1e-1, log: true}`.

Each parameter's `to_dict` is the opposite direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_hwtune.core.parameters.choices import ALWAYS_DEVICES, Choice, NumDevices
from lightning_hwtune.core.parameters.instances import InstanceChoice
from lightning_hwtune.core.parameters.options import all_numbers, plain_option
from lightning_hwtune.core.parameters.ranges import ABSENT, Float, Int
from lightning_hwtune.core.parameters.trainer_choices import Accumulation, Precision, Strategy
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest
from lightning_hwtune.forms.owners import FILE_PLACES
from lightning_hwtune.names import refuse_unknown_keys

__all__ = ["KINDS", "Parameter", "number_of_text", "parameter_from_dict", "stored_form"]

Parameter = Float | Int | Choice | NumDevices


def _num_devices(counts: object) -> NumDevices:
    if not isinstance(counts, list | tuple):
        raise ArgumentError("counts", counts, "a list such as [1, 2]")
    return NumDevices(*counts)


def _instances(options: object, prior: Any = None) -> InstanceChoice:
    if not isinstance(options, list | tuple) or not all(isinstance(item, Mapping) for item in options):
        raise ArgumentError("options", options, "a list of mappings with `name` and `usd_per_hour`")
    return InstanceChoice(options, prior)


KINDS: dict[str, tuple[Callable[..., Parameter], tuple[str, ...], tuple[str, ...]]] = {
    "float": (Float, ("low", "high"), ("log", "when", "prior")),
    "int": (Int, ("low", "high"), ("log", "step", "when", "prior")),
    "choice": (Choice, ("options",), ("ordered", "when", "prior")),
    "num_devices": (_num_devices, ("counts",), ()),
    "instance": (_instances, ("options",), ("prior",)),
    **{cls.kind: (cls.of, ("options",), ("when", "prior")) for cls in (Strategy, Precision, Accumulation)},
}
"""Kind -> its constructor, required keys, optional keys."""

_RENAMED_KINDS = {
    "uniform": "`type: float`",
    "loguniform": "`type: float` and `log: true`",
    "log_uniform": "`type: float` and `log: true`",
    "randint": "`type: int`, where `high` is included",
    "lograndint": "`type: int` and `log: true`, where `high` is included",
    "quniform": "`type: int` and `step`",
    "real": "`type: float`",
    "double": "`type: float`",
    "integer": "`type: int`",
    "categorical": "`type: choice`",
    "discrete": "`type: choice`",
    "bool": "`type: choice` and `options: [true, false]`",
    "boolean": "`type: choice` and `options: [true, false]`",
    "fixed": "`type: choice` with one option",
    "constant": "`type: choice` with one option",
}


def parameter_from_dict(name: str, form: object) -> Parameter:
    """Returns the parameter that `form` describes. `name` is only used in messages.

    Numbers may be given as text: YAML 1.1 reads `1e-4` as text.

    Raises:
        ArgumentError: an unknown kind or key, a missing key, or a value that the parameter refuses.
        RenamedArgumentError: a kind or key has another tool's name.
    """
    if not isinstance(form, Mapping):
        raise ArgumentError(name, form, "a mapping such as {type: float, low: 1e-4, high: 1e-1, log: true}")
    build, needed, optional = _kind(name, form)
    given = {key: value for key, value in form.items() if key != "type"}
    if "when" not in optional and form.get("when") is not None:
        raise ArgumentError(f"{name}.when", form["when"], ALWAYS_DEVICES, hint="Leave it out.")
    refuse_unknown_keys(f"{name}.", form, ("type", *needed, *optional), places=FILE_PLACES)
    missing = [key for key in needed if key not in given]
    if missing:
        raise ArgumentError(name, dict(form), f"a mapping with the key {missing[0]!r}")
    numbers = ("low", "high", "step", *(["prior"] if build in (Float, Int) else []))
    try:
        return build(**{key: number_of_text(value) if key in numbers else value for key, value in given.items()})
    except ArgumentError as error:
        argument = f"{name}.{error.argument.rpartition('.')[2]}"
        raise ArgumentError(argument, error.received, error.allowed, hint=error.hint) from None


def stored_form(form: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a form from a log with all its keys, so that it does not depend on the defaults of today."""
    kind, full = form.get("type"), dict(form)
    if kind in ("float", "int"):
        full = {**{key: value for key, value in ABSENT.items() if key in KINDS[kind][2]}, **form}
    elif kind == "choice" and "ordered" not in form:
        full["ordered"] = all_numbers([plain_option(option) for option in form.get("options", ())])
    return full


def _kind(name: str, form: Mapping[str, Any]) -> tuple[Callable[..., Parameter], tuple[str, ...], tuple[str, ...]]:
    kind = form.get("type")
    if isinstance(kind, str) and kind in _RENAMED_KINDS:
        raise RenamedArgumentError(f"{name}.type: {kind}", f"use {_RENAMED_KINDS[kind]}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ArgumentError(f"{name}.type", kind, f"{', '.join(KINDS)}{nearest(str(kind), KINDS)}")
    return KINDS[kind]


def number_of_text(value: object) -> object:
    """Returns the number in a text; any other value is returned as it is and checked by the parameter."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
