"""One connection to the database with the logs and leases, and the meaning of its errors.

SQLite runs in WAL mode with `synchronous=NORMAL`: a commit passes its pages to the kernel before it returns, so a
killed process loses nothing that was acknowledged. The pages reach the disk at checkpoints of the WAL. So a power cut
may undo the last commits, but it never damages the file. With `durable=True` (`synchronous=FULL`), each commit waits
for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from lightning_hwtune.errors import ArgumentError, MissingDependencyError, StorageError, StudyLockedError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.store.read_only import Source, read_only_source

__all__ = ["Database", "database_url"]

_BUSY_S = 10.0  # a commit locks the file for well under a millisecond; only a stopped process locks it for this long
_WAL_ATTEMPTS = 20


def database_url(storage: str | None, path: Path) -> sa.URL:
    """Returns the location of a study's log: `storage`, or the SQLite file at `path`.

    Raises:
        ArgumentError: `storage` is not an SQLAlchemy URL, or names a database that does not outlive the process.
    """
    if storage is None:
        return sa.URL.create("sqlite", database=str(path))
    allowed = "an SQLAlchemy URL such as 'sqlite:////data/studies.db' or 'postgresql://host/name', or None"
    try:
        url = sa.make_url(storage)
    except exc.ArgumentError as error:
        raise ArgumentError("storage", storage, allowed) from error
    if url.get_backend_name() == "sqlite":
        if url.query or url.database in (None, "", ":memory:"):
            raise ArgumentError("storage", storage, "the path of an SQLite file, because a study outlives its process")
        return url.set(database=os.path.abspath(os.path.expanduser(str(url.database))))
    return url


@final
class Database:
    """An open database, for one thread at a time. Use it as a context manager, or call `close`.

    Args:
        is_writable: False for readers. A reader never creates a file and never blocks a writer. `store.read_only`
            covers files that this user may not write.

    Raises:
        StorageError: the database cannot be opened.
    """

    def __init__(self, url: sa.URL, *, is_writable: bool, durable: bool = False) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if self.is_sqlite else url.render_as_string(hide_password=True)
        self._is_writable, self._durable = is_writable, durable
        self._source: Source | None = None
        self._engine = self._create_engine(url)
        with self.explained():
            self._connection = self._engine.connect()
        self._file = self._found() if is_writable else None

    def _found(self) -> tuple[int, int] | None:
        """Return the identity of the database's file; None if it does not exist or the database is not a file."""
        if not self.is_sqlite:
            return None
        try:
            found = os.stat(self.name)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def require_in_place(self) -> None:
        """Checks that the file is still where it was opened, because a connection to a moved file still writes to it.

        Raises:
            StorageError: the file was moved, renamed or deleted in the meantime.
        """
        if self._file is not None and self._found() != self._file:
            raise StorageError(
                f"the log {self.name!r} was moved, renamed or deleted while its study ran, so the study ends here and "
                "its trials are interrupted. Move the log back with all its files (-wal, -shm), or restore it from a "
                "copy, and run the same command again"
            )

    def _create_engine(self, url: sa.URL) -> sa.Engine:
        if self.is_sqlite:
            return sa.create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        try:
            return sa.create_engine(url, poolclass=NullPool)
        except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise MissingDependencyError(
                f"the storage {self.name!r} needs a database driver that is not installed ({error})"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        mode = "rwc" if self._is_writable else "rw"  # rw: the last connection to close can then remove the WAL
        self._source = None if self._is_writable else read_only_source(Path(self.name))
        connection = sqlite3.connect(
            self._source.uri if self._source is not None else f"file:{quote(os.fsencode(self.name))}?mode={mode}",
            uri=True,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        connection.execute(f"PRAGMA query_only={'OFF' if self._is_writable else 'ON'}")
        return connection

    def use_wal(self) -> None:
        """Lets readers and a writer work at the same time. It changes the file, so only for our own databases."""
        if not self.is_sqlite:
            return
        for _ in range(_WAL_ATTEMPTS):
            if self._pragma("journal_mode") == "wal":
                return
            try:
                if self._pragma("journal_mode=WAL") == "wal":
                    return
                break  # a file system without shared memory
            except StudyLockedError:  # another process is switching the mode; SQLite does not wait for that,
                with self.writing():  # but it waits for a transaction
                    pass
        self._pragma("synchronous=FULL")  # without the WAL, a power cut under NORMAL might damage the file

    def _pragma(self, text: str) -> object:
        with self.reading() as connection:
            result = connection.exec_driver_sql(f"PRAGMA {text}")
            return result.scalar_one() if result.returns_rows else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Returns the connection for one query."""
        with uninterrupted(), self.explained(), self._connection.begin():
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Returns the connection for one transaction, which takes effect as a whole or not at all.

        Raises:
            StudyLockedError: another process wrote the same rows, or keeps the database locked.
            StorageError: the database refused the write.
        """
        with uninterrupted(), self.explained(), self._connection.begin():
            if self.is_sqlite:
                self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield self._connection

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Converts the database's errors to ours."""
        try:
            yield
        except exc.IntegrityError as error:
            raise StudyLockedError(f"another process writes to this study in {self.name!r}") from error
        except exc.DBAPIError as error:
            raise _explain(self.name, error.orig) from error

    def close(self) -> None:
        """Closes the connection. Idempotent."""
        self._connection.close()
        self._engine.dispose()
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_MEANINGS = {
    sqlite3.SQLITE_FULL: "the disk is full. No result is lost: free some space and run the same command again",
    sqlite3.SQLITE_IOERR: "the disk rejects the write: it is full, over a quota, or failing. No result is lost: "
    "free some space and run the same command again",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database, so it is not a study: give another folder or name",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore it from a copy",
    sqlite3.SQLITE_READONLY: "this user may not write the file",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: does its folder exist, and may this user write there?",
    sqlite3.SQLITE_PERM: "this user may not access the file",
}


def _explain(name: str, error: BaseException | None) -> StorageError | StudyLockedError:
    """Returns our error for an error of the driver. Its `errno` is ENOSPC if the disk is full."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the error's family
    if code in _LOCKED:
        return StudyLockedError(
            f"another process has kept {name!r} locked for {_BUSY_S:g} s: wait for it, or end it ({error})"
        )
    meaning = _MEANINGS.get(code, "the database raised an error")
    return StorageError(f"{name!r}: {meaning} ({error})", errno.ENOSPC if code == sqlite3.SQLITE_FULL else None)
