from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from store_processes import execute, files, line_of, note, rest_of, start

from lightning_hwtune.core.events import Noted, Reported, StudyCreated
from lightning_hwtune.errors import (
    ArgumentError,
    MissingDependencyError,
    StorageError,
    StudyLockedError,
    StudyNotFoundError,
)
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.stored_names import stored_names

REPORTED = Reported(
    at=12.5,
    trial_id=3,
    segment=2,
    resource=9,
    values={"val_error": float("nan"), "train_s": 1.25, "cost_usd": float("inf")},
    train_s=1.25,
    device_s=2.5,
    level=9,
    verdict="pause",
    target=9,
    rule="promotion",
    reason="rank 2 of 27 at rung 9 (not dominated); the first 9 continue",
)


def texts(log: EventLog, after: int = 0) -> list[str]:
    return [event.text for _, event in log.read(after) if isinstance(event, Noted)]


on_sqlite = pytest.mark.parametrize("storage", [None])


# ---------------------------------------------------------------- append and read


def test_events_come_back_as_they_were(log: EventLog) -> None:
    created = StudyCreated(
        at=0.5, study="study", spec={"seed": 0, "objectives": [{"name": "val/äcc"}], "nested": {"a": None}}
    )
    broken = note("a name that is no text: \udcff, and a zero: \x00")
    log.append([created, broken])
    log.append([REPORTED])
    (_, first), (_, second), (seq, third) = log.read()
    assert first == created
    assert second == broken
    assert seq == 3
    assert repr(third) == repr(REPORTED)  # NaN does not equal itself


def test_numbers_are_gapless_across_openings(tmp_path: Path, storage: str | None) -> None:
    for n in range(3):
        with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
            log.append([note(f"{n}a"), note(f"{n}b")])
            log.append([])
    with EventLog.open(files(tmp_path), storage=storage, create=False) as log:
        assert [seq for seq, _ in log.read()] == [1, 2, 3, 4, 5, 6]
        assert texts(log, after=4) == ["2a", "2b"]
        assert texts(log, after=6) == texts(log, after=99) == []
        assert log.count() == 6


def test_reading_behind_the_end_leaves_no_gap(log: EventLog) -> None:
    assert list(log.read(after=7)) == []
    log.append([note("first")])
    assert [seq for seq, _ in log.read()] == [1]


def test_reading_a_part_does_not_move_the_end(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    log.append([note("a"), note("b"), note("c")])
    for _, event in log.read():
        if event == note("b"):
            break
    log.append([note("d")])
    with EventLog.open(files(tmp_path), storage=storage, create=True) as second:
        assert texts(second, after=4) == []
        second.append([note("e")])
    assert texts(log) == ["a", "b", "c", "d", "e"]


def test_a_batch_is_all_or_nothing(log: EventLog) -> None:
    log.append([note("before")])
    with pytest.raises(TypeError):
        log.append([note("good"), Noted(at=0.0, trial_id=None, text=object())])  # type: ignore[arg-type]
    assert texts(log) == ["before"]
    log.append([note("after")])
    assert texts(log) == ["before", "after"]


def test_a_batch_that_collides_half_way_leaves_nothing(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    log.append([note("before")])
    body = '{"type": "Noted", "at": 0, "trial_id": null, "text": "theirs"}'
    execute(tmp_path, storage, f"INSERT INTO hwtune_events VALUES ('study', 3, '{body}')")
    with pytest.raises(StudyLockedError):
        log.append([note("2"), note("3")])
    assert execute(tmp_path, storage, "SELECT seq FROM hwtune_events ORDER BY seq") == [(1,), (3,)]


def test_more_events_than_one_chunk(log: EventLog) -> None:
    log.append([note(str(n)) for n in range(2500)])
    assert texts(log) == [str(n) for n in range(2500)]


def test_sqlite_is_in_wal_mode_and_durable_waits_for_the_disk(tmp_path: Path) -> None:
    for durable, synchronous in ((False, 1), (True, 2)):
        with EventLog.open(files(tmp_path), create=True, durable=durable) as log, log.database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == synchronous


# ---------------------------------------------------------------- several processes


def test_a_writer_that_has_not_seen_everything_is_refused(tmp_path: Path, storage: str | None) -> None:
    with (
        EventLog.open(files(tmp_path), storage=storage, create=True) as first,
        EventLog.open(files(tmp_path), storage=storage, create=True) as second,
    ):
        first.append([note("1")])
        assert texts(second) == ["1"]
        second.append([note("2")])
        with pytest.raises(StudyLockedError, match=r"'study'.*another process"):
            first.append([note("lost")])
        second.append([note("3")])
        assert texts(first) == ["1", "2", "3"]
        first.append([note("4")])  # having read everything, it may
        assert texts(second) == ["1", "2", "3", "4"]


@pytest.mark.slow
def test_reading_while_another_process_writes(tmp_path: Path, storage: str | None) -> None:
    writer = start("append", tmp_path, "w", storage)
    try:
        line_of(writer)
        with EventLog.open(files(tmp_path), storage=storage, create=False) as log:
            acknowledged: list[str] = []
            for _ in range(50):
                acknowledged += line_of(writer).split()
                seen = texts(log)
                assert seen[: len(acknowledged)] == [f"w:{n}" for n in range(len(seen))][: len(acknowledged)]
                assert acknowledged[-1] in seen
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()


def test_a_reader_writes_nothing(tmp_path: Path, storage: str | None) -> None:
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        log.append([note("a")])
    with EventLog.open(files(tmp_path), storage=storage, create=False) as reader, pytest.raises(StorageError):
        reader.append([note("b")])


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, storage: str | None) -> None:
    rng = random.Random(0)
    acknowledged: list[str] = []
    for life in range(5):
        writer = start("append", tmp_path, str(life), storage)
        acknowledged += line_of(writer).split()
        time.sleep(rng.uniform(0.0, 0.1))
        writer.kill()
        complete, _, _ = rest_of(writer).rpartition("\n")
        acknowledged += complete.split()
    with EventLog.open(files(tmp_path), storage=storage, create=False) as log:
        stored = texts(log)
    assert len(acknowledged) > 100
    assert len(set(stored)) == len(stored)
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 5 * 3  # at most the batch that each kill left unacknowledged
    for life in range(5):
        mine = [text for text in stored if text.startswith(f"{life}:")]
        assert mine == [f"{life}:{n}" for n in range(len(mine))]


def test_an_interrupt_at_any_moment_leaves_log_and_writer_of_one_mind(tmp_path: Path, storage: str | None) -> None:
    rng = random.Random(0)
    writer = start("interrupt", tmp_path, "1500", storage)
    assert line_of(writer) == "ready"
    while writer.poll() is None:
        writer.send_signal(signal.SIGINT)
        time.sleep(rng.uniform(1e-4, 2e-3))
    assert writer.returncode == 0
    kept = rest_of(writer).split()
    with EventLog.open(files(tmp_path), storage=storage, create=False) as log:
        *stored, last = texts(log)
    assert last == "end"
    assert 10 < len(kept) < 1490
    numbers = [text.partition(":")[0] for text in stored[::2]]
    assert stored == [f"{n}:{half}" for n in numbers for half in "ab"]  # whole pairs, in order, none twice
    assert numbers == sorted(set(numbers), key=int)
    assert set(kept) <= set(numbers)


# ---------------------------------------------------------------- what may be found on the disk


def test_a_full_disk_is_named_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    writer = start("fill", tmp_path, "400000")
    refused, after = rest_of(writer).splitlines()
    n, _, message = refused.partition(" ")
    assert after == "after"
    assert "full" in message
    assert "No result is lost" in message
    assert str(tmp_path) in message
    with EventLog.open(files(tmp_path), create=False) as log:
        assert [text.partition(":")[0] for text in texts(log)] == [*map(str, range(int(n))), "after"]


@on_sqlite
def test_a_database_at_its_limit_of_pages(log: EventLog) -> None:
    with log.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=8")
    with pytest.raises(StorageError, match="the disk is full"):
        log.append([note("x" * 100_000)])
    log.append([note("small")])
    assert texts(log) == ["small"]


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database(tmp_path: Path, create: bool) -> None:
    files(tmp_path).create()
    path = files(tmp_path).database_path
    path.write_text("a shopping list\n" * 100)
    with pytest.raises(StorageError, match="not an SQLite database"):
        EventLog.open(files(tmp_path), create=create)
    assert path.read_text() == "a shopping list\n" * 100


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_somebody_else_is_left_as_it_was(tmp_path: Path, create: bool) -> None:
    files(tmp_path).create()
    path = files(tmp_path).database_path
    execute(tmp_path, None, "CREATE TABLE cats (name TEXT)", "INSERT INTO cats VALUES ('Mia')")
    content = path.read_bytes()
    with pytest.raises(StorageError, match=r"not one of ours.*cats"):
        EventLog.open(files(tmp_path), create=create)
    assert path.read_bytes() == content


@pytest.mark.parametrize("create", [True, False])
def test_a_store_from_the_future(tmp_path: Path, create: bool, storage: str | None) -> None:
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        log.append([note("a")])
    execute(tmp_path, storage, "UPDATE hwtune_schema SET version = 99")
    with pytest.raises(StorageError, match=r"newer lightning_hwtune \(schema 99; this one knows up to 1\)"):
        EventLog.open(files(tmp_path), storage=storage, create=create)


def test_an_event_from_the_future(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    log.append([note("a")])
    execute(tmp_path, storage, """UPDATE hwtune_events SET body = '{"type": "TrialSplit", "at": 0}'""")
    with pytest.raises(StorageError, match="TrialSplit"):
        list(log.read())


def test_a_missing_event_is_told(log: EventLog, tmp_path: Path, storage: str | None) -> None:
    log.append([note("a"), note("b"), note("c")])
    execute(tmp_path, storage, "DELETE FROM hwtune_events WHERE seq = 2")
    with pytest.raises(StorageError, match="event 2 of study 'study' is missing"):
        list(log.read())


@pytest.mark.parametrize("lost", [None, "hwtune_schema", "hwtune_events", "hwtune_leases"])
def test_a_half_made_store_is_completed(tmp_path: Path, lost: str | None, storage: str | None) -> None:
    files(tmp_path).create()
    files(tmp_path).database_path.touch()
    if lost is not None:
        EventLog.open(files(tmp_path), storage=storage, create=True).close()
        execute(tmp_path, storage, f"DROP TABLE {lost}")
    with pytest.raises(StudyNotFoundError):
        EventLog.open(files(tmp_path), storage=storage, create=False)
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        log.append([note("a")])
        assert texts(log) == ["a"]
    assert execute(tmp_path, storage, "SELECT version FROM hwtune_schema") == [(1,)]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file")
    with pytest.raises(StorageError, match="cannot be created"):
        EventLog.open(files(tmp_path), create=True)


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    files(tmp_path).database_path.mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be opened"):
        EventLog.open(files(tmp_path), create=True)


@pytest.mark.parametrize("how", ["moved", "copied while open"])
def test_a_study_goes_on_elsewhere(tmp_path: Path, how: str) -> None:
    there = tmp_path / "other disk" / "50% of #all?"
    with EventLog.open(files(tmp_path / "here"), create=True) as log:
        log.append([note("a")])
        if how == "copied while open":
            shutil.copytree(tmp_path / "here", there)
    if how == "moved":
        shutil.move(tmp_path / "here", there)
    with EventLog.open(files(there), create=True) as log:
        log.append([note("b")])
        assert texts(log) == ["a", "b"]


# ---------------------------------------------------------------- studies that are not there, and other storages


def test_a_study_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for name in ("digits", "faces"):
        with EventLog.open(StudyFiles(tmp_path, name), create=True) as log:
            log.append([note("a")])
    with pytest.raises(StudyNotFoundError, match="'digits', 'faces'; did you mean 'digits'"):
        EventLog.open(StudyFiles(tmp_path, "digit"), create=False)
    with pytest.raises(StudyNotFoundError, match="there are no studies"):
        EventLog.open(StudyFiles(tmp_path / "nowhere", "digit"), create=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "faces"]


def test_a_study_without_events_has_not_begun(tmp_path: Path, storage: str | None) -> None:
    EventLog.open(files(tmp_path), storage=storage, create=True).close()
    with pytest.raises(StudyNotFoundError):
        EventLog.open(files(tmp_path), storage=storage, create=False)


def test_several_studies_in_one_database(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/shared/studies.db"
    assert stored_names(storage) == []
    ours, theirs = StudyFiles(tmp_path, "ours"), StudyFiles(tmp_path, "theirs")
    with (
        EventLog.open(ours, storage=storage, create=True) as a,
        EventLog.open(theirs, storage=storage, create=True) as b,
    ):
        a.append([note("a1")])
        b.append([note("b1")])
        a.append([note("a2")])
        assert texts(a) == ["a1", "a2"]
        assert texts(b) == ["b1"]
    assert stored_names(storage) == ["ours", "theirs"]
    with pytest.raises(StudyNotFoundError, match="'ours', 'theirs'; did you mean 'ours'"):
        EventLog.open(StudyFiles(tmp_path, "our"), storage=storage, create=False)
    assert not ours.root.exists()


@pytest.mark.parametrize(
    "storage", ["studies.db", "sqlite://", "sqlite:///:memory:", "sqlite:///file:a?uri=true", "postgres"]
)
def test_a_storage_that_is_no_lasting_database(tmp_path: Path, storage: str) -> None:
    with pytest.raises(ArgumentError, match="storage"):
        EventLog.open(files(tmp_path), storage=storage, create=True)


def test_a_storage_without_its_driver(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"nodb://me:\*\*\*@host/x"):
        EventLog.open(files(tmp_path), storage="nodb://me:secret@host/x", create=True)
