"""Formats amounts for people: numbers, durations, sizes, money, counts with their noun."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.objectives import Objective, PeakMemory
from lightning_hwtune.text import counted

__all__ = [
    "amount",
    "batch_limit_text",
    "config_text",
    "counted",
    "cut",
    "devices_text",
    "duration",
    "money",
    "number",
    "share",
    "size",
    "trials_text",
    "unit_of",
]

_BYTES = ("bytes", "kB", "MB", "GB", "TB")


def number(value: object) -> str:
    """Returns four significant digits of a float, JSON for a list or mapping, and text for anything else."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def unit_of(item: Objective) -> str:
    """Returns the unit of an objective; empty for measured objectives whose names contain it."""
    return "" if item.is_measured and not isinstance(item, PeakMemory) else item.unit


def amount(value: float, unit: str) -> str:
    """Returns the number with its unit, if there is one."""
    return f"{number(float(value))} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Returns "0.42 s", "12 s", "3 min 05 s", "2 h 05 min" or "1 d 03 h"; "?" if it is not finite."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.01 else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24:02d} h"


def devices_text(allocation: Allocation) -> str:
    """Returns "2 devices", or "1/2 of a device" for a segment that shares its device."""
    if allocation.per_device > 1:
        return f"1/{allocation.per_device} of a device"
    return counted(allocation.devices, "devices")


def batch_limit_text(max_per_device_batch: int | None) -> str:
    """Returns "at most 16 samples per device and batch"; "" without a limit."""
    if max_per_device_batch is None:
        return ""
    return f"at most {counted(max_per_device_batch, 'samples')} per device and batch"


def size(n_bytes: float) -> str:
    """Returns "87 bytes", "1.2 MB", ...; steps of 1000."""
    value, step = float(n_bytes), 0
    while value >= 999.5 and step < len(_BYTES) - 1:
        value, step = value / 1000, step + 1
    if step == 0:
        return f"{value:.0f} bytes"
    return f"{value:.2g} {_BYTES[step]}" if value < 9.95 else f"{value:.0f} {_BYTES[step]}"


def money(usd: float) -> str:
    """Returns "12.30 USD"; amounts below one dollar have more digits."""
    return f"{usd:.2f} USD" if usd >= 1 else f"{usd:.2g} USD"


def trials_text(n_begun: int, most: int | None) -> str:
    """Returns "3 of 8 trials"; a limit that was lowered below the trials that have begun is in brackets."""
    if most is None:
        return counted(n_begun, "trials")
    if n_begun > most:
        return f"{counted(n_begun, 'trials')} (limit {most})"
    return f"{n_begun} of {counted(most, 'trials')}"


def share(part: float, whole: float) -> str:
    """Returns `part` as a percentage of `whole`; "?" if the whole is 0."""
    return f"{100 * part / whole:.0f} %" if whole else "?"


def cut(text: str, width: int) -> str:
    """Returns one line of at most `width` characters; omitted text is replaced by an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def config_text(config: Mapping[str, object]) -> str:
    """Returns "lr=0.01, width=64"."""
    return ", ".join(f"{name}={'None' if value is None else number(value)}" for name, value in config.items())
