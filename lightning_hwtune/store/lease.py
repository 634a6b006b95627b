"""The lease: at most one process runs a study.

The lease is a database row with host, process and the time of the last heartbeat. It is free as soon as its holder is
seen to be dead. A holder whose process cannot be checked (on another host or in another container) loses the lease when
its heartbeat is older than `expires_s`. A holder that is seen to be alive keeps it, however old its heartbeat: it may
be stopped in a debugger, or be training a long epoch between ask and tell. The log itself refuses writes of a holder
that lost its lease without noticing.

On a server, heartbeats are in the time of the server, so that a host with a wrong clock neither loses its lease nor
takes another one. In an SQLite file, they are in the time of the holder's host.
"""

from __future__ import annotations

import os
import secrets
import socket
from types import TracebackType
from typing import Any, Self, final

import sqlalchemy as sa

from lightning_hwtune.errors import ArgumentError, StorageError, StudyLockedError
from lightning_hwtune.host.process_identity import birth_of, is_alive
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import LEASES

__all__ = ["Lease"]

_SERVER_TIME = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
_left_behind: set[str] = set()  # tokens of leases that this process has released but could not delete


@final
class Lease:
    """One controller's lease on a study.

        with Lease(log).acquire(now) as lease:
            ...
            lease.renew(later)

    Args:
        log: the study's log. To acquire the lease, it must be opened with `create=True`.
        expires_s: age of the heartbeat in seconds from which another host may take over. Renew several times in this
            period.
    """

    def __init__(self, log: EventLog, *, expires_s: float = 30.0) -> None:
        if not expires_s > 0:
            raise ArgumentError("expires_s", expires_s, "a positive number of seconds")
        self._database, self._study, self._key, self._expires_s = log.database, log.study, log.key, expires_s
        self._token = secrets.token_hex(16)
        self._mine = sa.and_(LEASES.c.study == self._key, LEASES.c.token == self._token)

    def acquire(self, now: float) -> Self:
        """Acquires the lease at `now` seconds since the Unix epoch by this host's clock; returns itself.

        Raises:
            StudyLockedError: another process is running the study.
        """
        row: dict[str, Any] = {
            "study": self._key,
            "token": self._token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "birth": birth_of(os.getpid()),
        }
        with self._database.writing() as connection:
            now = self._time(connection, now)
            row["beat"] = now
            held = self._held(connection)
            if held is None:
                connection.execute(LEASES.insert(), row)
                return self
            if held.token != self._token and not self._is_free(held, now):
                raise StudyLockedError(self._held_by(held, now))
            theirs = sa.and_(LEASES.c.study == self._key, LEASES.c.token == held.token)
            if connection.execute(LEASES.update().where(theirs), row).rowcount == 0:
                raise StudyLockedError(f"study {self._study!r}: another process started it at the same moment")
        return self

    def _time(self, connection: sa.Connection, now: float) -> float:
        """Returns the time of heartbeats; `now` is the time of this host."""
        if not self._database.is_postgres:
            return now
        return float(connection.execute(_SERVER_TIME).scalar_one())

    def beat(self, now: float) -> float | None:
        """Returns the time of the last heartbeat, by the holder's clock; None if no process is running the study.

        On a server, the holder's clock is taken to be that of this host if it runs here, and that of the server if it
        runs elsewhere. Readers may call this too.
        """
        with self._database.reading() as connection:
            held = self._held(connection)
            time = self._time(connection, now)
        if held is None or self._is_free(held, time):
            return None
        is_here = is_alive(held.pid, held.birth) is not None
        return float(held.beat) + (now - time if is_here else 0.0)

    def is_held(self, now: float) -> bool:
        """Return whether some process is running the study. Readers may call this too."""
        return self.beat(now) is not None

    def _held(self, connection: sa.Connection) -> sa.Row[Any] | None:
        return connection.execute(sa.select(LEASES).where(LEASES.c.study == self._key)).one_or_none()

    def _is_free(self, held: sa.Row[Any], now: float) -> bool:
        if held.token in _left_behind:
            return True
        lives = is_alive(held.pid, held.birth)
        if lives is None:
            return bool(abs(now - held.beat) > self._expires_s)  # a time far ahead counts too: a clock was wrong
        return not lives

    def _held_by(self, held: sa.Row[Any], now: float) -> str:
        is_here = held.pid == os.getpid() and held.birth == birth_of(os.getpid()) != ""
        who = "this process" if is_here else f"process {held.pid} on {held.host}"
        here = "wait until its study.run() has ended, or call study.close() in the thread that called study.ask()"
        remedy = here if is_here else "wait until it has ended, or end it"
        return (
            f"study {self._study!r} is run by {who} (last heartbeat {now - held.beat:.1f} s ago): {remedy}. "
            "Reading it (status, front, ...) works in the meantime."
        )

    def renew(self, now: float) -> None:
        """Updates the heartbeat.

        Raises:
            StudyLockedError: another process has taken over the lease, so this one must stop.
        """
        with self._database.writing() as connection:
            beat = self._time(connection, now)
            if connection.execute(LEASES.update().where(self._mine), {"beat": beat}).rowcount == 0:
                raise StudyLockedError(f"study {self._study!r}: another process has taken it over, so this one stops.")

    def release(self) -> None:
        """Releases the lease. Idempotent; a lease that another process has by now is left alone.

        If the row cannot be deleted, this process treats it as free, and other processes do so once this process has
        ended.
        """
        try:
            with self._database.writing() as connection:
                connection.execute(LEASES.delete().where(self._mine))
        except (StorageError, StudyLockedError):  # e.g. on a full disk
            _left_behind.add(self._token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
