"""Durations and sizes as people write them: "8h", "1h30min", "500MB"."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from lightning_hwtune.forms.kinds import LARGEST, Form, Refused, optional, plain

__all__ = ["BYTES", "DURATION", "format_bytes", "parse_bytes", "parse_duration"]

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{prefix}b": 1000**power for power, prefix in enumerate("kmgtp", 1)}
_UNITS |= {f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgtp", 1)}
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"  # longer numbers would exceed the range of floats


def _seconds(value: Any) -> float:
    found = plain(value)
    if isinstance(found, datetime.timedelta):
        found = found.total_seconds()
    if isinstance(found, str):
        found = _seconds_of_text("".join(found.lower().split()))
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Refused
    try:
        seconds = float(found)
    except OverflowError:
        raise Refused("It is too large for a float.") from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise Refused
    return seconds


def _seconds_of_text(text: str) -> float:
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    parts = re.findall(rf"({_NUMBER})([a-z]+)", text, re.ASCII)
    if "".join(n + u for n, u in parts) != text or not all(u in _SECONDS for _, u in parts):
        raise Refused
    return sum(float(n) * _SECONDS[u] for n, u in parts)


def _n_bytes(value: Any) -> int:
    found = plain(value)
    if isinstance(found, str):
        match = re.fullmatch(r"(\d{1,15})(?:\.(\d{1,15}))?([a-z]*)", "".join(found.lower().split()), re.ASCII)
        if match is None or match[3] not in _UNITS:
            raise Refused
        decimals = match[2] or ""
        found = int(match[1] + decimals) * _UNITS[match[3]] // 10 ** len(decimals)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
        raise Refused
    if found > LARGEST:
        raise Refused("Give None for unlimited.")
    return found


DURATION = optional(
    Form(
        "number or text",
        "a positive number of seconds, or text such as '90s', '10min', '8h', '1h30min'",
        _seconds,
        schema={"type": ["number", "string"], "exclusiveMinimum": 0},
    )
)
BYTES = optional(
    Form(
        "integer or text",
        "a positive number of bytes, or text such as '500MB', '20GB', '1.5TiB'",
        _n_bytes,
        schema={"type": ["integer", "string"], "minimum": 1},
    )
)


def parse_duration(argument: str, value: float | str | datetime.timedelta | None) -> float | None:
    """Returns seconds for a number, text such as "90s", "10min", "8h", "1d", "1h30min", or a timedelta; None for None.

    Raises:
        ArgumentError: the value has another form, or is not above 0.
    """
    seconds: float | None = DURATION.read(argument, value)
    return seconds


def parse_bytes(value: int | str | None, argument: str = "disk_budget") -> int | None:
    """Returns bytes for an integer or a text such as "500MB" or "1.5TiB" (MB = 10^6, MiB = 2^20); None for None.

    Raises:
        ArgumentError: the value has another form, or is not above 0.
    """
    n_bytes: int | None = BYTES.read(argument, value)
    return n_bytes


def format_bytes(n_bytes: int) -> str:
    """Returns a short text with a decimal unit, e.g. "1.5 GB"."""
    size, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"
