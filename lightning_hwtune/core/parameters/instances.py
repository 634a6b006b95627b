"""A choice of instance types, with the facts about each: its price, its devices and all that its catalogue says.

The facts are part of the parameter, and so of the log. A newer catalogue does not change a study that has begun. What
makes such a parameter from the names of a catalogue is in `core.hardware.instances`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from lightning_hwtune.core.parameters.choices import Choice
from lightning_hwtune.core.parameters.options import Option, abbreviated
from lightning_hwtune.core.parameters.prior_value import prior_form, prior_text
from lightning_hwtune.errors import ArgumentError

__all__ = ["InstanceChoice"]

Facts = Mapping[str, Any]


class InstanceChoice(Choice):
    """The instance type that a trial trains on: one of several, by name, each equally likely.

    Args:
        facts: one mapping per instance type, with `name`, `usd_per_hour`, and what else its catalogue says.
        prior: the name of the type that an expert would try first; see `Choice`.
    """

    __slots__ = ("facts",)
    facts: tuple[Facts, ...]

    def __init__(self, facts: Iterable[Facts], prior: Option = None) -> None:
        found = tuple(MappingProxyType(dict(item)) for item in facts)
        for item in found:
            if not isinstance(item.get("name"), str) or not isinstance(item.get("usd_per_hour"), int | float):
                raise ArgumentError("Instance", dict(item), "instance types with `name` and `usd_per_hour`")
        super().__init__([item["name"] for item in found], ordered=False, prior=prior)
        plain = tuple(tuple(sorted(item.items())) for item in found)
        object.__setattr__(self, "facts", found)
        object.__setattr__(self, "_identity", (*self._identity, plain))
        object.__setattr__(self, "_hash", hash(self._identity))

    def __reduce__(self) -> tuple[Any, ...]:
        return InstanceChoice, (tuple(map(dict, self.facts)), self.prior)

    def __repr__(self) -> str:
        return f"Instance({abbreviated(self.options)}{prior_text(self.prior)})"

    @property
    def is_order_given(self) -> bool:
        """False: the types have no order."""
        return False

    def column(self, name: str, default: Any = None) -> dict[str, Any]:
        """Returns one of the facts, such as `usd_per_hour` or `devices`: name of the type -> value.

        Args:
            default: the value where the catalogue does not say.
        """
        return {str(item["name"]): item.get(name, default) for item in self.facts}

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files, with all facts."""
        return {"type": "instance", "options": list(map(dict, self.facts)), **prior_form(self.prior)}
