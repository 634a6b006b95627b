"""Constraints: bounds on quantities that are not objectives, and what is said about a trial that violates a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

from lightning_hwtune.core.feasibility import excess
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class, entries, parse_bytes, parse_duration
from lightning_hwtune.forms.given import Given

__all__ = [
    "ADDED_UP",
    "MEASURED_IN_TRAINING",
    "MEASURED_QUANTITIES",
    "Constraint",
    "Violation",
    "check_bounds",
    "violation_text",
]

MEASURED_IN_TRAINING = ("peak_memory", "energy_j")
"""Quantities that the process of a training measures; all other measured ones follow from its seconds."""

ADDED_UP = ("energy_j",)
"""Those among them that are 0 when a segment begins, and are added up. Of the others, the largest value counts."""

MEASURED_QUANTITIES: Mapping[str, str] = {
    "train_s": "s", "device_s": "s", "cost_usd": "USD", "peak_memory": "B", "energy_j": "J",
}  # fmt: skip
"""Quantity that the study measures itself -> unit. They only grow while a trial trains."""

_ALSO_KNOWN_AS = {"usd": "cost_usd"}
_READERS: Mapping[str, Callable[[str, Any], float | int | None]] = {
    "s": parse_duration,
    "B": lambda argument, value: parse_bytes(value, argument),
}


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class Constraint(Given):
    """A bound on a quantity that is not an objective, e.g. `Constraint("params", at_most=1e6)`.

    A trial that violates a bound is infeasible: it ranks behind all feasible trials and is never on the front.

    Args:
        name: a value that the training logs under this name, or one that the study measures: "train_s" and "device_s"
            (seconds), "cost_usd" or "usd" (the useful cost, see `Cost`), "energy_j" (joules, see `Energy`), and
            "peak_memory" (bytes of host memory of the trial's processes, without those of its data loaders).
        at_most, at_least: the bounds, inclusive. Those of measured quantities may be text such as "10min" or "2GB".
        changes: whether a logged value may change during training. False: it is constant, as the number of parameters
            is. A trial that violates the bound ends at its first report. True: the bound is final only at the end of a
            full training; before, a violation only lowers the trial's rank.

    Examples:
        >>> hwt.Constraint("params", at_most=1e6).at_most
        1000000.0
        >>> hwt.Constraint("peak_memory", at_most="2GB").at_most
        2000000000.0
    """

    name: str
    at_most: float | str | None = None
    at_least: float | str | None = None
    changes: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _ALSO_KNOWN_AS.get(self.name, self.name))
        read = _READERS.get(self.unit)
        for argument in ("at_most", "at_least"):
            value = getattr(self, argument)
            if read is not None and isinstance(value, str):  # text such as "2GB"
                value = read(f"Constraint.{argument}", value)
            if isinstance(value, str):
                raise ArgumentError(f"Constraint.{argument}", value, "a finite number")
            object.__setattr__(self, argument, None if value is None else float(value))
        if self.at_most is None and self.at_least is None:
            hint = f"For example Constraint({self.name!r}, at_most=1e6)."
            raise ArgumentError("Constraint.at_most", None, "a bound: `at_most`, `at_least` or both", hint=hint)
        check_bounds("Constraint", *self.bounds)
        if self.changes and self.is_measured:
            raise ArgumentError(
                "Constraint.changes", True, "False for a measured quantity", hint=f"{self.name!r} only grows."
            )

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """`at_most` and `at_least` as numbers."""
        return cast("tuple[float | None, float | None]", (self.at_most, self.at_least))

    @property
    def is_measured(self) -> bool:
        """Whether the study measures the quantity itself."""
        return self.name in MEASURED_QUANTITIES

    @property
    def unit(self) -> str:
        """The unit of a measured quantity; empty for a logged value."""
        return MEASURED_QUANTITIES.get(self.name, "")

    def is_final(self, value: float) -> bool:
        """Returns whether a trial with this value can never become feasible again, however it is trained."""
        at_most, at_least = self.bounds
        if self.is_measured:
            return excess(value, at_most, None) > 0
        return not self.changes and excess(value, at_most, at_least) > 0

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log; `from_dict` reads it back."""
        return {"name": self.name, "at_most": self.at_most, "at_least": self.at_least, "changes": self.changes}

    @classmethod
    def from_dict(cls, data: object) -> Constraint:
        """Returns the constraint that `to_dict` described.

        Raises:
            ArgumentError, UnknownArgumentError: the data has another form.
        """
        if not isinstance(data, Mapping):
            raise ArgumentError("constraints", data, "mappings such as {'name': 'params', 'at_most': 1000000}")
        return cls(**{str(key): value for key, value in entries(data).items()})


@final
@dataclass(frozen=True, slots=True)
class Violation:
    """One bound that a trial violates.

    Attributes:
        amount: how far the value is beyond the bound, in its unit; infinite if the value is not finite.
        relative: the same relative to the bound; absolute for a bound of 0.
    """

    name: str
    value: float
    bound: float
    is_upper: bool
    amount: float
    relative: float

    @classmethod
    def of(cls, name: str, value: float, at_most: float | None, at_least: float | None) -> Violation | None:
        """Returns how this value violates its bounds; None if it does not."""
        relative = excess(value, at_most, at_least)
        if relative <= 0:
            return None
        is_upper = excess(value, at_most, None) > 0
        bound = at_most if is_upper else at_least
        assert bound is not None
        return cls(name, value, bound, is_upper, abs(value - bound) if math.isfinite(value) else math.inf, relative)

    def __str__(self) -> str:
        bound = f"{'at most' if self.is_upper else 'at least'} {_number(self.bound)}"
        if not math.isfinite(self.value):
            return f"{self.name} is not finite ({bound})"
        by = f"{_percent(self.relative)} %" if self.bound else _number(self.amount)
        return f"{self.name} is {_number(self.value)} ({bound}: {by} too {'high' if self.is_upper else 'low'})"


def violation_text(violations: Sequence[Violation]) -> str:
    """Returns "infeasible: val_error is 0.25 (at most 0.2: 25 % too high)"; empty without violations."""
    return f"infeasible: {', '.join(map(str, violations))}" if violations else ""


def check_bounds(owner: str, at_most: float | None, at_least: float | None) -> None:
    """Refuses bounds that no value satisfies.

    Raises:
        ArgumentError: `at_least` is above `at_most`.
    """
    if at_most is not None and at_least is not None and at_least > at_most:
        raise ArgumentError(f"{owner}.at_least", at_least, f"a number up to `at_most`, which is {_number(at_most)}")


def _number(value: float) -> str:
    """Returns all digits of a value up to six digits or without decimals, otherwise four significant digits."""
    if value == int(value) and abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.4g}"


def _percent(relative: float) -> str:
    percent = 100 * relative
    return f"{percent:.0f}" if 10 <= percent < 1e6 else f"{percent:.2g}"
