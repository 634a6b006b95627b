from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_hwtune.errors import ArgumentError, MissingDependencyError, StorageError, StudyLockedError
from lightning_hwtune.store import database, database_errors
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_url import database_url


def opened(path: Path, *, is_writable: bool = True, durable: bool = False) -> Database:
    return Database(database_url(None, path), is_writable=is_writable, durable=durable)


@pytest.fixture
def numbers(tmp_path: Path) -> Iterator[Database]:
    """A database with one table, in which each number may be stored once."""
    with opened(tmp_path / "numbers.db") as numbers:
        numbers.use_wal()
        with numbers.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        yield numbers


def insert(numbers: Database, values: list[int]) -> None:
    with numbers.writing() as connection:
        for value in values:
            connection.execute(sa.text("INSERT INTO numbers VALUES (:n)"), {"n": value})


def stored(numbers: Database) -> set[int]:
    with numbers.reading() as connection:
        return {n for (n,) in connection.exec_driver_sql("SELECT n FROM numbers")}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6))
def test_a_transaction_takes_effect_as_a_whole_or_not_at_all(numbers: Database, transactions: list[list[int]]) -> None:
    with numbers.writing() as connection:
        connection.exec_driver_sql("DELETE FROM numbers")
    expected: set[int] = set()
    for values in transactions:
        if len(set(values)) == len(values) and not expected & set(values):
            insert(numbers, values)
            expected |= set(values)
        else:
            with pytest.raises(StudyLockedError, match="another process writes to this study"):
                insert(numbers, values)
        assert stored(numbers) == expected


def test_an_error_of_the_caller_undoes_the_transaction(numbers: Database) -> None:
    with pytest.raises(KeyError), numbers.writing() as connection:  # noqa: PT012 - the error comes after a write
        connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
        raise KeyError
    assert stored(numbers) == set()


def test_a_reader_sees_what_is_committed_and_writes_nothing(numbers: Database) -> None:
    insert(numbers, [1])
    with opened(Path(numbers.name), is_writable=False) as reader:
        assert stored(reader) == {1}
        insert(numbers, [2])  # the open reader does not block it
        assert stored(reader) == {1, 2}
        with pytest.raises(StorageError):
            insert(reader, [3])
    assert stored(numbers) == {1, 2}


def test_a_reader_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path / "absent.db", is_writable=False)
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_while_the_database_is_locked(
    numbers: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.0)
    monkeypatch.setattr(database_errors, "BUSY_S", 0.0)
    with opened(Path(numbers.name)) as second:
        with numbers.writing() as connection:
            connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
            with pytest.raises(StudyLockedError, match="locked for 0 s"):
                insert(second, [2])
        insert(second, [2])
    assert stored(numbers) == {1, 2}


def test_a_full_disk_has_its_own_error_number(numbers: Database) -> None:
    with numbers.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=4")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        insert(numbers, list(range(10_000)))
    assert caught.value.errno == errno.ENOSPC
    assert stored(numbers) == set()


@pytest.mark.parametrize(
    "content",
    [b"name: digits\nspace: {}\n" * 100, b"\x00" * 4096, bytes(range(255, -1, -1)) * 16],
    ids=["text", "zeros", "bytes"],
)
def test_another_kind_of_file_is_not_a_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="not an SQLite database"), opened(path) as found:
        stored(found)
    assert path.read_bytes() == content


def test_a_damaged_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with opened(path) as whole:
        with whole.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        insert(whole, list(range(5000)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StorageError, match="the database is damaged"), opened(path) as damaged:
        stored(damaged)


@pytest.mark.parametrize("change", ["moved", "deleted", "replaced"])
def test_a_writer_finds_out_that_its_file_is_no_longer_in_place(numbers: Database, change: str) -> None:
    numbers.require_in_place()
    path = Path(numbers.name)
    kept = path.rename(path.with_suffix(".moved"))
    if change == "deleted":
        kept.unlink()
    if change == "replaced":
        path.write_bytes(kept.read_bytes())
    with pytest.raises(StorageError, match="was moved, renamed or deleted"):
        numbers.require_in_place()
    if change == "moved":
        kept.rename(path)
        numbers.require_in_place()


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
def test_a_durable_database_waits_for_the_disk(tmp_path: Path, durable: bool, level: int) -> None:
    with opened(tmp_path / "study.db", durable=durable) as found:
        found.use_wal()
        found.use_wal()  # idempotent
        with found.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_closing_is_idempotent_and_leaves_one_file(numbers: Database) -> None:
    insert(numbers, [1])
    numbers.close()
    numbers.close()
    assert [path.name for path in Path(numbers.name).parent.iterdir()] == ["numbers.db"]
    assert sqlite3.connect(numbers.name).execute("SELECT n FROM numbers").fetchall() == [(1,)]


@pytest.mark.parametrize("storage", ["", "studies.db", "sqlite://", "sqlite:///:memory:", "sqlite:///a.db?mode=ro"])
def test_a_storage_that_does_not_outlive_the_process_is_refused(tmp_path: Path, storage: str) -> None:
    with pytest.raises(ArgumentError, match="storage"):
        database_url(storage, tmp_path / "study.db")


def test_a_relative_path_of_a_file_stays_the_same_file_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert database_url("sqlite:///a/b.db", tmp_path).database == str(tmp_path / "a" / "b.db")
    assert database_url(None, tmp_path / "study.db").database == str(tmp_path / "study.db")


def test_the_name_of_a_server_hides_its_password(tmp_path: Path) -> None:
    url = database_url("nosuchserver://me:secret@host/studies", tmp_path)
    with pytest.raises(MissingDependencyError, match="driver that is not installed") as caught:
        Database(url, is_writable=True)
    assert "host/studies" in str(caught.value)
    assert "secret" not in str(caught.value)
