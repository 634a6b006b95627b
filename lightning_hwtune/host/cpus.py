"""The number of CPU cores that this process may use: its CPU affinity, limited by the quota of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["n_cpus"]


def n_cpus(root: Path = Path("/")) -> int:
    """Returns the number of cores, at least 1. A quota is rounded down: 2.5 cores count as 2.

    Args:
        root: the root of the file system, below which Linux lists the control groups.
    """
    known = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(min([len(known), *(int(quota) for quota in _quotas(root))]), 1)


def _quotas(root: Path) -> Iterator[float]:
    """Yields the quota, in cores, of each control group (version 1 or 2) of this process and its parent groups."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _around(root / "sys/fs/cgroup", path):
                quota, _, period = _text(folder / "cpu.max").partition(" ")
                yield from _share(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _around(root / "sys/fs/cgroup/cpu", path):
                yield from _share(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _around(mount: Path, path: str) -> list[Path]:
    """Returns the group's folder and its parent folders. Inside a container the mount itself may be the group."""
    own = mount / path.lstrip("/")
    return [mount] if mount not in own.parents else [own, *own.parents[: own.parents.index(mount) + 1]]


def _share(quota: str, period: str) -> Iterator[float]:
    try:
        cores = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return
    if cores > 0:  # -1 means no quota
        yield cores


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
