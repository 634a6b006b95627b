"""A checkpoint that is a folder: its digest, its verification, and its removal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.host.file_trees import digest_of, flush, remove, size_of
from lightning_hwtune.store.checkpoints import stray, verify
from lightning_hwtune.store.files import StudyFiles

PATH = "trials/000/checkpoints/segment_01_epochs_1.ckpt"


def shards(folder: Path, *, n: int = 2) -> Path:
    """Writes a folder as a strategy does, with a shard per rank in it."""
    (folder / "inner").mkdir(parents=True)
    (folder / "meta.pt").write_bytes(b"meta")
    for rank in range(n):
        (folder / "inner" / f"__{rank}_0.distcp").write_bytes(bytes([rank]) * (rank + 10))
    return folder


def stored(path: Path) -> Checkpoint:
    return Checkpoint(PATH, digest_of(path), size_of(path), 1, 1.0, 1.0, 1.0, 1.0)


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    assert size_of(shards(tmp_path / "a")) == 4 + 10 + 11
    flush(tmp_path / "a")


def test_equal_folders_have_the_same_digest_wherever_they_are(tmp_path: Path) -> None:
    first, second = shards(tmp_path / "a"), shards(tmp_path / "b")
    assert digest_of(first) == digest_of(second)
    (second / "empty").mkdir()
    assert digest_of(first) == digest_of(second)


def _swap(folder: Path) -> None:
    one, other = folder / "inner" / "__0_0.distcp", folder / "inner" / "__1_0.distcp"
    one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_bytes)
    other.write_bytes(one_bytes)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "inner" / "__1_0.distcp").unlink(),
        lambda folder: (folder / "inner" / "__2_0.distcp").write_bytes(b""),
        lambda folder: (folder / "meta.pt").write_bytes(b"atem"),
        lambda folder: (folder / "meta.pt").rename(folder / "meta"),
        lambda folder: (folder / "meta.pt").rename(folder / "inner" / "meta.pt"),
        _swap,
        remove,
    ],
)
def test_a_changed_folder_does_not_verify(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = shards(tmp_path / "a")
    checkpoint = stored(folder)
    assert verify(folder, checkpoint) == folder
    change(folder)
    with pytest.raises(CheckpointError):
        verify(folder, checkpoint)


def test_a_folder_is_deleted_and_a_left_one_is_found(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "study")
    folder = shards(files.root / PATH)
    left = shards(folder.with_name("segment_02_epochs_3.part"))
    kept = shards(folder.with_name("mine"))
    assert files.present(PATH) == folder
    assert list(stray(files.root, {PATH}, [2])) == [left]
    assert files.delete(PATH)
    assert not folder.exists()
    assert files.present(PATH) is None
    assert files.delete(PATH)
    assert kept.exists()


def test_only_the_link_to_a_folder_is_deleted(tmp_path: Path) -> None:
    files, outside = StudyFiles(tmp_path, "study"), shards(tmp_path / "outside")
    (files.root / PATH).parent.mkdir(parents=True)
    (files.root / PATH).symlink_to(outside, target_is_directory=True)
    assert files.delete(PATH)
    assert (outside / "meta.pt").exists()
    assert not (files.root / PATH).is_symlink()
