"""The event log of one study: append-only, gapless, one transaction an append.

Whoever appends must have seen everything: an append goes right behind the newest event that this object has read or
written, and the primary key (study, number) refuses it if another process was there first. So two controllers cannot
interleave, even when one slept through the loss of its lease.

An append of one event costs about 0.1 ms on SQLite, however long the log is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

import sqlalchemy as sa

from lightning_hwtune.core.events import Event, from_dict, to_dict
from lightning_hwtune.errors import StorageError, StudyLockedError, StudyNotFoundError, nearest
from lightning_hwtune.store.database import Database, database_url
from lightning_hwtune.store.files import StudyFiles, make_folder, study_names
from lightning_hwtune.store.interrupts import uninterrupted
from lightning_hwtune.store.schema import EVENTS, create_tables, has_tables

__all__ = ["EventLog", "stored_names"]

_CHUNK = 1000  # events a read holds at once; between chunks a writer may go on

_INSERT = EVENTS.insert()
_COUNT = sa.select(sa.func.coalesce(sa.func.max(EVENTS.c.seq), 0)).where(EVENTS.c.study == sa.bindparam("study"))
_READ = (
    sa.select(EVENTS.c.seq, EVENTS.c.body)
    .where(EVENTS.c.study == sa.bindparam("study"), EVENTS.c.seq > sa.bindparam("after"))
    .order_by(EVENTS.c.seq)
    .limit(_CHUNK)
)
_NAMES = sa.select(EVENTS.c.study).distinct().order_by(EVENTS.c.study)


@final
class EventLog:
    """The events of one study. Made by `open`; for one thread at a time; use as a context manager, or `close` it.

    Attributes:
        study: its name. database: where it lives.
    """

    def __init__(self, study: str, database: Database) -> None:
        self.study, self.database = study, database
        self._seen: int | None = None  # number of the newest event read or written; None = none looked for yet

    @classmethod
    def open(cls, files: StudyFiles, *, storage: str | None = None, create: bool, durable: bool = False) -> EventLog:
        """Opens a study's log.

        Args:
            files: the study's folder.
            storage: SQLAlchemy URL that replaces the folder's own SQLite file; holds any number of studies.
            create: True for the process that drives the study: makes or completes the store. False for readers: works
                beside a writer, changes nothing, and needs a study that has begun.
            durable: wait for the disk at each append; about ten times slower, and safe against power cuts too.

        Raises:
            StudyNotFoundError: `create` is False and there is no such study; the message lists those that exist.
            StorageError: the database is not ours, is newer than this code, or cannot be opened.
            StudyLockedError: another process keeps it locked.
        """
        url = database_url(storage, files.database_path)
        path = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
        if path is not None and not create and not path.is_file():
            raise _not_found(files.name, str(files.root.parent), study_names(files.root.parent))
        if path is not None and create:
            make_folder(path.parent)
        database = Database(url, is_writable=create, durable=durable)
        try:
            log = cls(files.name, database)
            log._prepare(create)
        except BaseException:
            database.close()
            raise
        return log

    def _prepare(self, create: bool) -> None:
        is_ready = has_tables(self.database)
        if create:
            self.database.use_wal()
            if not is_ready:
                create_tables(self.database)
        elif not is_ready or self.count() == 0:
            known = _names_in(self.database) if is_ready else []
            raise _not_found(self.study, self.database.name, known)

    def append(self, events: Sequence[Event]) -> None:
        """Writes all of these events or none; they survive a killed process once this returns.

        Raises:
            StudyLockedError: another process has written since this one last looked.
            StorageError: the disk is full, or the database does not take them.
        """
        if not events:
            return
        before = self.count() if self._seen is None else self._seen
        rows = [
            {"study": self.study, "seq": seq, "body": json.dumps(to_dict(event))}
            for seq, event in enumerate(events, before + 1)
        ]
        with uninterrupted():
            try:
                with self.database.writing() as connection:
                    connection.execute(_INSERT, rows)
            except StudyLockedError as error:
                raise StudyLockedError(f"study {self.study!r}: {error}. This one stops here.") from error
            self._seen = before + len(rows)

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """Yields (number, event) behind number `after`, in order, up to the newest there is.

        Raises:
            StorageError: an event is missing, or is of a kind that this version does not know.
        """
        while True:
            with self.database.reading() as connection:
                rows = connection.execute(_READ, {"study": self.study, "after": after}).all()
            for seq, body in rows:
                if seq != after + 1:
                    raise StorageError(f"{self.database.name!r}: event {after + 1} of study {self.study!r} is missing")
                yield seq, from_dict(json.loads(body))
                after, self._seen = seq, max(self._seen or 0, seq)
            if not rows:
                if after == 0:  # nothing was ever written
                    self._seen = self._seen or 0
                return

    def count(self) -> int:
        """Returns how many events there are: the number of the newest."""
        with self.database.reading() as connection:
            return int(connection.execute(_COUNT, {"study": self.study}).scalar_one())

    def close(self) -> None:
        """Closes the connection. Idempotent."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def stored_names(storage: str) -> list[str]:
    """Returns the names of the studies in a database, sorted; empty if it does not exist.

    Raises:
        ArgumentError, StorageError: `storage` is no URL; the database is not ours.
    """
    url = database_url(storage, Path())
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return []
    with Database(url, is_writable=False) as database:
        return _names_in(database) if has_tables(database) else []


def _names_in(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.execute(_NAMES).scalars())


def _not_found(name: str, where: str, known: Sequence[str]) -> StudyNotFoundError:
    there = ", ".join(repr(other) for other in known if other != name) or "no other"
    return StudyNotFoundError(f"no study {name!r} in {where!r}; there is {there}{nearest(name, known)}")
