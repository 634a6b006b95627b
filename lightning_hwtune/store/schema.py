"""The tables, and the check whether a database has them.

Creation is idempotent: if the process that creates a store is killed halfway, the next one that opens it completes it.
"""

from __future__ import annotations

import sqlalchemy as sa

from lightning_hwtune.errors import StorageError
from lightning_hwtune.store.database import Database

__all__ = ["EVENTS", "LEASES", "REQUESTS", "VERSION", "create_tables", "has_requests", "has_tables"]

VERSION = 1
"""Version of the tables below. A change to them increments it and adds the migration from the previous version."""

_CREATION = 0x6877_7475_6E65
"""The number of the lock under which tables are created on a server, unique to this package ("hwtune" in ASCII)."""

_METADATA = sa.MetaData()
_SCHEMA = sa.Table(
    "hwtune_schema",
    _METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
EVENTS = sa.Table(
    "hwtune_events",
    _METADATA,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""One row per event: `seq` counts from 1 without gaps in each study; `body` is JSON as Python's `json` writes it."""
LEASES = sa.Table(
    "hwtune_leases",
    _METADATA,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("birth", sa.String(255), nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)
"""At most one row per study: the process that runs it; see `store.lease`."""
REQUESTS = sa.Table(
    "hwtune_requests",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study", sa.String(200), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
"""Requests of other processes that the one that runs the study has not taken yet; see `store.inbox`.

A database of an earlier version lacks this table. A reader does not need it, and the next writer creates it.
"""
_NEEDED = frozenset({_SCHEMA.name, EVENTS.name, LEASES.name})


def has_tables(database: Database) -> bool:
    """Return whether our tables are there; False for an empty database.

    Raises:
        StorageError: the database belongs to another program, or is newer than this code.
    """
    with database.reading() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        version = _version(connection) if _SCHEMA.name in tables else None
    if version is not None and version > VERSION:
        raise StorageError(
            f"{database.name!r} was written by a newer lightning_hwtune (schema {version}; this one knows up to "
            f"{VERSION}): upgrade this installation"
        )
    if version is None and tables and database.is_sqlite and not tables <= set(_METADATA.tables):
        raise StorageError(
            f"{database.name!r} is an SQLite database, but not one of ours (its tables: {', '.join(sorted(tables))}): "
            "give another folder, name or storage"
        )
    return version is not None and tables >= _NEEDED


def has_requests(database: Database) -> bool:
    """Return whether the table of requests is there, too."""
    with database.reading() as connection:
        return bool(sa.inspect(connection).has_table(REQUESTS.name))


def create_tables(database: Database) -> None:
    """Creates the missing tables, in one transaction. Several processes may do so at the same time."""
    with database.writing() as connection:
        if database.is_postgres:  # SQLite has locked the whole file
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION)))
        _METADATA.create_all(connection)
        if _version(connection) is None:
            connection.execute(_SCHEMA.insert(), {"version": VERSION})


def _version(connection: sa.Connection) -> int | None:
    version: int | None = connection.execute(sa.select(sa.func.max(_SCHEMA.c.version))).scalar_one()
    return version
