"""The location of a study's log: the SQLite file in its folder, or the SQLAlchemy URL that the user gives."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from lightning_hwtune.errors import ArgumentError

__all__ = ["SECRET", "database_url", "shown_url"]

SECRET = frozenset({"password", "sslpassword"})
"""The keys of a query that contain a password."""

_POSTGRES = "postgresql"
_ALLOWED = "an SQLAlchemy URL such as 'sqlite:////data/studies.db' or 'postgresql://host/name', or None"


def database_url(storage: str | None, path: Path) -> sa.URL:
    """Returns the location of a study's log: `storage`, or the SQLite file at `path`.

    `postgresql://` and `postgres://`, as hosting services print it, mean psycopg 3.

    Raises:
        ArgumentError: `storage` is not an SQLAlchemy URL, names a database that does not outlive the process, or has an
            asynchronous driver.
    """
    if storage is None:
        return sa.URL.create("sqlite", database=str(path))
    try:
        url = sa.make_url(storage)
    except (exc.ArgumentError, ValueError) as error:  # ValueError: the port is not a number
        raise ArgumentError("storage", storage, _ALLOWED) from error
    backend, _, driver = url.drivername.partition("+")
    if backend in ("postgres", _POSTGRES):
        url = url.set(drivername=f"{_POSTGRES}+{driver or 'psycopg'}")
    if _is_asynchronous(url):
        instead = "postgresql://" if backend in ("postgres", _POSTGRES) else f"{backend}://"
        raise ArgumentError(
            "storage",
            shown_url(url),
            f"a URL with a synchronous driver: {instead!r} instead of '{url.drivername}://'",
            hint=f"{url.get_driver_name()} is asynchronous.",
        )
    if backend == "sqlite":
        if url.query or url.database in (None, "", ":memory:"):
            raise ArgumentError("storage", storage, "the path of an SQLite file, because a study outlives its process")
        return url.set(database=os.path.abspath(os.path.expanduser(str(url.database))))
    return url


def _is_asynchronous(url: sa.URL) -> bool:
    try:
        return bool(url.get_dialect().is_async)
    except (exc.NoSuchModuleError, ImportError):  # an unknown driver, which is refused where it is opened
        return False


def shown_url(url: sa.URL) -> str:
    """Returns the URL for messages, without its password."""
    hidden = {key: "***" for key in url.query if key in SECRET}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)
