"""What a session writes, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import small_study

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import StorageError
from lightning_hwtune.host import file_systems
from lightning_hwtune.store.files import StudyFiles


def test_an_observer_that_fails_leaves_log_and_state_at_one(tmp_path: Path) -> None:
    study = small_study(tmp_path)

    def fail(events: Sequence[ev.Event]) -> None:
        raise OSError(5, "Input/output error")

    with Session(study.spec, StudyFiles(tmp_path, "study"), Limits(max_trials=1)) as session:
        session.observers.append(fail)
        with pytest.raises(OSError, match="Input/output error"):
            session.controller.note(None, "a line", session.clock.now())
        assert [note.text for note in session.controller.state.notes] == ["a line"]
        session.observers.clear()
    assert [note.text for note in study.state().notes] == ["a line"]


def test_an_observer_finds_in_the_state_what_it_is_told(tmp_path: Path) -> None:
    seen: list[int] = []
    with Session(small_study(tmp_path).spec, StudyFiles(tmp_path, "study"), Limits(max_trials=1)) as session:
        session.observers.append(lambda events: seen.append(len(session.controller.state.notes)))
        session.controller.note(None, "first", session.clock.now())
        session.controller.note(None, "second", session.clock.now())
        session.observers.clear()
    assert seen == [1, 2]


def test_a_log_that_other_hosts_may_have_mounted_gets_one_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mounts").write_text(f"22 1 0:45 / {tmp_path.resolve()} rw - nfs4 filer:/export rw\n")
    monkeypatch.setattr(file_systems, "_MOUNTS", tmp_path / "mounts")
    study = small_study(tmp_path)
    for n_trials in (1, 2):
        study.run(lambda trial: trial.report(1, error=0.5), max_trials=n_trials, executor="inline", check=False)
    [note] = [note.text for note in study.state().notes if "network" in note.text]
    assert "study.db' is on a network file system (nfs4), where SQLite cannot coordinate several hosts" in note
    assert capsys.readouterr().out.count(note) == 1


def test_the_trials_of_a_lost_storage_lead_to_the_noted_one(tmp_path: Path) -> None:
    noted, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("noted", "other"))
    study = small_study(tmp_path, storage=noted)
    study.run(lambda trial: trial.report(1, error=0.5), max_trials=1, executor="inline", check=False, progress=False)
    with pytest.raises(StorageError, match=r"noted\.db'.*leave out the storage to continue"):
        small_study(tmp_path, storage=other).refuse_foreign_folder()
    assert len(small_study(tmp_path).state().trials) == 1
