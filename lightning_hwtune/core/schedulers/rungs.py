"""Rung levels and quotas in exact integer arithmetic.

`int(log(243) / log(3))` is 4 instead of 5, and `log(1000, 10)` is below 3. So no logarithm and no float is used here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from lightning_hwtune.core.record import Unit
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS

__all__ = ["DEFAULT_ETA", "UNITS", "ceil_power", "exact_eta", "horizon", "plain_eta", "quota", "rung_levels"]

DEFAULT_ETA = 3
UNITS = tuple(Unit)


def exact_eta(eta: Any) -> Fraction:
    """Returns `eta` as an exact fraction: 3, 2.5, Fraction(5, 2) or "5/2". A float means the decimals that it prints.

    Raises:
        ArgumentError: it is not a number, or is below 1.1.
    """
    exact: Fraction = FORMS["PASHA"]["eta"].read("eta", eta)
    return exact


def plain_eta(eta: Fraction) -> int | str:
    """Returns `eta` in the form used in the log: 3, or "5/2"."""
    return eta.numerator if eta.denominator == 1 else str(eta)


def horizon(max_epochs: int | None, max_steps: int | None, max_samples: int | None) -> tuple[Unit, int]:
    """Returns the unit and the resource of a full training from the one argument that is not None.

    Raises:
        ArgumentError: none or several of them are given.
    """
    given = {f"max_{u}": v for u, v in zip(UNITS, (max_epochs, max_steps, max_samples), strict=True) if v is not None}
    one = "exactly one of max_epochs, max_steps and max_samples"
    if not given:
        raise ArgumentError("max_epochs", None, one, hint="For example max_epochs=27.")
    if len(given) > 1:
        first, second = list(given)[:2]
        raise ArgumentError(first, given[first], f"None, because {second} is given, too", hint=f"Give {one}.")
    [(name, value)] = given.items()
    return Unit(name.removeprefix("max_")), value


def rung_levels(first: int, last: int, eta: Fraction | int) -> tuple[int, ...]:
    """Returns first, first * eta, first * eta**2 ... below `last`, then `last`; fractions are rounded down.

    Args:
        first: the lowest level, from 1 up to `last`. eta: above 1. Levels made equal by rounding appear once.
    """
    if not 1 <= first <= last:
        raise ArgumentError("first_rung", first, f"an integer from 1 to {last}, the full training")
    ratio, power = Fraction(eta), Fraction(first)
    levels: list[int] = []
    while power < last:
        if not levels or int(power) > levels[-1]:
            levels.append(int(power))
        power *= ratio
    return (*levels, last)


def quota(n_trials: int, eta: Fraction) -> int:
    """Returns n // eta, exactly."""
    return n_trials * eta.denominator // eta.numerator


def ceil_power(eta: Fraction, exponent: int) -> int:
    """Returns eta**exponent, rounded up."""
    return math.ceil(eta**exponent)
