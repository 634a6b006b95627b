"""One connection to the database with the logs and leases.

SQLite runs in WAL mode with `synchronous=NORMAL`: a commit passes its pages to the kernel before it returns, so a
killed process loses nothing that was acknowledged. The pages reach the disk at checkpoints of the WAL. So a power cut
may undo the last commits, but it never damages the file. With `durable=True` (`synchronous=FULL`), each commit waits
for the disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from lightning_hwtune.errors import StorageError, StudyLockedError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.host.file_systems import network_file_system
from lightning_hwtune.store.database_errors import BUSY_S, explained_error, missing_driver
from lightning_hwtune.store.database_url import shown_url
from lightning_hwtune.store.read_only import Source, read_only_source

__all__ = ["Database", "network_note"]

_WAL_ATTEMPTS = 20
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""Parameters of libpq, so that a server that vanishes without a word is noticed within half a minute, not hours."""
_CLIENTS: Mapping[str, Mapping[str, int | None]] = {
    # poolers such as PgBouncer mix prepared statements up
    "postgresql+psycopg": {**_CLIENT, "prepare_threshold": None},
    "postgresql+psycopg2": _CLIENT,
}


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
        self._url, backend = url, url.get_backend_name()
        self.is_sqlite, self.is_postgres = backend == "sqlite", backend == "postgresql"
        self.name = str(url.database) if self.is_sqlite else shown_url(url)
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
        client = _CLIENTS.get(url.drivername, {})
        chosen = {name: value for name, value in client.items() if name not in url.query}
        try:
            engine = sa.create_engine(url, poolclass=NullPool, connect_args=chosen)
            is_read_only = self.is_postgres and not self._is_writable
            return engine.execution_options(postgresql_readonly=True) if is_read_only else engine
        except (exc.NoSuchModuleError, ImportError) as error:
            raise missing_driver(url, self.name, error) from error

    def _connect(self) -> sqlite3.Connection:
        mode = "rwc" if self._is_writable else "rw"  # rw: the last connection to close can then remove the WAL
        self._source = None if self._is_writable else read_only_source(Path(self.name))
        connection = sqlite3.connect(
            self._source.uri if self._source is not None else f"file:{quote(os.fsencode(self.name))}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
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
            raise explained_error(self._url, self.name, error) from error

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


def network_note(database: Database) -> str:
    """Returns what to know about a database that is a file on a network file system; "" about any other database."""
    kind = network_file_system(Path(database.name)) if database.is_sqlite else ""
    if not kind:
        return ""
    return (
        f"the log {database.name!r} is on a network file system ({kind}), where SQLite cannot coordinate several "
        "hosts: run and read this study on one host only, or give a `storage` on a local disk or on a PostgreSQL server"
    )
