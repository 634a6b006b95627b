"""A study in a folder where nothing can be written: every question is answered, and nothing there is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_study import store
from typer.testing import CliRunner, Result

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import StorageError, StudyLockedError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.read_only import read_only_source

QUESTIONS = [[word] for word in ("status", "front", "best", "trials", "rungs", "export", "plot")]
QUESTIONS += [["why", "0"], ["logs", "0"]]


def kill_open(root: Path) -> None:
    """Leaves the log as a killed process does: its newest transactions in the file `-wal`."""
    text = f"""
import os, sqlite3, signal
from pathlib import Path
from lightning_hwtune.core.events import Noted
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
log = EventLog.open(StudyFiles(Path({str(root.parent)!r}), {root.name!r}), create=True)
list(log.read())
log.append([Noted(at=1_800_000_000.0, trial_id=0, text="the newest line")])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", text], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (root / "study.db-wal").stat().st_size > 0


@pytest.fixture(params=["closed", "killed", "killed, -shm lost", "live"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder of studies with one study, on a read-only file system where this user may mount one."""
    root = store(tmp_path / "writable").root
    if request.param.startswith("killed"):
        kill_open(root)
    if request.param == "killed, -shm lost":
        (root / "study.db-shm").unlink()
    there = tmp_path / "mounted"
    there.mkdir()
    session = None
    if request.param == "live":
        spec = hwt.Study.load("digits", root.parent).spec
        session = Session(spec, StudyFiles(root.parent, "digits"), Limits(max_trials=9))
        session.__enter__()
    try:
        with read_only(root.parent, there):
            yield there
    finally:
        if session is not None:
            session.__exit__(None, None, None)


class read_only:
    """Shows a folder at another place, where nothing can be written."""

    def __init__(self, folder: Path, there: Path) -> None:
        self.folder, self.there, self.is_mounted = folder, there, False

    def __enter__(self) -> None:
        if os.geteuid() == 0 and shutil.which("mount") is not None:
            bind = subprocess.run(["mount", "--bind", self.folder, self.there], capture_output=True)
            self.is_mounted = bind.returncode == 0
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,ro,bind", self.there], check=True, capture_output=True)
        elif os.geteuid() == 0:
            pytest.skip("this user may write everywhere and may not mount anything")
        else:
            self.there.rmdir()
            self.folder.rename(self.there)
            self._allow(0o500)

    def __exit__(self, *unused: object) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", self.there], check=True, capture_output=True)
        else:
            self._allow(0o700)

    def _allow(self, mode: int) -> None:
        for path in [self.there, *self.there.rglob("*")]:
            path.chmod(mode if path.is_dir() else mode & 0o600)


def hwtune(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result


@pytest.mark.slow
def test_every_question_is_answered(
    mounted: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(OSError, match=r"."):
        (mounted / "digits" / "probe").touch()
    for words in QUESTIONS:
        assert hwtune(*words, "--dir", mounted).stdout
    assert sorted(path.name for path in here.iterdir()) == ["digits-export", "digits-figures"]
    assert (here / "digits-export" / "trials.csv").is_file()
    assert (here / "digits-figures" / "front.png").is_file()

    loaded = hwt.Study.load("digits", mounted)
    spec = loaded.spec
    parts = {"scheduler": spec.scheduler, "pool": spec.pool, "dir": mounted}
    made = hwt.Study("digits", spec.space, spec.objectives, **parts)
    assert len(made.front()) > 0
    assert made.front().equals(loaded.front())
    assert made.best.checkpoint is not None
    assert made.best.checkpoint.read_bytes() == b"weights"
    assert ("the newest line" in loaded.why(0)) == ("killed" in request.node.name)
    ParetoPrior.from_studies(loaded, objectives=["error"]).check(spec.space)
    assert not list(Path(tempfile.gettempdir()).glob("hwtune-read-*"))


def test_what_writes_is_refused_as_an_error_of_ours(mounted: Path) -> None:
    study = hwt.Study.load("digits", mounted)
    with pytest.raises(StorageError):
        study.run(print, max_trials=99, progress=False)
    with pytest.raises((StorageError, StudyLockedError)):  # locked: where a session of the test drives it
        study.enqueue({"lr": 0.0123, "devices": 1})
    result = CliRunner().invoke(app, ["export", "--dir", str(mounted), "--out", str(mounted / "out")])
    assert (result.exit_code, "cannot be" in result.stderr) == (1, True)


def test_a_file_that_this_user_may_write_is_read_as_ever(tmp_path: Path) -> None:
    files = store(tmp_path, n_trials=1)
    assert read_only_source(files.database_path) is None
    assert read_only_source(tmp_path / "none.db") is None
