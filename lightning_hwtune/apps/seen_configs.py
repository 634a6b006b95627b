"""The configurations that the trials of a foreign app may get, and what all of them have in common.

One searched value may change several others: a preset sets batch size and horizon, a section replaces its content. So
reading a single configuration is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, final

from lightning_hwtune.apps.monitors import Monitor
from lightning_hwtune.errors import ArgumentError

__all__ = ["Facts", "Seen", "SeenConfigs", "changed_options", "is_same"]

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """The values that a study reads from one configuration.

    Attributes:
        values: the value of each requested key; None if it is not there, or is known only while the app runs.
        monitors: the metrics that the app's callbacks monitor.
    """

    values: Mapping[str, Any]
    monitors: tuple[Monitor, ...]


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """The facts of one configuration. `options`: the values of the searched parameters with which it was composed."""

    options: Mapping[str, Any]
    facts: Facts


@final
@dataclass(frozen=True, slots=True)
class SeenConfigs:
    """Configurations of the trials. `seen`: at least one; the first is the example."""

    seen: tuple[Seen, ...]

    @property
    def first(self) -> Facts:
        """The facts of the example."""
        return self.seen[0].facts

    def shared(self, read: Callable[[Facts], T], argument: str, allowed: str, hint: str) -> T:
        """Return the value that all configurations have in common.

        Args:
            read: returns the value for the facts of a configuration; values are compared with `==`.

        Raises:
            ArgumentError: two configurations differ; the message names the parameters in which they differ.
        """
        value = read(self.first)
        for other in self.seen[1:]:
            found = read(other.facts)
            if found != value:
                near = min(
                    (config for config in self.seen if read(config.facts) != found),
                    key=lambda config: len(changed_options(other.options, config.options)),
                )
                names = changed_options(other.options, near.options)
                received = f"{read(near.facts)} with {_text(near.options, names)}, {found} with "
                raise ArgumentError(argument, received + _text(other.options, names), allowed, hint=hint)
        return value


def changed_options(options: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from others of the same names."""
    return {name: value for name, value in options.items() if not is_same(value, others[name])}


def is_same(one: Any, other: Any) -> bool:
    """Return whether two options are equal; True and 1 are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _text(options: Mapping[str, Any], names: Mapping[str, Any]) -> str:
    return " and ".join(f"{name}={options[name]}" for name in names)
