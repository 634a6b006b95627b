"""The event log of one study: append-only, without gaps, one transaction per append.

A process must have seen all events before it appends. An append goes directly after the newest event that this object
has read or written, and the primary key (study, number) refuses it if another process was first. So two controllers
cannot interleave their events, even when one has lost its lease without noticing.

An append of one event costs about 0.1 ms on SQLite, however long the log is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import sqlalchemy as sa

from lightning_hwtune.core.events import Event, all_from_json, to_dict
from lightning_hwtune.errors import StorageError, StudyLockedError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_errors import LOST_CONNECTION
from lightning_hwtune.store.database_url import database_url
from lightning_hwtune.store.files import StudyFiles, make_folder, study_names
from lightning_hwtune.store.identity import read_identity
from lightning_hwtune.store.schema import EVENTS, create_tables, has_requests, has_tables
from lightning_hwtune.store.storage_note import noted_storage
from lightning_hwtune.store.stored_names import name_with, names_in, not_found

__all__ = ["EventLog"]

_CHUNK = 1000  # maximum number of events read at once; a writer may write between chunks

_INSERT = EVENTS.insert()
_COUNT = sa.select(sa.func.coalesce(sa.func.max(EVENTS.c.seq), 0)).where(EVENTS.c.study == sa.bindparam("study"))
_NEWEST = (
    sa.select(EVENTS.c.seq, EVENTS.c.body)
    .where(EVENTS.c.study == sa.bindparam("study"))
    .order_by(EVENTS.c.seq.desc())
    .limit(1)
)
_BODY = sa.select(EVENTS.c.body).where(EVENTS.c.study == sa.bindparam("study"), EVENTS.c.seq == sa.bindparam("number"))
_READ = (
    sa.select(EVENTS.c.seq, EVENTS.c.body)
    .where(EVENTS.c.study == sa.bindparam("study"), EVENTS.c.seq > sa.bindparam("after"))
    .order_by(EVENTS.c.seq)
    .limit(_CHUNK)
)
_OF_TRIAL = (
    sa.select(EVENTS.c.seq, EVENTS.c.body)
    .where(EVENTS.c.study == sa.bindparam("study"), EVENTS.c.body.contains(sa.bindparam("text")))
    .order_by(EVENTS.c.seq)
)


@final
class EventLog:
    """The events of one study. Create it with `open`. For one thread at a time; use a context manager, or `close` it.

    Attributes:
        study: name of the study and of its folder.
        key: name under which the events are stored; it differs from `study` if the folder was renamed.
        database: where the events are stored.
    """

    def __init__(self, study: str, database: Database) -> None:
        self.study, self.key, self.database = study, study, database
        self._seen: int | None = None  # number of the newest event read or written; None = not read yet
        self._unsure: list[str] | None = None  # what was being written when the connection was lost

    @classmethod
    def open(cls, files: StudyFiles, *, storage: str | None = None, create: bool, durable: bool = False) -> EventLog:
        """Opens a study's log.

        Args:
            files: the study's folder.
            storage: SQLAlchemy URL of a database to use instead of the folder's own SQLite file. It may contain many
                studies. None: the folder's own file or, without one, the database in the folder's note.
            create: True for the process that runs the study: creates or completes the store. False for readers: works
                while another process writes, changes nothing, and needs a study that has begun.
            durable: wait for the disk at each append. This is about ten times slower, and also safe against power cuts.

        Raises:
            StudyNotFoundError: `create` is False and there is no such study; the message lists those that exist.
            StorageError: the database is not ours, is newer than this code, or cannot be opened.
            StudyLockedError: another process keeps the database locked.
        """
        if storage is None and not files.database_path.is_file():
            storage = noted_storage(files.root)
        url = database_url(storage, files.database_path)
        path = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
        if path is not None and not create and not path.is_file():
            raise not_found(files.name, str(files.root.parent), study_names(files.root.parent))
        if path is not None and create:
            make_folder(path.parent)
        database = Database(url, is_writable=create, durable=durable)
        try:
            log = cls(files.name, database)
            log._prepare(create, files.root, is_own=storage is None)
        except BaseException:
            database.close()
            raise
        return log

    def _prepare(self, create: bool, root: Path, *, is_own: bool) -> None:
        is_ready = has_tables(self.database)
        if create:
            self.database.use_wal()
            if not is_ready or not has_requests(self.database):
                create_tables(self.database)
        if create or is_ready:
            self.key = self._stored_as(root, is_own=is_own)
        if not create and (not is_ready or self.count() == 0):
            known = names_in(self.database) if is_ready else []
            raise not_found(self.study, self.database.name, known)

    def _stored_as(self, root: Path, *, is_own: bool) -> str:
        """Returns the name under which this folder's study is stored: its own name, unless the folder was renamed.

        Raises:
            StorageError: the folder's own file contains several studies, and none of them has this name or id.
        """
        if self.count() > 0:
            return self.study
        names = names_in(self.database)
        if is_own and len(names) == 1:
            return names[0]
        found = read_identity(root) if names else None
        if found is not None and (name := name_with(self.database, found.study_id)) is not None:
            return name
        if is_own and names:
            listed = ", ".join(map(repr, names))
            raise StorageError(
                f"{self.database.name!r} has the studies {listed} but none called {self.study!r}: rename the folder "
                "to one of them"
            )
        return self.study

    def append(self, events: Sequence[Event]) -> None:
        """Writes all of these events or none. Once this returns, they survive a kill of the process.

        If the connection is lost, the events may or may not be written, because the answer of the server was lost, too.
        The next call with the same events finds out: it writes them only if they are missing.

        Raises:
            StudyLockedError: another process has written events that this one has not read.
            StorageError: the disk is full, or the database refused the write; the `errno` of a lost connection is
                `store.database_errors.LOST_CONNECTION`.
        """
        if not events:
            return
        before = self.count() if self._seen is None else self._seen
        bodies = [json.dumps(to_dict(event)) for event in events]
        rows = [{"study": self.key, "seq": seq, "body": body} for seq, body in enumerate(bodies, before + 1)]
        with uninterrupted():
            if not self._is_written(before, bodies):
                self._insert(before, rows)
            self._seen, self._unsure = before + len(rows), None

    def _insert(self, before: int, rows: Sequence[Mapping[str, Any]]) -> None:
        bodies = [row["body"] for row in rows]
        try:
            with self.database.writing() as connection:
                connection.execute(_INSERT, rows)
        except StudyLockedError as error:
            # after a lost connection, the server may complete the first attempt while the second one waits for it
            if self._unsure is None or not self._is_written(before, bodies):
                raise self._overtaken(str(error)) from error
        except StorageError as error:
            if error.errno == LOST_CONNECTION:
                self._unsure = bodies
            raise

    def _is_written(self, before: int, bodies: Sequence[str]) -> bool:
        """Return whether the log has these events after number `before`, from an attempt whose answer was lost."""
        if self._unsure is None:
            return False
        with self.database.reading() as connection:
            rows = connection.execute(_READ.limit(None), {"study": self.key, "after": before}).all()
        found = [row.body for row in rows]
        if found and found == self._unsure != bodies:
            raise StorageError(
                f"study {self.study!r}: the connection to {self.database.name!r} was lost while events were written, "
                "and they were written after all. Run the same command again, which reads them"
            )
        if found and found != bodies:
            raise self._overtaken(f"another process writes to this study in {self.database.name!r}")
        return bool(found)

    def _overtaken(self, why: str) -> StudyLockedError:
        return StudyLockedError(f"study {self.study!r}: {why}, so this one stops.")

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """Yields (number, event) for all events after number `after`, in order.

        Raises:
            StorageError: an event is missing, is damaged, or is of a kind that this version does not support.
        """
        while True:
            with self.database.reading() as connection:
                rows = connection.execute(_READ, {"study": self.key, "after": after}).all()
            events = all_from_json([body for _, body in rows])
            for seq, _ in rows:
                if seq != after + 1:
                    raise StorageError(f"{self.database.name!r}: event {after + 1} of study {self.study!r} is missing")
                yield seq, self._next(seq, events)
                after, self._seen = seq, max(self._seen or 0, seq)
            if not rows:
                if after == 0:  # the log is empty
                    self._seen = self._seen or 0
                return

    def read_trial(self, trial_id: int) -> Iterator[tuple[int, Event]]:
        """Yields (number, event) for all events of one trial, in order. The other events are not read.

        Raises:
            StorageError: an event is damaged, or is of a kind that this version does not support.
        """
        text = f'"trial_id": {trial_id},'  # a field of an event, or a part of one that is sorted out below
        with self.database.reading() as connection:
            rows = connection.execute(_OF_TRIAL, {"study": self.key, "text": text}).all()
        events = all_from_json([body for _, body in rows])
        for seq, _ in rows:
            event = self._next(seq, events)
            if getattr(event, "trial_id", None) == trial_id:
                yield seq, event

    def _next(self, number: int, events: Iterator[Event]) -> Event:
        try:
            return next(events)
        except (StorageError, ValueError, TypeError, RecursionError) as error:
            raise self.damaged(number, error) from error

    def damaged(self, number: int, error: Exception) -> StorageError:
        """Returns the error that says which event cannot be read, and why."""
        why = str(error) if isinstance(error, StorageError) else f"the log is damaged ({type(error).__name__}: {error})"
        return StorageError(
            f"{self.database.name!r}, study {self.study!r}, event {number}: {why}. "
            "Restore a damaged log from a copy; for a newer one, upgrade lightning_hwtune"
        )

    def count(self) -> int:
        """Returns the number of events, which is the number of the newest."""
        with self.database.reading() as connection:
            return int(connection.execute(_COUNT, {"study": self.key}).scalar_one())

    def newest(self) -> tuple[int, str] | None:
        """Returns number and text of the newest event, which identify a log; None if the log is empty."""
        with self.database.reading() as connection:
            row = connection.execute(_NEWEST, {"study": self.key}).one_or_none()
        return None if row is None else (int(row.seq), str(row.body))

    def body(self, number: int) -> str | None:
        """Returns the text of one event; None if there is no event with this number."""
        with self.database.reading() as connection:
            return connection.execute(_BODY, {"study": self.key, "number": number}).scalar_one_or_none()

    def close(self) -> None:
        """Closes the connection. Idempotent."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
