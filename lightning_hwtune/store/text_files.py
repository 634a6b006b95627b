"""Reading the text of files that users name: only regular files, and only as large as a configuration may be."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

__all__ = ["MAX_BYTES", "read_text"]

MAX_BYTES = 1_000_000
"""The largest file: reading a configuration with more takes many seconds."""


def read_text(path: str | Path) -> str:
    """Returns the text of a regular file in UTF-8, without a byte order mark.

    Raises:
        OSError: it cannot be read, is not a regular file (a pipe would be waited for), or is larger than `MAX_BYTES`.
        ValueError: it is not text in UTF-8, or the path has a NUL.
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
