"""The memory that further processes may use (what the host has available, limited by the container's control groups),
and the most that this process has used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lightning_hwtune.host.control_groups import group_folders, text_of

__all__ = ["forget_peak", "free_bytes", "peak_bytes"]

_FILES = {2: ("memory.max", "memory.current", "inactive_file"), 1: (
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
)}  # fmt: skip


def free_bytes(root: Path = Path("/")) -> int | None:
    """Returns the number of bytes; None if the system does not provide it.

    Args:
        root: the root of the file system, below which Linux shows its memory and the control groups.
    """
    known = [*_values(text_of(root / "proc/meminfo"), "MemAvailable:", unit=1024), *_rooms(root)]
    return min(known, default=None)


def peak_bytes(root: Path = Path("/")) -> int | None:
    """Returns the most memory that this process has had resident since it began, or since `forget_peak`.

    None if the system does not provide it. Memory of child processes is not included.
    """
    found = list(_values(text_of(root / "proc/self/status"), "VmHWM:", unit=1024))
    return found[0] if found else None


def forget_peak() -> None:
    """Makes `peak_bytes` begin again from what is resident now; no effect where the system does not allow it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _rooms(root: Path) -> Iterator[int]:
    """Yields what the limit of each control group leaves. File pages that are not in use count as free."""
    for version, folder in group_folders("memory", root):
        limit, used, cached = _FILES[version]
        limit_bytes, used_bytes = text_of(folder / limit), text_of(folder / used)
        if limit_bytes.isdigit() and used_bytes.isdigit():
            cached_bytes = sum(_values(text_of(folder / "memory.stat"), cached))
            yield max(int(limit_bytes) - max(int(used_bytes) - cached_bytes, 0), 0)


def _values(table: str, name: str, unit: int = 1) -> Iterator[int]:
    """Yields the numbers of the lines with this name."""
    for line in table.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            yield int(words[1]) * unit
