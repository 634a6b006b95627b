"""Identifies this process, and checks whether another one is still alive; used by the lease.

A process number alone is not enough: numbers are reused, and in another container or after a reboot the same number
means another process. So a process is identified by the machine's boot id, its pid namespace and its start time.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["birth_of", "is_alive"]

_PROC = Path("/proc")
_GONE = frozenset({"Z", "X", "x"})  # ended, but not yet collected by its parent


def birth_of(pid: int) -> str:
    """Returns "boot/namespace/start" of a live process, "boot/namespace/" if it has ended, "" where unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""
    return f"{boot}/{numbers}/{_started_at(pid)}"


def is_alive(pid: int, birth: str) -> bool | None:
    """Return whether the process with this birth is still alive; None if that cannot be checked from here."""
    now = birth_of(pid)
    if not birth or not now or now.rpartition("/")[0] != birth.rpartition("/")[0]:
        return None
    return now == birth


def _started_at(pid: int) -> str:
    """Returns the start time in clock ticks since the boot; "" for a process that has ended."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may contain any characters
    return "" if state in _GONE else fields[18]
