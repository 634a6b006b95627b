"""Reads an SQLite file that this user may not write, or that is in a folder where this user may not write.

SQLite can read a database in WAL mode only if it can create or share the `-shm` file. Otherwise, the database is read
as it is if there is nothing to recover. If there is, a copy in a temporary folder is recovered and read. None of this
is needed while a writer is active, because a writer shares its `-shm` file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

from lightning_hwtune.errors import StorageError

__all__ = ["Source", "read_only_source"]

_ATTEMPTS = 20  # attempts to copy the files between two writes


class Source:
    """Where to read a database. `uri`: for `sqlite3.connect`; `close` deletes the file if it is a copy."""

    def __init__(self, uri: str, copy: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self.uri, self._copy = uri, copy

    def close(self) -> None:
        """Deletes the copy. Idempotent."""
        if self._copy is not None:
            self._copy.cleanup()


def read_only_source(path: Path) -> Source | None:
    """Returns how to read a database that must not be written; None if this user may write it and its folder."""
    if not path.is_file() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return None
    if not any(_size(log) for log in _log_files(path)):
        return Source(f"{_uri(path)}?mode=ro&immutable=1")
    shared = Source(f"{_uri(path)}?mode=ro")
    return shared if _can_be_read(shared) else _copied(path)


def _uri(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}"


def _log_files(path: Path) -> tuple[Path, Path]:
    """Returns the files with transactions that are missing in the main file or must be rolled back in it."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _can_be_read(source: Source) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(source.uri, uri=True, timeout=0)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # a writer shares the `-shm` file
    return True


def _copied(path: Path) -> Source:
    """Returns a copy of the files, made while none of them changed.

    Raises:
        StorageError: the files change all the time, or there is no space for a copy.
    """
    folder = tempfile.TemporaryDirectory(prefix="hwtune-read-", ignore_cleanup_errors=True)
    copy, files = Path(folder.name) / path.name, (path, *_log_files(path))
    try:
        for _ in range(_ATTEMPTS):
            before = [_stamp(file) for file in files]
            for file in files:
                copied = copy.with_name(file.name)
                copied.unlink(missing_ok=True)
                if file.exists():
                    shutil.copyfile(file, copied)
            if before == [_stamp(file) for file in files]:
                return Source(f"{_uri(copy)}?mode=rw", folder)
    except OSError as error:
        folder.cleanup()
        raise StorageError(f"{str(path)!r} cannot be copied in order to read it: {error}", error.errno) from error
    folder.cleanup()
    raise StorageError(f"{str(path)!r} is being written to, and cannot be read without write access to its folder")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
