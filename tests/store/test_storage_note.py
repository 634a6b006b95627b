from __future__ import annotations

from pathlib import Path

import pytest
from postgres_server import PASSWORD, PostgresServer
from store_processes import files, note

from lightning_hwtune.errors import StorageError, StudyNotFoundError
from lightning_hwtune.store.files import study_names
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.storage_note import note_storage, noted_storage


@pytest.mark.parametrize(
    ("storage", "noted"),
    [
        ("postgres://me:secret@host:5433/studies", "postgresql+psycopg://me@host:5433/studies"),
        (
            "postgresql://host/x?sslmode=require&password=secret&service=s",
            "postgresql+psycopg://host/x?service=s&sslmode=require",
        ),
        ("sqlite:////data/studies.db", "sqlite:////data/studies.db"),
    ],
)
def test_a_note_leads_to_the_storage_and_has_no_password(tmp_path: Path, storage: str, noted: str) -> None:
    assert noted_storage(tmp_path) is None
    note_storage(tmp_path, storage)
    assert noted_storage(tmp_path) == noted
    assert "secret" not in (tmp_path / "storage.json").read_text()
    written = (tmp_path / "storage.json").stat().st_mtime_ns
    note_storage(tmp_path, storage)
    assert (tmp_path / "storage.json").stat().st_mtime_ns == written
    note_storage(tmp_path, "postgresql://elsewhere/studies")
    assert noted_storage(tmp_path) == "postgresql+psycopg://elsewhere/studies"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"storage": 3}', '{"storage": "nowhere"}', "\x00"])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "storage.json").write_text(content)
    with pytest.raises(StorageError, match=r"storage.json' is damaged .*give the storage"):
        noted_storage(tmp_path)


def test_a_log_is_found_by_its_note_alone(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, study = postgres.fresh_schema(), files(tmp_path)
    study.create()
    assert study_names(tmp_path) == []
    with EventLog.open(study, storage=storage, create=True) as log:
        log.append([note("a")])
    with pytest.raises(StudyNotFoundError):
        EventLog.open(study, create=False)
    note_storage(study.root, storage)
    assert study_names(tmp_path) == ["study"]
    with pytest.raises(StorageError, match=r"refuses this user or this password.*PGPASSFILE"):
        EventLog.open(study, create=False)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for create in (False, True):
        with EventLog.open(study, create=create) as log:
            assert log.count() == 1
    assert not study.database_path.exists()


def test_a_log_in_the_folder_comes_before_the_note(tmp_path: Path) -> None:
    study = files(tmp_path)
    study.create()
    with EventLog.open(study, create=True) as log:
        log.append([note("a")])
    note_storage(study.root, "postgresql://no.such.host.invalid/x")
    with EventLog.open(study, create=False) as log:
        assert log.count() == 1
