"""What the server keeps: the list of studies and the importance are read again only if a study has changed."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored import Stored
from stored_study import store

from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy, newest_first, study_entries
from lightning_hwtune.web import studies as studies_module
from lightning_hwtune.web.studies import Studies, Watcher


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the studies that were read for the list, in this order."""
    names: list[str] = []

    def noted(dir: Path, chosen: list[str], storage: str | None) -> list[dict[str, Any]]:  # noqa: A002
        names.extend(chosen)
        return study_entries(dir, chosen, storage)

    monkeypatch.setattr(studies_module, "study_entries", noted)
    return names


def test_the_list_reads_only_what_has_changed(read: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = Stored("0.2.0.dev0", "asha_three_counts")
    half, total = len(stored.events) // 2, len(stored.events)
    files = stored.put(tmp_path, half)
    store(tmp_path, "other", 3)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_bytes(b"no database" * 100)
    studies = Studies(tmp_path, None)

    def are_those_of_the_command() -> bool:
        return studies.entries() == study_entries(tmp_path, newest_first(tmp_path, None), None)

    def changes() -> set[str]:
        read.clear()
        assert are_those_of_the_command()
        return set(read) - {"broken"}

    assert changes() == {files.name, "other"}
    assert changes() == set()
    with EventLog.open(files, create=True) as log:
        log.append(stored.events[half : half + 5])
        assert changes() == {files.name}
        monkeypatch.setattr(studies_module, "_PATIENCE", 1e9)
        with Lease(log).acquire(time.time()):
            assert changes() == {files.name}  # it runs now
            log.append(stored.events[half + 5 : total])
            read.clear()
            studies.entries()
            assert files.name not in read  # a running study is not read at every event
        assert changes() == {files.name}


@pytest.mark.slow
def test_the_importance_is_computed_once_for_the_same_events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = Stored("0.2.0.dev0", "asha_three_counts")
    files = stored.put(tmp_path, 20)
    computed = []
    original = StoredStudy.importance

    def counted(self: StoredStudy) -> list[dict[str, Any]]:
        computed.append(self.reader.number)
        return original(self)

    monkeypatch.setattr(StoredStudy, "importance", counted)

    async def ask() -> None:
        watcher = Watcher(StoredStudy.load(files.name, tmp_path, None))
        await watcher.ask(watcher.watched.read)
        first, second = await asyncio.gather(watcher.importance(), watcher.importance())
        assert first == second == await watcher.importance()
        assert len(computed) == 1
        with EventLog.open(files, create=True) as log:
            log.append(stored.events[20:21])
        await watcher.ask(watcher.watched.read)
        await watcher.importance()
        assert len(computed) == 2

    pytest.importorskip("sklearn")
    asyncio.run(ask())
