"""The number of CPU cores that this process may use: its CPU affinity, limited by the quota of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lightning_hwtune.host.control_groups import group_folders, text_of

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
    for version, folder in group_folders("cpu", root):
        if version == 2:
            quota, _, period = text_of(folder / "cpu.max").partition(" ")
            yield from _share(quota, period)
        else:
            yield from _share(text_of(folder / "cpu.cfs_quota_us"), text_of(folder / "cpu.cfs_period_us"))


def _share(quota: str, period: str) -> Iterator[float]:
    try:
        cores = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return
    if cores > 0:  # -1 means no quota
        yield cores
