"""Which process this is, and whether another one still lives: what a lease needs to know.

A process number alone does not say: numbers are used again, and in another container or after a restart of the machine
they mean somebody else. So a process is named by the machine's boot, its number space, and its own start time.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["birth_of", "is_alive"]

_PROC = Path("/proc")
_GONE = frozenset({"Z", "X", "x"})  # ended, and not yet collected by its parent


def birth_of(pid: int) -> str:
    """Returns "boot/numbers/start" of a live process, "boot/numbers/" of one that has ended, "" where unknowable."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""
    return f"{boot}/{numbers}/{_started_at(pid)}"


def is_alive(pid: int, birth: str) -> bool | None:
    """Tells whether the process that was born so still lives; None if that cannot be seen from here."""
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
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if state in _GONE else fields[18]
