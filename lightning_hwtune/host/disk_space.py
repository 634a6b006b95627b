"""Which disks are full, so that an error can name them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["FULL_DISK_ERRORS", "full_disks"]

FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk; the same errors occur when no inodes are left."""

_LEFT_BYTES = 64 * 1024  # less than the smallest file that a training writes in one go


def full_disks(folders: Iterable[Path]) -> list[Path]:
    """Return those folders whose disk has no space or no inodes left, each disk once."""
    found: dict[int, Path] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            place = next(path for path in (folder, *folder.parents) if path.exists())
            space = os.statvfs(place)
            is_full = space.f_bavail * space.f_frsize < _LEFT_BYTES or (space.f_files > 0 and space.f_favail == 0)
            if is_full:
                found.setdefault(place.stat().st_dev, folder.absolute())
    return list(found.values())
