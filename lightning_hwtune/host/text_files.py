"""Reads the text of files that users name: only regular files, and only up to the size of a configuration."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

__all__ = ["MAX_BYTES", "read_text"]

MAX_BYTES = 1_000_000
"""The maximum size: reading a larger configuration takes many seconds."""


def read_text(path: str | Path) -> str:
    """Returns the text of a regular file in UTF-8, without a byte order mark.

    Raises:
        OSError: the file cannot be read, is not a regular file (reading a pipe would wait), or is larger than
            `MAX_BYTES`.
        ValueError: the file is not text in UTF-8, or the path contains a NUL.
    """
    with open(_regular(Path(path)), "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES:,} bytes", str(path))
    return data.decode("utf-8-sig")


def _regular(path: Path) -> Path:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path
