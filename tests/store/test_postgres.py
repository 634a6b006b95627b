"""What a server database means for a user: which URLs are accepted, and what each refusal says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from postgres_server import PASSWORD, PostgresServer
from store_processes import files, note

from lightning_hwtune.errors import ArgumentError, HwTuneError, MissingDependencyError, StorageError
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_errors import LOST_CONNECTION
from lightning_hwtune.store.database_url import database_url
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.stored_names import stored_names


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgres+psycopg", "postgresql+psycopg"])
def test_these_schemes_mean_psycopg_3(tmp_path: Path, scheme: str) -> None:
    url = database_url(f"{scheme}://me@host/studies", tmp_path)
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.host, url.database) == ("me", "host", "studies")


def test_another_synchronous_driver_stays(tmp_path: Path) -> None:
    assert database_url("postgresql+psycopg2://host/studies", tmp_path).drivername == "postgresql+psycopg2"


@pytest.mark.parametrize(
    ("storage", "driver", "instead"),
    [
        ("postgresql+asyncpg://me:secret@host/x", "asyncpg", "postgresql://"),
        ("postgres+psycopg_async://me:secret@host/x", "psycopg_async", "postgresql://"),
        ("sqlite+aiosqlite:////data/studies.db", "aiosqlite", "sqlite://"),
    ],
)
def test_an_asynchronous_driver_is_refused_by_name(tmp_path: Path, storage: str, driver: str, instead: str) -> None:
    with pytest.raises(ArgumentError, match=rf"'{instead}' instead of .*{driver} is asynchronous") as caught:
        database_url(storage, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_port_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="storage"):
        database_url("postgresql://host:many/x", tmp_path)


def test_a_missing_driver_is_named_with_its_installation() -> None:
    code = """
import sys
from pathlib import Path
sys.modules["psycopg"] = None
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_url import database_url
Database(database_url("postgresql://me:secret@host/x", Path()), is_writable=True)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'lightning_hwtune[postgres]'" in ended.stderr.splitlines()[-1]
    assert MissingDependencyError.__name__ in ended.stderr.splitlines()[-1]


def refusal(storage: str, folder: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        EventLog.open(files(folder), storage=storage, create=True)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def weak(postgres: PostgresServer) -> str:
    """The name of a user who may connect, but may not create tables."""
    postgres.execute("DROP ROLE IF EXISTS weak")
    postgres.execute("CREATE ROLE weak LOGIN PASSWORD 'correct horse'")
    return "weak"


def test_each_refusal_says_what_to_do(postgres: PostgresServer, weak: str, tmp_path: Path) -> None:
    unreachable = refusal(postgres.url(port=1), tmp_path)
    assert "cannot be reached. Is it running, and are the host and the port right?" in str(unreachable)
    assert unreachable.errno == LOST_CONNECTION
    assert "cannot be reached" in str(refusal("postgresql://no.such.host.invalid/x", tmp_path))
    for url in (postgres.url(password="wrong"), postgres.url(password=None), postgres.url(user="stranger")):
        refused = refusal(url, tmp_path)
        assert "refuses this user or this password" in str(refused)
        assert "PGPASSFILE" in str(refused)
        assert refused.errno is None
    assert "no database of this name: create it" in str(refusal(postgres.url("absent"), tmp_path))
    rights = str(refusal(postgres.url(user=weak), tmp_path))
    assert "lacks the right to create or use the tables" in rights
    assert "GRANT USAGE, CREATE ON SCHEMA public TO weak" in rights


def test_a_user_without_rights_to_the_tables_may_not_read(postgres: PostgresServer, weak: str, tmp_path: Path) -> None:
    name = postgres.fresh_database()
    with EventLog.open(files(tmp_path), storage=postgres.url(name), create=True) as log:
        log.append([note("a")])
    with pytest.raises(StorageError, match="lacks the right to create or use the tables"):
        stored_names(postgres.url(name, user=weak))


def test_a_full_server_disk_and_a_standby_have_their_messages(postgres: PostgresServer, tmp_path: Path) -> None:
    def raised(sqlstate: str) -> StorageError:
        with Database(database_url(postgres.url(), tmp_path), is_writable=True) as database:
            with pytest.raises(StorageError) as caught, database.writing() as connection:
                connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'as said' USING ERRCODE='{sqlstate}'; END $$")
            return caught.value

    full = raised("53100")
    assert "the disk of the server is full. No result is lost" in str(full)
    assert full.errno is not None
    assert "only allows reading" in str(raised("25006"))
    assert "accepts no connection right now" in str(raised("57P03"))
    assert raised("57P03").errno == LOST_CONNECTION
    assert "the database raised an error (as said" in str(raised("22000"))


def test_a_password_file_and_a_service_stand_for_what_the_url_leaves_out(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, secret = postgres.fresh_database(), tmp_path / "passwords"
    secret.write_text(f"127.0.0.1:{postgres.port}:*:hw:{PASSWORD}\n")
    secret.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(secret))
    with EventLog.open(files(tmp_path), storage=postgres.url(name, password=None), create=True) as log:
        log.append([note("a")])
    services = tmp_path / "services"
    services.write_text(f"[studies]\nhost=127.0.0.1\nport={postgres.port}\nuser=hw\ndbname={name}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGSERVICE", "studies")
    assert stored_names("postgresql://") == ["study"]
    monkeypatch.delenv("PGSERVICE")
    assert stored_names("postgresql://?service=studies") == ["study"]
    with pytest.raises(HwTuneError, match="nowhere"):
        stored_names("postgresql://?service=nowhere")
