"""The inbox of a study: requests of other processes, in the database of its log.

Only the process that runs a study may write to its log. Every process that can write to the database may put a request
into the inbox, also from another host. The process that runs the study takes it from there, and a request that comes
between two sessions waits for the next one.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, final

import sqlalchemy as sa

from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import REQUESTS

__all__ = ["Inbox"]

_MINE = REQUESTS.c.study == sa.bindparam("of_study")
_PENDING = sa.select(REQUESTS.c.id, REQUESTS.c.body).where(_MINE).order_by(REQUESTS.c.at, REQUESTS.c.id).limit(1000)
_REMOVE = REQUESTS.delete().where(_MINE, REQUESTS.c.id == sa.bindparam("of_id"))


@final
class Inbox:
    """The requests to one study.

    Args:
        log: the study's log, opened with `create=True`.
    """

    def __init__(self, log: EventLog) -> None:
        self._database, self._study = log.database, log.key

    def put(self, request: Mapping[str, Any]) -> None:
        """Stores a request, as plain data.

        Raises:
            StorageError: this user may not write to the database.
        """
        row = {"id": uuid.uuid4().hex, "study": self._study, "at": time.time(), "body": json.dumps(request)}
        with self._database.writing() as connection:
            connection.execute(REQUESTS.insert(), row)

    def pending(self) -> list[tuple[str, Any]]:
        """Returns the requests that no process has taken yet, each with its id, the oldest first; None if damaged."""
        with self._database.reading() as connection:
            rows = connection.execute(_PENDING, {"of_study": self._study}).all()
        return [(row.id, _parsed(row.body)) for row in rows]

    def remove(self, ids: Sequence[str]) -> None:
        """Removes requests that were carried out."""
        with self._database.writing() as connection:
            connection.execute(_REMOVE, [{"of_study": self._study, "of_id": one} for one in ids])


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
