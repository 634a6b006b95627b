from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from store_processes import execute, files, line_of, note, rest_of, start, tell

from lightning_hwtune.errors import ArgumentError, StudyLockedError
from lightning_hwtune.host import process_identity
from lightning_hwtune.host.process_identity import birth_of, is_alive
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.stored_names import stored_names

ELSEWHERE = "another boot/pid:[1]/5"


def pretend(folder: Path, storage: str | None, **columns: str) -> None:
    """Changes what the lease says of its holder."""
    for name, value in columns.items():
        execute(folder, storage, f"UPDATE hwtune_leases SET {name} = '{value}'")


def age(folder: Path, storage: str | None, seconds: float) -> None:
    """Makes the heartbeat older."""
    execute(folder, storage, f"UPDATE hwtune_leases SET beat = beat - {seconds}")


def test_one_holder_at_a_time(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    with Lease(log).acquire(1000.0):
        age(tmp_path, storage, 5.0)
        with pytest.raises(StudyLockedError, match=r"this process.*5.\d s ago"):
            Lease(log).acquire(1000.0)
    Lease(log).acquire(1000.0).release()


def test_readers_see_whether_it_is_held(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    log.append([note("begun")])
    with EventLog.open(files(tmp_path), storage=storage, create=False) as reader:
        assert not Lease(reader).is_held(1000.0)
        assert Lease(reader).beat(1000.0) is None
        with Lease(log).acquire(1000.0):
            assert Lease(reader).is_held(1000.0)
            assert Lease(reader).beat(1000.0) == pytest.approx(
                1000.0, abs=5.0
            )  # by this host's clock, also on a server
            pretend(tmp_path, storage, birth=ELSEWHERE)
            age(tmp_path, storage, 29.0)
            assert Lease(reader).is_held(1000.0)
            age(tmp_path, storage, 2.0)
            assert not Lease(reader).is_held(1000.0)
        assert not Lease(reader).is_held(1000.0)


def test_the_holder_may_ask_again(log: EventLog) -> None:
    lease = Lease(log).acquire(1000.0)
    assert lease.acquire(1001.0) is lease
    lease.renew(1002.0)


def test_studies_do_not_share_a_lease(log: EventLog) -> None:
    with Lease(log).acquire(1000.0), Lease(EventLog("another", log.database)).acquire(1000.0):
        pass


def test_a_live_process_keeps_it_and_a_dead_one_does_not(tmp_path: Path, storage: str | None) -> None:
    holder = start("hold", tmp_path, storage=storage)
    try:
        assert line_of(holder) == "held"
        with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
            with pytest.raises(
                StudyLockedError, match=rf"process {holder.pid} on .*last heartbeat \d+\.\d s ago.*end it"
            ):
                Lease(log).acquire(time.time())
            with pytest.raises(StudyLockedError):  # seen to live, so the age of its beat does not matter
                Lease(log).acquire(time.time() + 3600.0)
            holder.kill()
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet collected
            with Lease(log).acquire(time.time()):
                pass
    finally:
        holder.kill()
        holder.communicate()


def test_released_at_the_end(tmp_path: Path, storage: str | None) -> None:
    holder = start("hold", tmp_path, storage=storage)
    assert line_of(holder) == "held"
    tell(holder)
    assert rest_of(holder).strip() == "released"
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        Lease(log).acquire(time.time())


def test_a_reused_process_number_does_not_block(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    Lease(log).acquire(1000.0)
    pretend(tmp_path, storage, birth=birth_of(os.getpid()).rpartition("/")[0] + "/1")
    Lease(log).acquire(1000.5)


@pytest.mark.parametrize("birth", [ELSEWHERE, ""])
def test_a_holder_that_cannot_be_seen_keeps_it_until_its_beat_is_old(
    log: EventLog, tmp_path: Path, storage: str | None, birth: str
) -> None:
    first = Lease(log).acquire(1000.0)
    pretend(tmp_path, storage, host="elsewhere", birth=birth)
    for seconds in (0.0, 29.0, -2 * 29.0):
        age(tmp_path, storage, seconds)
        with pytest.raises(StudyLockedError, match=rf"process {os.getpid()} on elsewhere"):
            Lease(log).acquire(1000.0)
    first.renew(1000.0)
    age(tmp_path, storage, 29.0)
    with pytest.raises(StudyLockedError):
        Lease(log).acquire(1000.0)
    age(tmp_path, storage, 2.0)
    second = Lease(log).acquire(1000.0)
    with pytest.raises(StudyLockedError, match="has taken it over"):
        first.renew(1000.0)
    first.release()  # not its own any more
    second.renew(1000.0)


def test_a_clock_that_was_far_ahead_does_not_block_for_ever(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    Lease(log).acquire(1000.0)
    pretend(tmp_path, storage, birth=ELSEWHERE)
    age(tmp_path, storage, -1e6)
    Lease(log).acquire(1000.0)


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
@pytest.mark.parametrize("holder_skew", [-3600.0, 3600.0])
@pytest.mark.parametrize("other_skew", [-3600.0, 0.0, 3600.0])
def test_on_a_server_a_wrong_clock_neither_loses_nor_takes_a_lease(
    log: EventLog, tmp_path: Path, storage: str, holder_skew: float, other_skew: float
) -> None:
    holder = Lease(log).acquire(time.time() + holder_skew)
    pretend(tmp_path, storage, host="elsewhere", birth=ELSEWHERE)
    for _ in range(2):
        with pytest.raises(StudyLockedError, match=r"last heartbeat \d\.\d s ago"):
            Lease(log).acquire(time.time() + other_skew)
        assert Lease(log).is_held(time.time() + other_skew)
        holder.renew(time.time() + holder_skew)


def test_another_process_of_the_same_moment_is_not_taken_for_this_one(
    log: EventLog, tmp_path: Path, storage: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Births are counted in clock ticks, so two processes may have the same one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        Lease(log).acquire(1000.0)
        execute(tmp_path, storage, f"UPDATE hwtune_leases SET pid = {other.pid}")
        same = birth_of(os.getpid())
        monkeypatch.setattr(process_identity, "_started_at", lambda pid: same.rpartition("/")[2])
        with pytest.raises(StudyLockedError, match=rf"run by process {other.pid}"):
            Lease(log).acquire(1000.0)
        other.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "postgresql"])
def test_processes_race(tmp_path: Path, storage: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres") if storage == "postgresql" else None
    racers = [start("race", tmp_path) for _ in range(4)]
    try:
        assert [line_of(racer) for racer in racers] == ["ready"] * 4
        # each round on a new study, so that making the store is part of the race
        for n in range(20 if server is None else 8):
            place = f"{n} {server.fresh_schema()}" if server is not None else str(n)
            for racer in racers:
                tell(racer, place)
            said = [line_of(racer) for racer in racers]
            assert sorted(text.partition(":")[0] for text in said) == [*["lost"] * 3, "won"], said
            for racer in racers:
                tell(racer)
            assert [line_of(racer) for racer in racers] == ["done"] * 4
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


@pytest.mark.slow
def test_several_studies_may_begin_in_an_empty_database_at_once(postgres: PostgresServer, tmp_path: Path) -> None:
    names = ["digits", "faces", "houses"]
    processes = [start("begin", tmp_path, name) for name in names]
    try:
        assert [line_of(process) for process in processes] == ["ready"] * 3
        for _ in range(10):
            storage = postgres.fresh_schema()
            for process in processes:
                tell(process, storage)
            assert [line_of(process) for process in processes] == ["begun"] * 3
            assert stored_names(storage) == names
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("expires_s", [0.0, -1.0, float("nan")])
def test_it_must_be_able_to_expire(log: EventLog, expires_s: float) -> None:
    with pytest.raises(ArgumentError, match="expires_s"):
        Lease(log, expires_s=expires_s)


def test_processes_are_told_apart() -> None:
    mine = birth_of(os.getpid())
    assert is_alive(os.getpid(), mine)
    time.sleep(0.05)  # births are counted in clock ticks of 10 ms
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert is_alive(other.pid, mine) is False
        other.communicate()
    assert is_alive(os.getpid(), mine + "0") is False
    assert is_alive(os.getpid(), "") is None
    assert birth_of(2**30).endswith("/")
