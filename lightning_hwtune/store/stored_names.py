"""The names under which studies are stored in a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from lightning_hwtune.errors import StudyNotFoundError, nearest
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_url import database_url
from lightning_hwtune.store.files import own_folder_hint
from lightning_hwtune.store.schema import EVENTS, has_tables

__all__ = ["name_with", "names_in", "not_found", "stored_names"]

_WITH_ID = sa.select(EVENTS.c.study).where(EVENTS.c.body.contains(sa.bindparam("study_id"))).limit(1)
_NAMES = sa.select(EVENTS.c.study).distinct().order_by(EVENTS.c.study)


def stored_names(storage: str) -> list[str]:
    """Returns the names of the studies in a database, sorted; empty if it does not exist.

    Raises:
        ArgumentError, StorageError: `storage` is not a URL; the database is not ours.
    """
    url = database_url(storage, Path())
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return []
    with Database(url, is_writable=False) as database:
        return names_in(database) if has_tables(database) else []


def name_with(database: Database, study_id: str) -> str | None:
    """Returns the name under which the study with this id is stored, None if there is none."""
    with database.reading() as connection:
        return connection.execute(_WITH_ID, {"study_id": study_id}).scalars().first()


def names_in(database: Database) -> list[str]:
    """Returns the names of all studies in a database that has our tables, sorted."""
    with database.reading() as connection:
        return list(connection.execute(_NAMES).scalars())


def not_found(name: str, where: str, known: Sequence[str]) -> StudyNotFoundError:
    """Returns the error for a study that is not there; it lists those that are."""
    others = [repr(other) for other in known if other != name]
    listed = f"its only study is {others[0]}" if len(others) == 1 else f"its studies are {', '.join(others)}"
    there = listed if others else own_folder_hint(Path(where)) or "there are no studies"
    return StudyNotFoundError(f"no study {name!r} in {where!r}; {there}{nearest(name, known)}")
