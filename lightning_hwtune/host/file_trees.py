"""A file, or a folder with all its files, as one thing: its digest, its size, its flush to the disk, its removal.

A sharded checkpoint is a folder with one file per rank. Everything else that is stored is a single file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

__all__ = ["digest_of", "flush", "remove", "size_of"]

_DIGEST_BYTES = 32


def digest_of(path: Path) -> str:
    """Returns the hexadecimal BLAKE2b-256 digest of a file, or of the names, digests and sizes of a folder's files.

    Files are read in pieces. Empty folders and times have no effect.

    Raises:
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
    whole = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for inner in _files(path):
        name = os.fsencode(inner.relative_to(path).as_posix())
        whole.update(len(name).to_bytes(8, "big") + name)
        whole.update(inner.stat().st_size.to_bytes(8, "big") + bytes.fromhex(digest_of(inner)))
    return whole.hexdigest()


def size_of(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder, in bytes.

    Raises:
        OSError: there is no such file.
    """
    return sum(inner.stat().st_size for inner in _files(path)) if path.is_dir() else path.stat().st_size


def flush(path: Path) -> None:
    """Writes a file, or a folder with everything in it, from the system's memory to the disk.

    Raises:
        OSError: the disk refuses.
    """
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            flush(inner)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Deletes a file, or a folder with everything in it, if it exists. A link is deleted, not what it leads to.

    Raises:
        OSError: it cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(inner for inner in folder.rglob("*") if not inner.is_dir())
