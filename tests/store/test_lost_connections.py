"""The log when the connection to the server is lost: an event is in it once, and no lock is imagined."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from postgres_proxy import PostgresProxy
from postgres_server import PostgresServer
from store_processes import files, note

from lightning_hwtune.core.events import Noted
from lightning_hwtune.errors import StorageError, StudyLockedError
from lightning_hwtune.store.database_errors import LOST_CONNECTION
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[PostgresProxy]:
    with PostgresProxy(postgres) as proxy:
        yield proxy


@pytest.fixture
def log(postgres: PostgresServer, proxy: PostgresProxy, tmp_path: Path) -> Iterator[EventLog]:
    """An empty log behind the proxy, in its own schema."""
    storage = postgres.fresh_schema().replace(f":{postgres.port}/", f":{proxy.port}/")
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        log.append([note("first")])
        yield log


def texts(log: EventLog) -> list[str]:
    return [event.text for _, event in log.read() if isinstance(event, Noted)]


def lost(action: Callable[[], object]) -> None:
    with pytest.raises(StorageError) as caught:
        action()
    assert caught.value.errno == LOST_CONNECTION


def in_the_same_log(log: EventLog) -> EventLog:
    """Another process's view of the log, over the same connection."""
    return EventLog(log.study, log.database)


@pytest.mark.parametrize("swallow", ["answer", "request"])
def test_an_append_without_an_answer_is_in_the_log_once(
    log: EventLog, proxy: PostgresProxy, swallow: Literal["answer", "request"]
) -> None:
    batch = [note("second"), note("third")]
    proxy.swallow = swallow
    lost(lambda: log.append(batch))
    assert texts(in_the_same_log(log)) == (["first", "second", "third"] if swallow == "answer" else ["first"])
    log.append(batch)
    log.append([note("fourth")])
    assert texts(log) == ["first", "second", "third", "fourth"]
    assert proxy.swallowed == 1


def test_answers_may_be_lost_again_and_again(log: EventLog, proxy: PostgresProxy) -> None:
    for swallow in ("request", "request", "answer"):
        proxy.swallow = swallow  # type: ignore[assignment]
        lost(lambda: log.append([note("second")]))
    proxy.is_cut = True
    lost(lambda: log.append([note("second")]))  # not even a look is possible
    proxy.is_cut = False
    log.append([note("second")])
    assert texts(log) == ["first", "second"]


def test_events_of_others_after_a_lost_connection_are_a_lock(log: EventLog, proxy: PostgresProxy) -> None:
    proxy.swallow = "request"
    lost(lambda: log.append([note("mine")]))
    other = in_the_same_log(log)
    assert texts(other) == ["first"]
    other.append([note("theirs")])
    for _ in range(2):
        with pytest.raises(StudyLockedError, match=r"'study'.*another process writes"):
            log.append([note("mine")])
    assert texts(other) == ["first", "theirs"]


def test_events_that_were_given_up_but_written_do_not_mix_with_others(log: EventLog, proxy: PostgresProxy) -> None:
    proxy.swallow = "answer"
    lost(lambda: log.append([note("given up")]))
    with pytest.raises(StorageError, match="they were written after all"):
        log.append([note("another")])
    assert texts(in_the_same_log(log)) == ["first", "given up"]


def test_events_that_were_given_up_and_not_written_are_forgotten(log: EventLog, proxy: PostgresProxy) -> None:
    proxy.swallow = "request"
    lost(lambda: log.append([note("given up")]))
    log.append([note("another")])
    assert texts(log) == ["first", "another"]


def test_a_first_attempt_that_the_server_completes_late_is_no_lock(log: EventLog, postgres: PostgresServer) -> None:
    """The connection is lost, the server has not noticed it, and its transaction is still open."""
    import psycopg

    with log.database.reading() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    is_inserted = threading.Event()

    def attempt() -> None:
        with psycopg.connect(postgres.url()) as connection:
            events = f"{schema}.hwtune_events"
            connection.execute(f"INSERT INTO {events} SELECT study, 2, body FROM {events} WHERE seq = 1")
            is_inserted.set()
            time.sleep(0.3)

    first_attempt = threading.Thread(target=attempt)
    first_attempt.start()
    is_inserted.wait()
    log._unsure = ["what the first attempt writes"]
    log.append([note("first")])  # the same text as event 1; it waits for the first attempt
    first_attempt.join()
    log.append([note("next")])
    assert texts(log) == ["first", "first", "next"]


@pytest.mark.parametrize("fault", ["terminate", "restart", "kill"])
def test_the_next_append_after_a_fault_of_the_server_connects_again(
    log: EventLog, postgres: PostgresServer, fault: str
) -> None:
    lease = Lease(log).acquire(time.time())
    if fault == "terminate":
        assert postgres.terminate_clients() >= 1
    elif fault == "restart":
        postgres.restart()
    else:
        postgres.kill()
        postgres.start()
    lost(lambda: log.append([note("second")]))
    log.append([note("second")])
    lease.renew(time.time())
    assert texts(log) == ["first", "second"]


def test_a_lease_taken_or_renewed_without_an_answer_is_ours(log: EventLog, proxy: PostgresProxy) -> None:
    lease = Lease(log)
    proxy.swallow = "answer"
    lost(lambda: lease.acquire(time.time()))
    lease.acquire(time.time())
    proxy.swallow = "answer"
    lost(lambda: lease.renew(time.time()))
    lease.renew(time.time())
    with pytest.raises(StudyLockedError, match="is run by this process"):
        Lease(log).acquire(time.time())
    lease.release()
    Lease(log).acquire(time.time()).release()
