"""Parameters with a list: options of any plain type, and the number of devices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.values import bin_of, check_flag, plain, whole
from lightning_hwtune.core.text import check_text
from lightning_hwtune.errors import ArgumentError

__all__ = ["Choice", "NumDevices", "Option"]

Option = str | int | float | bool | None


@final
@dataclass(frozen=True, slots=True, repr=False, eq=False, init=False)
class Choice:
    """One of several options, each equally likely.

    Args:
        options: text, numbers, True, False or None, no two equal. One option is a constant.
        ordered: True if neighbours in the list are alike; they then share one coordinate of the unit cube, while
            unordered options get a coordinate each. None: numbers are ordered, and sorted; anything else is not.
    """

    options: tuple[Option, ...]
    ordered: bool

    def __init__(self, options: Iterable[Option], *, ordered: bool | None = None) -> None:
        items = [_option(item) for item in _listed(options)]
        if not items:
            raise ArgumentError("Choice.options", options, "at least one option")
        keys = [_key(item) for item in items]
        twice = [item for i, item in enumerate(items) if keys[i] in keys[:i]]
        if twice:
            raise ArgumentError("Choice.options", items, "every option once", hint=f"{twice[0]!r} occurs twice.")
        if ordered is None:
            ordered = _all_numbers(items)
            items = _ascending(items) if ordered else items
        check_flag("Choice.ordered", ordered)
        object.__setattr__(self, "options", tuple(items))
        object.__setattr__(self, "ordered", ordered)

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal in Python, but not the same option in a configuration file
        return isinstance(other, Choice) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        tail = "" if self._is_usual_order() else f", ordered={self.ordered}"
        return f"Choice({list(self.options)!r}{tail})"

    @property
    def n_dims(self) -> int:
        """Coordinates in the unit cube."""
        return 1 if self.ordered else len(self.options)

    @property
    def n_values(self) -> int:
        """How many options there are."""
        return len(self.options)

    def quantile(self, share: float) -> Option:
        """Returns the option at this share of the list."""
        return self.options[bin_of(share, len(self.options))]

    def encode(self, value: Option) -> list[float]:
        """Returns one coordinate if ordered, else a one for the option and a zero for each other."""
        place = self._place(value)
        if self.ordered:
            return [(place + 0.5) / len(self.options)]
        return [float(i == place) for i in range(len(self.options))]

    def decode(self, cells: Sequence[float]) -> Option:
        """Returns the option nearest to these coordinates; among equals the first."""
        if self.ordered:
            return self.quantile(cells[0])
        return self.options[max(range(len(self.options)), key=cells.__getitem__)]

    def check(self, name: str, value: object) -> Option:
        """Returns the option that equals the value, as it was given to the constructor.

        Raises:
            ArgumentError: it is none of the options.
        """
        try:
            return self.options[self._place(plain(value))]
        except ValueError:
            raise ArgumentError(name, value, f"one of {list(self.options)!r}") from None

    def levels(self) -> Sequence[Option]:
        """Returns the options."""
        return self.options

    def masses(self) -> npt.NDArray[np.float64]:
        """Returns the probability of every option, shape `(n_values,)`."""
        return np.full(self.n_values, 1.0 / self.n_values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the form of study files."""
        form: dict[str, Any] = {"type": "choice", "options": list(self.options)}
        return form if self._is_usual_order() else form | {"ordered": self.ordered}

    def _is_usual_order(self) -> bool:
        """True if `ordered=None` would give the same."""
        if not _all_numbers(self.options):
            return not self.ordered
        return self.ordered and list(self.options) == _ascending(self.options)

    def _place(self, value: object) -> int:
        return [_key(option) for option in self.options].index(_key(value))

    def _identity(self) -> tuple[object, ...]:
        return self.ordered, tuple((type(option), option) for option in self.options)


@final
@dataclass(frozen=True, slots=True, repr=False, init=False)
class NumDevices:
    """How many devices a trial trains on; `NumDevices(1, 2, 4)` says how many, never which.

    Args:
        counts: whole numbers from 1, no two equal; kept in ascending order. One count fixes it.
    """

    counts: tuple[int, ...]

    def __init__(self, *counts: int) -> None:
        if len(counts) == 1 and isinstance(counts[0], Iterable):
            raise ArgumentError("NumDevices", counts[0], "counts one by one", hint="Write NumDevices(1, 2).")
        if not counts:
            raise ArgumentError("NumDevices", counts, "at least one count", hint="Write NumDevices(1, 2).")
        plain = sorted(whole("NumDevices", count) for count in counts)
        if plain[0] < 1:
            raise ArgumentError("NumDevices", counts, "whole numbers from 1", hint="Counts, not the devices' numbers.")
        if len(set(plain)) < len(plain):
            raise ArgumentError("NumDevices", counts, "every count once")
        object.__setattr__(self, "counts", tuple(plain))

    def __repr__(self) -> str:
        return f"NumDevices({', '.join(map(str, self.counts))})"

    @property
    def n_dims(self) -> int:
        """Coordinates in the unit cube."""
        return 1

    @property
    def n_values(self) -> int:
        """How many counts there are."""
        return len(self.counts)

    def quantile(self, share: float) -> int:
        """Returns the count at this share of the list."""
        return self.counts[bin_of(share, len(self.counts))]

    def encode(self, value: int) -> list[float]:
        """Returns the count's one coordinate: its place among the counts."""
        return [(self.counts.index(value) + 0.5) / len(self.counts)]

    def decode(self, cells: Sequence[float]) -> int:
        """Returns the count nearest to this coordinate."""
        return self.quantile(cells[0])

    def check(self, name: str, value: object) -> int:
        """Returns the count as a plain int.

        Raises:
            ArgumentError: it is none of the counts.
        """
        number = plain(value)
        if isinstance(number, bool) or not isinstance(number, int | float) or number not in self.counts:
            raise ArgumentError(name, value, f"a device count out of {list(self.counts)}")
        return int(number)

    def levels(self) -> Sequence[int]:
        """Returns the counts, ascending."""
        return self.counts

    def masses(self) -> npt.NDArray[np.float64]:
        """Returns the probability of every count, shape `(n_values,)`."""
        return np.full(self.n_values, 1.0 / self.n_values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the form of study files."""
        return {"type": "num_devices", "counts": list(self.counts)}


def _listed(options: object) -> list[object]:
    """The options in the order given; text is no list, and a set has no order that lasts."""
    if isinstance(options, np.ndarray):
        return list(options.tolist())
    if isinstance(options, str | bytes | set | frozenset | Mapping) or not isinstance(options, Iterable):
        raise ArgumentError("Choice.options", options, "a list such as Choice(['adam', 'sgd'])")
    return list(options)


def _option(value: object) -> Option:
    """Returns the plain option: subclasses (an enumeration that is also text, say) would not survive the log."""
    option = plain(value)
    if option is None or isinstance(option, bool):
        return option
    if isinstance(option, str):
        check_text("Choice.options", option)
        return str.__str__(option)
    if isinstance(option, int):
        return int(option)
    if isinstance(option, float) and math.isfinite(option):
        return float(option) + 0.0  # turns -0.0 into 0.0: they are equal, but not written alike
    raise ArgumentError(
        "Choice.options",
        value,
        "text, finite numbers, True, False and None",
        hint="Give anything else a name here, and look it up by that name in the training code.",
    )


def _key(option: object) -> tuple[bool, object]:
    """What makes two options equal: 1 and 1.0 are, 1 and True are not."""
    return isinstance(option, bool), option


def _all_numbers(options: Sequence[Option]) -> bool:
    return all(isinstance(option, int | float) and not isinstance(option, bool) for option in options)


def _ascending(numbers: Sequence[Option]) -> list[Option]:
    return sorted(numbers, key=lambda number: number)  # type: ignore[arg-type, return-value]
