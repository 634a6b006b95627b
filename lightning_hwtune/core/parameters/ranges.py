"""Parameters given by a range: floats and integers, uniform in the value or in its logarithm.

Encoding and decoding a float changes it by at most 1e-9 of its value if `log` is set, and by at most 1e-9 of its range
otherwise. An integer does not change.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.prior_value import prior_form, prior_text
from lightning_hwtune.core.parameters.values import bin_of
from lightning_hwtune.core.parameters.when import read_when, when_form, when_text
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class, plain
from lightning_hwtune.forms.given import Given

__all__ = ["ABSENT", "Float", "Int"]

ABSENT = {"log": False, "step": 1}
"""What a stored form means that lacks the key. Unlike the defaults of the constructors, it never changes."""


@checked_class()
@final
@dataclass(frozen=True, slots=True, repr=False)
class Float(Given):
    """A real number from `low` to `high`, both included.

    Args:
        low: the smallest value; above 0 if `log`.
        high: the largest value, above `low`.
        log: whether values are uniform in the logarithm instead of the value.
        when: the condition under which the parameter exists, such as `{"optimizer": "sgd"}`; None for always.
        prior: the value that an expert would try first. The first draws are near it, and it loses influence as results
            come in. None: no value is expected to be good.

    Examples:
        >>> hwt.Float(1e-4, 1e-1, log=True)
        Float(0.0001, 0.1, log=True)
    """

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    when: Mapping[str, Any] | None = None
    prior: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", read_when("Float.when", self.when))
        _check_range("Float", self.low, self.high, is_log=self.log)
        if not math.isfinite(self.high - self.low):
            raise ArgumentError("Float.high", self.high, "a number for which high - low is finite")
        _keep_prior(self)

    def __repr__(self) -> str:
        tail = f"{', log=True' if self.log else ''}{prior_text(self.prior)}{when_text(self.when)}"
        return f"Float({self.low!r}, {self.high!r}{tail})"

    @property
    def n_dims(self) -> int:
        """The number of coordinates in the unit cube."""
        return 1

    @property
    def n_values(self) -> None:
        """None, as the values cannot be counted."""
        return None

    def quantile(self, share: float) -> float:
        """Returns the value at this share of the distribution."""
        if share <= 0.0:
            return self.low
        if share >= 1.0:
            return self.high
        if self.log:
            start = math.log(self.low)
            value = math.exp(start + share * (math.log(self.high) - start))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def encode(self, value: float) -> list[float]:
        """Returns the single coordinate of a value."""
        if self.log:
            start = math.log(self.low)
            return [(math.log(value) - start) / (math.log(self.high) - start)]
        return [(value - self.low) / (self.high - self.low)]

    def decode(self, cells: Sequence[float]) -> float:
        """Returns the value at this coordinate."""
        return self.quantile(cells[0])

    def check(self, name: str, value: object) -> float:
        """Returns the value as a plain float; integers are accepted.

        Raises:
            ArgumentError: the value is not a number in the range.
        """
        number = plain(value)
        if isinstance(number, bool) or not isinstance(number, int | float) or not self.low <= number <= self.high:
            raise ArgumentError(name, value, f"a number from {self.low!r} to {self.high!r}")
        return float(number)

    def levels(self, n_points: int) -> list[float]:
        """Returns `n_points` (at least 2) evenly spaced values, including both ends."""
        inner = (self.quantile(i / (n_points - 1)) for i in range(1, n_points - 1))
        # 12 digits give 0.001 rather than 0.0010000000000000002
        rounded = (min(max(float(f"{value:.12g}"), self.low), self.high) for value in inner)
        return [self.low, *rounded, self.high]

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files."""
        form: dict[str, Any] = {"type": "float", "low": self.low, "high": self.high}
        return form | _unusual(self, log=self.log) | prior_form(self.prior) | when_form(self.when)


@checked_class()
@final
@dataclass(frozen=True, slots=True, repr=False)
class Int(Given):
    """An integer from `low` to `high`, both included.

    Args:
        low: the smallest value; at least 1 if `log`.
        high: the largest value, above `low`; an integer multiple of `step` away from it.
        log: whether values are uniform in the logarithm: each is as likely as the part of that range that rounds to it.
        step: the distance between neighbouring values, counted from `low`; 1 if `log`.
        when: the condition under which the parameter exists, such as `{"optimizer": "sgd"}`; None for always.
        prior: the value that an expert would try first. The first draws are near it, and it loses influence as results
            come in. None: no value is expected to be good.

    Examples:
        >>> hwt.Int(16, 128, step=16)
        Int(16, 128, step=16)
        >>> hwt.SearchSpace(width=hwt.Int(16, 128, step=16)).size
        8
    """

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1
    when: Mapping[str, Any] | None = None
    prior: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", read_when("Int.when", self.when))
        _check_range("Int", self.low, self.high, is_log=self.log)
        if self.log and self.step != 1:
            raise ArgumentError(
                "Int.step", self.step, "1, because log=True", hint="List the values with Choice instead."
            )
        if (self.high - self.low) % self.step:
            below = self.high - (self.high - self.low) % self.step
            raise ArgumentError(
                "Int.high",
                self.high,
                f"`low` plus a multiple of step={self.step}",
                hint=f"The nearest values are {below} and {below + self.step}.",
            )
        _keep_prior(self)

    def __repr__(self) -> str:
        tail = f"{', log=True' if self.log else ''}{f', step={self.step}' if self.step != 1 else ''}"
        return f"Int({self.low}, {self.high}{tail}{prior_text(self.prior)}{when_text(self.when)})"

    @property
    def n_dims(self) -> int:
        """The number of coordinates in the unit cube."""
        return 1

    @property
    def n_values(self) -> int:
        """The number of values."""
        return (self.high - self.low) // self.step + 1

    def quantile(self, share: float) -> int:
        """Returns the value at this share of the distribution."""
        if self.log:
            start, end = self._log_ends()
            value = round(math.exp(start + share * (end - start)))
            return min(max(value, self.low), self.high)
        return self.low + self.step * bin_of(share, self.n_values)

    def encode(self, value: int) -> list[float]:
        """Returns the single coordinate of a value."""
        if self.log:
            start, end = self._log_ends()
            return [(math.log(value) - start) / (end - start)]
        return [((value - self.low) // self.step + 0.5) / self.n_values]

    def decode(self, cells: Sequence[float]) -> int:
        """Returns the value nearest to this coordinate."""
        return self.quantile(cells[0])

    def check(self, name: str, value: object) -> int:
        """Returns the value as a plain int; 8.0 is accepted as 8, as tables turn integers into floats.

        Raises:
            ArgumentError: the value is not one of the parameter's.
        """
        number = plain(value)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if (
            isinstance(number, bool)
            or not isinstance(number, int)
            or not self.low <= number <= self.high
            or (number - self.low) % self.step
        ):
            steps = f" in steps of {self.step}" if self.step != 1 else ""
            raise ArgumentError(name, value, f"an integer from {self.low} to {self.high}{steps}")
        return number

    def levels(self) -> Sequence[int]:
        """Returns all values, ascending."""
        return range(self.low, self.high + 1, self.step)

    def masses(self) -> npt.NDArray[np.float64]:
        """Returns the probability of each value, shape `(n_values,)`, in the order of `levels`."""
        if not self.log:
            return np.full(self.n_values, 1.0 / self.n_values)
        start, end = self._log_ends()
        edges = np.log(np.arange(self.low, self.high + 2) - 0.5)
        return np.asarray(np.diff(edges) / (end - start))

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files."""
        form: dict[str, Any] = {"type": "int", "low": self.low, "high": self.high}
        return form | _unusual(self, log=self.log, step=self.step) | prior_form(self.prior) | when_form(self.when)

    def _log_ends(self) -> tuple[float, float]:
        # half a unit beyond each end, so that the end values get their full share of the rounding
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


def _unusual(parameter: Float | Int, **values: Any) -> dict[str, Any]:
    """Returns the values without which a form would describe another parameter, in a log or in a study file."""
    defaults = inspect.signature(type(parameter)).parameters
    return {name: value for name, value in values.items() if not value == ABSENT[name] == defaults[name].default}


def _keep_prior(parameter: Float | Int) -> None:
    """Stores the plain value of the prior; it must be in the range."""
    if parameter.prior is not None:
        checked = parameter.check(f"{type(parameter).__name__}.prior", parameter.prior)
        object.__setattr__(parameter, "prior", checked)


def _check_range(kind: str, low: float, high: float, *, is_log: bool) -> None:
    if low == high:
        hint = f"For a constant use Choice([{low!r}])."
        raise ArgumentError(f"{kind}.high", high, f"a number above low={low!r}", hint=hint)
    if low > high:
        raise ArgumentError(f"{kind}.high", high, f"a number above low={low!r}", hint="Are low and high swapped?")
    if is_log and low <= 0:
        raise ArgumentError(f"{kind}.low", low, "a number above 0, because log=True")
