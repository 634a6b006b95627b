"""The start of the contracts of all parts that the log stores: their settings come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from lightning_hwtune.plugins import Registry
from lightning_hwtune.testing.demand import demand

__all__ = ["rebuilt", "settings_return"]


class _Part(Protocol):
    def settings(self) -> Mapping[str, Any]: ...


P = TypeVar("P", bound=_Part)


def rebuilt(registry: Registry[P], part: P) -> P:
    """Returns a part made from what the log would store of `part`."""
    return registry.rebuilt(json.loads(json.dumps(registry.stored(part))))


def settings_return(registry: Registry[P], part: P) -> P:
    """Checks that the log keeps the settings as plain data, and that a part made from them has the same; returns it."""
    registry.check(part)
    again, rule = rebuilt(registry, part), f"A {registry.kind} that is rebuilt from its settings equals the original."
    demand(type(again) is type(part), rule, f"It was {type(part)}; the rebuilt one is {type(again)}.")
    demand(again.settings() == part.settings(), rule, f"{part.settings()} became {again.settings()}.")
    return again
