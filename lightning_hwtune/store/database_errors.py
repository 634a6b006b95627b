"""What the errors of a database mean, and what to do about them.

A lost connection has its own error number, because it may come back: see `LOST_CONNECTION`.
"""

from __future__ import annotations

import errno
import re
import sqlite3

import sqlalchemy as sa
from sqlalchemy import exc

from lightning_hwtune.errors import MissingDependencyError, StorageError, StudyLockedError

__all__ = ["BUSY_S", "LOST_CONNECTION", "explained_error", "missing_driver"]

BUSY_S = 10.0
"""For how long SQLite waits for a lock. A commit locks the file for well under a millisecond; only a stopped process
locks it for this long."""

LOST_CONNECTION = errno.ECONNRESET
"""The `errno` of the error if the server cannot be reached or the connection was lost: trying again may help."""

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
_OTHER = "the database raised an error"

_UNREACHABLE = "the server cannot be reached. Is it running, and are the host and the port right?"
_LOST = "the connection to the server was lost"
_BUSY = "the server accepts no connection right now"
_CREDENTIALS = (
    "the server refuses this user or this password. Give the right ones in the URL, or the password in the file that "
    "PGPASSFILE names"
)
_NO_DATABASE = "the server has no database of this name: create it, for example with `createdb`, or correct the name"
_NO_RIGHTS = (
    "this user lacks the right to create or use the tables of studies (hwtune_schema, hwtune_events, hwtune_leases). "
    "The owner of the database can grant it, for example with `GRANT USAGE, CREATE ON SCHEMA public TO {user}`"
)
_FULL = "the disk of the server is full. No result is lost: free some space there and run the same command again"
_READ_ONLY = "the server only allows reading, for example because it is a standby: give the address of the primary"

_STATES = {
    "28": _CREDENTIALS,
    "3D000": _NO_DATABASE,
    "42501": _NO_RIGHTS,
    "53100": _FULL,
    "25006": _READ_ONLY,
}
"""Meanings of PostgreSQL's error codes and of their first two characters."""
_LOST_STATES = {"08": _LOST, "57P01": _LOST, "57P02": _LOST, "57P03": _BUSY, "57P05": _LOST, "53300": _BUSY}

_REFUSALS = [
    (re.compile(r"password|pg_hba\.conf|authentication failed|role \".*\" does not exist"), "28"),
    (re.compile(r"database \".*\" does not exist"), "3D000"),
    (re.compile(r"permission denied"), "42501"),
    (re.compile(r"too many clients|connection slots"), "53300"),
    (re.compile(r"starting up|shutting down|recovery"), "57P03"),
]
"""The drivers do not pass on the code of a refused connection, only its text."""


def explained_error(url: sa.URL, name: str, error: exc.DBAPIError) -> StorageError | StudyLockedError:
    """Returns our error for an error of the driver. Its `errno` is ENOSPC if the disk is full, or `LOST_CONNECTION`.

    Args:
        name: of the database, in messages.
    """
    if url.get_backend_name() == "sqlite":
        return _of_sqlite(name, error.orig)
    if url.get_backend_name() == "postgresql":
        return _of_postgres(url, name, error)
    if error.connection_invalidated:
        return _storage_error(name, _LOST, LOST_CONNECTION, error.orig)
    return _storage_error(name, _OTHER, None, error.orig)


def _of_sqlite(name: str, error: BaseException | None) -> StorageError | StudyLockedError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the error's family
    if code in _LOCKED:
        return StudyLockedError(
            f"another process has kept {name!r} locked for {BUSY_S:g} s: wait for it, or end it ({error})"
        )
    number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else None
    return _storage_error(name, _MEANINGS.get(code, _OTHER), number, error)


def _of_postgres(url: sa.URL, name: str, error: exc.DBAPIError) -> StorageError:
    cause = error.orig
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    if not state and not error.connection_invalidated and isinstance(error, exc.OperationalError):
        refused = (code for pattern, code in _REFUSALS if pattern.search(str(cause)))
        state = next(refused, None)
        if state is None:
            return _storage_error(name, _UNREACHABLE, LOST_CONNECTION, cause)
    lost = _LOST_STATES.get(state) or _LOST_STATES.get(state[:2])
    if lost or error.connection_invalidated:
        return _storage_error(name, lost or _LOST, LOST_CONNECTION, cause)
    meaning = _STATES.get(state) or _STATES.get(state[:2]) or _OTHER
    number = errno.ENOSPC if meaning == _FULL else None
    return _storage_error(name, meaning.format(user=url.username or "USER"), number, cause)


def _storage_error(name: str, meaning: str, number: int | None, cause: BaseException | None) -> StorageError:
    text = " ".join(str(cause).split())  # the driver's messages have several lines
    return StorageError(f"{name!r}: {meaning} ({text})", number)


def missing_driver(url: sa.URL, name: str, error: ImportError | exc.NoSuchModuleError) -> MissingDependencyError:
    """Returns the error for a driver that cannot be imported."""
    if url.drivername == "postgresql+psycopg":
        return MissingDependencyError(
            f"the storage {name!r} needs psycopg 3: pip install 'lightning_hwtune[postgres]' ({error})"
        )
    return MissingDependencyError(f"the storage {name!r} needs a database driver that is not installed ({error})")
