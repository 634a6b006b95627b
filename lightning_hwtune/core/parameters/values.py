"""Checks of plain values, and equal parts of the unit interval: what every kind of parameter needs."""

from __future__ import annotations

import math

import numpy as np

from lightning_hwtune.errors import ArgumentError

__all__ = ["bin_of", "check_flag", "finite", "plain", "whole"]


def bin_of(share: float, n_bins: int) -> int:
    """Returns which of `n_bins` equal parts of [0, 1] a share falls into, from 0."""
    return min(max(int(share * n_bins), 0), n_bins - 1)


def plain(value: object) -> object:
    """Returns numpy's scalars as Python's, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def finite(argument: str, value: object) -> float:
    """Returns a finite number as a float.

    Raises:
        ArgumentError: it is none.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ArgumentError(argument, value, "a finite number")
    return float(number) + 0.0  # turns -0.0 into 0.0: they are equal, but not written alike


def whole(argument: str, value: object) -> int:
    """Returns a whole number as an int.

    Raises:
        ArgumentError: it is none.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ArgumentError(argument, value, "a whole number")
    return int(number)


def check_flag(argument: str, value: object) -> None:
    """Refuses anything but True and False.

    Raises:
        ArgumentError: it is neither.
    """
    if not isinstance(value, bool):
        raise ArgumentError(argument, value, "True or False")
