"""The inbox: requests of other processes, in an SQLite file and on a server; databases of earlier versions get one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from store_processes import files

from lightning_hwtune.core.requests import EndSession, EnqueueConfig, StopTrial, request_from, request_to_dict
from lightning_hwtune.store.inbox import Inbox
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import has_requests, has_tables

REQUESTS = [EnqueueConfig({"lr": 0.1, "name": "é"}), StopTrial(3), EndSession(2)]


def test_requests_come_in_their_order_until_they_are_removed(
    log: EventLog, storage: str | None, tmp_path: Path
) -> None:
    inbox = Inbox(log)
    assert inbox.pending() == []
    with EventLog.open(files(tmp_path), storage=storage, create=True) as other:
        for request in REQUESTS:
            Inbox(other).put(request_to_dict(request))
    found = inbox.pending()
    assert [request_from(data) for _, data in found] == REQUESTS
    inbox.remove([found[1][0]])
    assert [request_from(data) for _, data in inbox.pending()] == [REQUESTS[0], REQUESTS[2]]
    inbox.remove([number for number, _ in found])
    assert inbox.pending() == []


def test_a_database_of_an_earlier_version_is_read_and_completed(tmp_path: Path) -> None:
    with EventLog.open(files(tmp_path), create=True) as log, log.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE hwtune_requests"))
    with EventLog.open(files(tmp_path), create=True) as log:
        assert has_tables(log.database)
        assert has_requests(log.database)
        Inbox(log).put({"kind": "unknown"})
        assert len(Inbox(log).pending()) == 1
