"""Parameters given by a list: options of any plain type, and the number of devices."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import (
    Option,
    abbreviated,
    all_numbers,
    handed_out,
    kind_key,
    listed,
    option_key,
    plain_option,
)
from lightning_hwtune.core.parameters.prior_value import prior_form, prior_text
from lightning_hwtune.core.parameters.values import bin_of
from lightning_hwtune.core.parameters.when import When, read_when, when_form, when_text
from lightning_hwtune.errors import ArgumentError, shown
from lightning_hwtune.forms import FORMS, checked_call, plain
from lightning_hwtune.forms.given import Given

__all__ = ["ALWAYS_DEVICES", "Choice", "NumDevices", "Option"]

ALWAYS_DEVICES = "no condition, because every trial trains on some number of devices"
"""What is allowed as the condition of a `NumDevices`."""

_COUNT = FORMS["NumDevices"]["counts"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, init=False)
class Choice(Given):
    """One of several options, each equally likely.

    Args:
        options: text, numbers, True, False, None, and lists and mappings of these; no two equal. A single option is a
            constant.
        ordered: whether neighbours in the list are similar. Ordered options share one coordinate of the unit cube,
            unordered options get one coordinate each. None: numbers are ordered and sorted, anything else is unordered.
        when: the condition under which the parameter exists, such as `{"optimizer": "sgd"}`; None for always.
        prior: the option that an expert would try first. The first draws prefer it, and it loses influence as results
            come in. None: no option is expected to be good.

    Examples:
        >>> hwt.Choice(["adam", "sgd"]).ordered
        False
        >>> hwt.Choice([128, 32, 64])
        Choice([32, 64, 128])
    """

    options: tuple[Option, ...]
    ordered: bool
    when: When | None
    prior: Option
    _places: Mapping[Hashable, int]  # option -> its position; a list would have to be searched for every configuration
    _identity: tuple[object, ...]
    _hash: int

    @checked_call("Choice", prefix="Choice.")
    def __init__(
        self,
        options: Iterable[Option],
        *,
        ordered: bool | None = None,
        when: Mapping[str, Any] | None = None,
        prior: Option = None,
    ) -> None:
        items = [plain_option(item) for item in listed(options)]
        if not items:
            raise ArgumentError("Choice.options", options, "at least one option")
        if ordered is None:
            ordered = all_numbers(items)
            items = _ascending(items) if ordered else items
        places: dict[Hashable, int] = {}
        for place, item in enumerate(items):
            if places.setdefault(option_key(item), place) != place:
                raise ArgumentError("Choice.options", items, "each option once", hint=f"{shown(item)} occurs twice.")
        condition = read_when("Choice.when", when)
        identity = ordered, tuple(map(kind_key, items)), condition
        values = {"options": tuple(items), "ordered": ordered, "when": condition, "_places": places}
        # 1, 1.0 and True are equal in Python, but not the same option in a configuration file
        for field, value in {**values, "_identity": identity, "_hash": hash(identity)}.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "prior", None if prior is None else self.check("Choice.prior", prior))
        if prior is not None:
            object.__setattr__(self, "_identity", (*identity, kind_key(plain_option(prior))))
            object.__setattr__(self, "_hash", hash(self._identity))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Choice) and self._identity == other._identity)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        # made again, because hashes of text differ from process to process
        return _choice, (self.options, self.ordered, self.when, self.prior, self._given)

    def __repr__(self) -> str:
        tail = "" if self._is_usual_order() else f", ordered={self.ordered}"
        rest = f"{tail}{prior_text(self.prior)}{when_text(self.when)}"
        return f"Choice({abbreviated(self.options)}{rest})"

    @property
    def n_dims(self) -> int:
        """The number of coordinates in the unit cube."""
        return 1 if self.ordered else len(self.options)

    @property
    def n_values(self) -> int:
        """The number of options."""
        return len(self.options)

    def quantile(self, share: float) -> Option:
        """Returns the option at this share of the list."""
        return handed_out(self.options[bin_of(share, len(self.options))])

    def encode(self, value: Option) -> list[float]:
        """Returns one coordinate if ordered, otherwise 1 for the option and 0 for each other one."""
        place = self.place(value)
        if self.ordered:
            return [(place + 0.5) / len(self.options)]
        return [float(i == place) for i in range(len(self.options))]

    def decode(self, cells: Sequence[float]) -> Option:
        """Returns the option nearest to these coordinates; the first one of several equally near."""
        if self.ordered:
            return self.quantile(cells[0])
        return handed_out(self.options[max(range(len(self.options)), key=cells.__getitem__)])

    def place(self, value: Option) -> int:
        """Returns the position of an option in the list, from 0."""
        return self._places[option_key(value)]

    def check(self, name: str, value: object) -> Option:
        """Returns the option that equals the value, in the form given to the constructor.

        Raises:
            ArgumentError: the value is not one of the options.
        """
        try:
            return handed_out(self.options[self._places[option_key(plain_option(value))]])
        except (ArgumentError, KeyError):
            raise ArgumentError(name, value, f"one of {abbreviated(self.options)}") from None

    def levels(self) -> Sequence[Option]:
        """Returns the options."""
        return self.options

    def masses(self) -> npt.NDArray[np.float64]:
        """Returns the probability of every option, shape `(n_values,)`."""
        return np.full(self.n_values, 1.0 / self.n_values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files."""
        form: dict[str, Any] = {"type": "choice", "options": [handed_out(option) for option in self.options]}
        is_default = inspect.signature(Choice).parameters["ordered"].default is None
        is_usual = is_default and self._is_usual_order()
        return form | ({} if is_usual else {"ordered": self.ordered}) | prior_form(self.prior) | when_form(self.when)

    @property
    def is_order_given(self) -> bool:
        """Whether `ordered` was given."""
        return "ordered" in self._given

    def replaced(self, when: Mapping[str, Any] | None, prior: Option) -> Choice:
        """Returns the same choice with another condition and another expected option."""
        return Choice(self.options, ordered=self.ordered, when=when, prior=prior)

    def has_options_of(self, other: Choice) -> bool:
        """Return whether both have the same options; numbers may be listed in any order."""
        first, second = (
            Choice(_ascending(item.options) if all_numbers(item.options) else item.options, ordered=False)
            for item in (self, other)
        )
        return first == second

    def _is_usual_order(self) -> bool:
        """Returns whether `ordered=None` would give the same order."""
        if not all_numbers(self.options):
            return not self.ordered
        return self.ordered and list(self.options) == _ascending(self.options)


@final
@dataclass(frozen=True, slots=True, repr=False, init=False)
class NumDevices:
    """The number of devices that a trial trains on: `NumDevices(1, 2, 4)` gives counts, not device indices.

    Args:
        counts: positive integers, no two equal, kept in ascending order. A single count is a constant.
        when: not allowed, because every trial trains on some number of devices.

    Examples:
        >>> hwt.NumDevices(4, 1, 2)
        NumDevices(1, 2, 4)
    """

    counts: tuple[int, ...]

    @checked_call("NumDevices")
    def __init__(self, *counts: int, when: None = None) -> None:
        if when is not None:
            raise ArgumentError("NumDevices.when", when, ALWAYS_DEVICES, hint="Leave it out.")
        if len(counts) == 1 and isinstance(counts[0], Iterable):
            raise ArgumentError(
                "NumDevices", counts[0], "the counts as separate arguments", hint="Write NumDevices(1, 2)."
            )
        if not counts:
            raise ArgumentError("NumDevices", counts, "at least one count", hint="Write NumDevices(1, 2).")
        found = sorted(_COUNT.read("NumDevices", count) for count in counts)
        if len(set(found)) < len(found):
            raise ArgumentError("NumDevices", counts, "each count once")
        object.__setattr__(self, "counts", tuple(found))

    def __repr__(self) -> str:
        return f"NumDevices({', '.join(map(str, self.counts))})"

    @property
    def when(self) -> None:
        """None, because every trial has a number of devices."""
        return None

    @property
    def n_dims(self) -> int:
        """The number of coordinates in the unit cube."""
        return 1

    @property
    def n_values(self) -> int:
        """The number of counts."""
        return len(self.counts)

    def quantile(self, share: float) -> int:
        """Returns the count at this share of the list."""
        return self.counts[bin_of(share, len(self.counts))]

    def encode(self, value: int) -> list[float]:
        """Returns the single coordinate of a count, from its position among the counts."""
        return [(self.place(value) + 0.5) / len(self.counts)]

    def place(self, value: int) -> int:
        """Returns the position of a count among the counts, from 0."""
        return self.counts.index(value)

    def decode(self, cells: Sequence[float]) -> int:
        """Returns the count nearest to this coordinate."""
        return self.quantile(cells[0])

    def check(self, name: str, value: object) -> int:
        """Returns the count as a plain int.

        Raises:
            ArgumentError: the value is not one of the counts.
        """
        number = plain(value)
        if isinstance(number, bool) or not isinstance(number, int | float) or number not in self.counts:
            raise ArgumentError(name, value, f"one of the device counts {list(self.counts)}")
        return int(number)

    def levels(self) -> Sequence[int]:
        """Returns the counts, ascending."""
        return self.counts

    def masses(self) -> npt.NDArray[np.float64]:
        """Returns the probability of every count, shape `(n_values,)`."""
        return np.full(self.n_values, 1.0 / self.n_values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files."""
        return {"type": "num_devices", "counts": list(self.counts)}


def _choice(
    options: Sequence[Option],
    ordered: bool,
    when: When | None = None,
    prior: Option = None,
    given: frozenset[str] | None = None,
) -> Choice:
    made = Choice(options, ordered=ordered, when=when, prior=prior)
    if given is not None:
        object.__setattr__(made, "_given", given)
    return made


def _ascending(numbers: Sequence[Option]) -> list[Option]:
    return sorted(numbers, key=lambda number: number)  # type: ignore[arg-type, return-value]
