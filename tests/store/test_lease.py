from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_processes import files, line_of, note, rest_of, start, tell

from lightning_hwtune.errors import ArgumentError, StudyLockedError
from lightning_hwtune.host.process_identity import birth_of, is_alive
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog

ELSEWHERE = "another boot/pid:[1]/5"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with EventLog.open(files(tmp_path), create=True) as log:
        yield log


def pretend(folder: Path, **columns: object) -> None:
    """Changes what the lease says of its holder."""
    connection = sqlite3.connect(files(folder).database_path)
    with connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE hwtune_leases SET {name} = ?", (value,))
    connection.close()


def test_one_holder_at_a_time(log: EventLog) -> None:
    with Lease(log).acquire(1000.0), pytest.raises(StudyLockedError, match=r"this process.*5.0 s ago"):
        Lease(log).acquire(1005.0)
    Lease(log).acquire(1006.0).release()


def test_readers_see_whether_it_is_held(log: EventLog, tmp_path: Path) -> None:
    log.append([note("begun")])
    with EventLog.open(files(tmp_path), create=False) as reader:
        assert not Lease(reader).is_held(1000.0)
        with Lease(log).acquire(1000.0):
            assert Lease(reader).is_held(1001.0)
            pretend(tmp_path, birth=ELSEWHERE)
            assert Lease(reader).is_held(1030.0)
            assert not Lease(reader).is_held(1031.0)
        assert not Lease(reader).is_held(1001.0)


def test_the_holder_may_ask_again(log: EventLog) -> None:
    lease = Lease(log).acquire(1000.0)
    assert lease.acquire(1001.0) is lease
    lease.renew(1002.0)


def test_studies_do_not_share_a_lease(log: EventLog) -> None:
    with Lease(log).acquire(1000.0), Lease(EventLog("another", log.database)).acquire(1000.0):
        pass


def test_a_live_process_keeps_it_and_a_dead_one_does_not(tmp_path: Path) -> None:
    holder = start("hold", tmp_path)
    try:
        assert line_of(holder) == "held"
        with EventLog.open(files(tmp_path), create=True) as log:
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


def test_released_at_the_end(tmp_path: Path) -> None:
    holder = start("hold", tmp_path)
    assert line_of(holder) == "held"
    tell(holder)
    assert rest_of(holder).strip() == "released"
    with EventLog.open(files(tmp_path), create=True) as log:
        Lease(log).acquire(time.time())


def test_a_reused_process_number_does_not_block(log: EventLog, tmp_path: Path) -> None:
    Lease(log).acquire(1000.0)
    pretend(tmp_path, birth=birth_of(os.getpid()).rpartition("/")[0] + "/1")
    Lease(log).acquire(1000.5)


@pytest.mark.parametrize("birth", [ELSEWHERE, ""])
def test_a_holder_that_cannot_be_seen_keeps_it_until_its_beat_is_old(log: EventLog, tmp_path: Path, birth: str) -> None:
    first = Lease(log).acquire(1000.0)
    pretend(tmp_path, host="elsewhere", birth=birth)
    for now in (1000.0, 1029.0, 971.0):
        with pytest.raises(StudyLockedError, match=rf"process {os.getpid()} on elsewhere"):
            Lease(log).acquire(now)
    first.renew(1029.0)
    with pytest.raises(StudyLockedError):
        Lease(log).acquire(1058.0)
    second = Lease(log).acquire(1060.0)
    with pytest.raises(StudyLockedError, match="has taken it over"):
        first.renew(1061.0)
    first.release()  # not its own any more
    second.renew(1062.0)


def test_a_clock_that_was_far_ahead_does_not_block_for_ever(log: EventLog, tmp_path: Path) -> None:
    Lease(log).acquire(1_000_000.0)
    pretend(tmp_path, birth=ELSEWHERE)
    Lease(log).acquire(1000.0)


@pytest.mark.slow
def test_processes_race(tmp_path: Path) -> None:
    racers = [start("race", tmp_path) for _ in range(4)]
    try:
        assert [line_of(racer) for racer in racers] == ["ready"] * 4
        for n in range(20):  # each round on a new study, so that making the store is part of the race
            for racer in racers:
                tell(racer, str(n))
            said = [line_of(racer) for racer in racers]
            assert sorted(text.partition(":")[0] for text in said) == [*["lost"] * 3, "won"], said
            for racer in racers:
                tell(racer)
            assert [line_of(racer) for racer in racers] == ["done"] * 4
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


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
