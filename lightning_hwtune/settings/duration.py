"""Durations as people write them."""

from __future__ import annotations

import datetime
import math
import re

from lightning_hwtune.errors import ArgumentError

__all__ = ["parse_duration", "parse_hang_timeout"]

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(argument: str, value: float | str | datetime.timedelta | None) -> float | None:
    """Returns seconds: from a number of them, "90s", "10min", "8h", "1d", "1h30min", or a timedelta; None stays None.

    Raises:
        ArgumentError: another form, or nothing above 0.
    """
    if value is None:
        return None
    seconds = math.nan
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value.strip().lower())
        if (
            parts
            and "".join(n + u for n, u in parts) == re.sub(r"\s", "", value.lower())
            and all(u in _SECONDS for _, u in parts)
        ):
            seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
        elif re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            seconds = float(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentError(argument, value, "seconds above 0, or a text such as '90s', '10min', '8h', '1h30min'")
    return seconds


def parse_hang_timeout(value: float | str | datetime.timedelta | None) -> float | str | None:
    """Returns "auto" and None as they are, and seconds from all that `parse_duration` reads.

    Raises:
        ArgumentError: another form, or nothing above 0.
    """
    return "auto" if value == "auto" else parse_duration("hang_timeout", value)
