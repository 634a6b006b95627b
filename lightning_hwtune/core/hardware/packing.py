"""How many trials share a GPU if the user leaves it to the study: by the memory that a check has measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.text import counted

__all__ = ["Packing", "packing"]

_MARGIN = 1.5  # other configurations may need more memory than the one of the check
_GB = 1e9


@final
@dataclass(frozen=True, slots=True)
class Packing:
    """The choice: how many trials share a device, and why."""

    per_device: int
    reason: str


def packing(pool: Pool, peak_bytes: int, total_bytes: int) -> Packing:
    """Returns how many trials fit on each GPU of a pool.

    Args:
        peak_bytes: the most memory of a trial that has its GPU to itself; 0 if it is unknown.
        total_bytes: the memory of the GPU.
    """
    if not peak_bytes or not total_bytes:
        return Packing(1, "no check has measured the memory of a trial, so each trial has its GPU to itself")
    found = max(min(int(total_bytes / (_MARGIN * peak_bytes)), pool.most_per_device), 1)
    needs = f"a trial needs {peak_bytes / _GB:.2g} GB of the {total_bytes / _GB:.3g} GB of a GPU"
    trials = "one trial trains" if found == 1 else f"{counted(found, 'trials')} train"
    return Packing(found, f"{needs}, so {trials} on each (room for {_MARGIN:g} times the memory is left)")
