from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Checkpoint, TrialRecord
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError, CheckpointError, StorageError
from lightning_hwtune.host.file_trees import digest_of as digest
from lightning_hwtune.store.files import StudyFiles, make_folder, study_names


def saved(files: StudyFiles, trial_id: int, segment: int, content: bytes = b"weights") -> Checkpoint:
    """Puts a checkpoint where the training puts it."""
    path = files.trial_dir(trial_id) / "checkpoints" / f"segment_{segment:02d}_epochs_3.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Checkpoint(files.relative(path), digest(path), len(content), 3, *[1.0] * 4)


@pytest.mark.parametrize("name", ["demo", "résumé 2", "a.b", "_x", "lr=0.1", "c++", "7", "x" * 200])
def test_plain_names(tmp_path: Path, name: str) -> None:
    files = StudyFiles(tmp_path, name)
    files.create()
    assert files.root.is_dir()
    assert files.root.parent == tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/abs",
        "a\\b",
        ".hidden",
        "end.",
        "end ",
        " x",
        "a\nb",
        "a\0b",
        "x" * 201,
        7,
        None,
    ],
)
def test_names_that_are_no_plain_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="plain folder name"):
        StudyFiles(tmp_path, name)


def test_where_things_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = StudyFiles(Path("hwtune"), "demo")
    monkeypatch.chdir("/")  # a later change of the working directory moves nothing
    assert files.root == tmp_path / "hwtune" / "demo"
    assert files.database_path == files.root / "study.db"
    assert files.trial_dir(17) == files.root / "trials" / "017"
    assert files.trial_dir(12345) == files.root / "trials" / "12345"
    assert not files.root.exists()


def test_paths_in_the_log_are_relative(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "demo")
    inner = files.root / "trials" / "017" / "a.ckpt"
    assert files.relative(inner) == "trials/017/a.ckpt"
    assert files.path("trials/017/a.ckpt") == inner
    (tmp_path / "link").symlink_to(tmp_path)
    assert StudyFiles(tmp_path / "link", "demo").relative(inner) == "trials/017/a.ckpt"
    with pytest.raises(ArgumentError, match="inside the study's folder"):
        files.relative(tmp_path / "elsewhere.ckpt")


@pytest.mark.parametrize("path", ["../other/study.db", "/etc/passwd", "trials/../../x", ""])
def test_a_log_cannot_point_out_of_the_folder(tmp_path: Path, path: str) -> None:
    files = StudyFiles(tmp_path, "demo")
    for use in (files.path, files.delete):
        with pytest.raises(CheckpointError, match="outside the study's folder"):
            use(path)


def test_digest_is_blake2b_256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    assert digest(tmp_path / "file") == hashlib.blake2b(content, digest_size=32).hexdigest()


def test_a_checkpoint_is_what_the_log_vouches_for(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path / "here", "demo")
    checkpoint = saved(files, 17, 2)
    assert files.verify(checkpoint).read_bytes() == b"weights"
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert StudyFiles(tmp_path / "there", "demo").verify(checkpoint).read_bytes() == b"weights"


def test_a_checkpoint_that_is_not(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "demo")
    checkpoint = saved(files, 17, 2)
    path = files.path(checkpoint.path)
    path.write_bytes(b"Weights")
    with pytest.raises(CheckpointError, match=f"{checkpoint.path}.*has the digest {digest(path)}.*{checkpoint.digest}"):
        files.verify(checkpoint)
    path.write_bytes(b"weig")
    with pytest.raises(CheckpointError, match="4 bytes, but 7 according to the log"):
        files.verify(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{checkpoint.path}.*No such file"):
        files.verify(checkpoint)


def test_sweep_takes_what_the_log_started_and_does_not_know_and_nothing_else(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "demo")
    kept, stale = saved(files, 0, 2), saved(files, 0, 1)
    unfinished = files.path(kept.path).with_name("segment_03_epochs_9.part")
    unfinished.write_bytes(b"half")
    users = [
        files.trial_dir(0) / "checkpoints" / "best.ckpt",
        files.trial_dir(0) / "segment_01_epochs_1.ckpt",
        files.root / "trials" / "best" / "checkpoints" / "segment_01_epochs_3.ckpt",
    ]
    for path in users:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    never_started = [saved(files, 0, 4), saved(files, 1, 2), saved(files, 7, 1), saved(files, 0, 0)]
    state = state_of(segments=[3, 1], known=[kept, None])
    assert files.sweep(state) == [stale.path, files.relative(unfinished)]
    assert files.sweep(state) == []
    assert files.verify(kept)
    assert all(files.verify(checkpoint) for checkpoint in never_started)
    assert all(path.exists() for path in users)


def state_of(segments: list[int], known: list[Checkpoint | None]) -> StudyState:
    """A state in which so many segments of each trial were started."""
    spec = StudySpec(
        "demo",
        SearchSpace(x=Float(0, 1)),
        Objectives([Metric("a", "min")]),
        ASHA(9, first_rung=1),
        Random(),
        Pool("cpu", 1),
    )
    state = StudyState(spec)
    for trial_id, (segment, checkpoint) in enumerate(zip(segments, known, strict=True)):
        trial = TrialRecord(trial_id, {"x": 0.5}, 0, 0, 1, 0.0)
        trial.segment, trial.checkpoint = segment, checkpoint
        state.trials.append(trial)
    return state


def test_deleting_twice_is_no_error(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "demo")
    checkpoint = saved(files, 0, 1)
    assert files.delete(checkpoint.path)
    assert not files.path(checkpoint.path).exists()
    assert files.delete(checkpoint.path)


def test_what_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "demo")
    (files.root / "trials" / "000").mkdir(parents=True)
    assert not files.delete("trials/000")


def test_study_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        files = StudyFiles(tmp_path, name)
        files.create()
        files.database_path.touch()
    (tmp_path / "no study").mkdir()
    assert study_names(tmp_path) == ["a", "b"]
    assert study_names(tmp_path / "nowhere") == []


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for bytes, and with all of its inodes used."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=20", "tmpfs", folder]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount file systems")
    with contextlib.suppress(OSError):
        for number in range(30):
            (folder / f"file_{number}").touch()
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_used_up_inodes_are_a_full_disk(few_inodes: Path) -> None:
    with pytest.raises(StorageError, match="df -i") as caught:
        make_folder(few_inodes / "study", wait_s=0.1)
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_waits_for_room(few_inodes: Path) -> None:
    timer = threading.Timer(0.3, (few_inodes / "file_0").unlink)
    timer.start()
    make_folder(few_inodes / "study")
    assert (few_inodes / "study").is_dir()
    timer.join()


def test_other_reasons_are_no_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        make_folder(tmp_path / "file" / "study")
    assert caught.value.errno == errno.ENOTDIR
    assert "Free some space" not in str(caught.value)


def test_a_relative_folder_needs_a_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match="'studies' is relative to the working directory, which was deleted"):
        StudyFiles(Path("studies"), "s")
    assert StudyFiles(tmp_path / "studies", "s").root == tmp_path / "studies" / "s"
