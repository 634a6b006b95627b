"""Full disks under a rank's log, a sweep's folder and user code. A small file system is really filled."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.apps.hydra.folders import claim_sweep_dir
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import StorageError, first_line
from lightning_hwtune.host.disk_space import full_disks
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.training.process.log_output import _LogFile, _text_stream


def fill(folder: Path) -> Path:
    """Fill the disk of a folder; return the file that does."""
    path = folder / "filler"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(file, bytes(4096)):
            pass
    except OSError:
        return path
    finally:
        os.close(file)


def test_full_disks_are_found(small_disk: Path, tmp_path: Path) -> None:
    folders = [tmp_path, small_disk / "a" / "not there yet", small_disk]
    assert full_disks(folders) == []
    fill(small_disk)
    assert full_disks(folders) == [small_disk / "a" / "not there yet"], "each disk once"


def test_what_a_full_disk_cannot_take_of_a_log_is_dropped() -> None:
    file = _LogFile(os.open("/dev/full", os.O_WRONLY))
    stream = _text_stream(file)
    print("lost", "x" * 100_000, file=stream, flush=True)
    stream.close()
    assert "No space left" in file.error


@pytest.mark.parametrize("number", [errno.EBADF, errno.EPIPE])
def test_other_errors_of_an_output_stay_errors(number: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    file = _LogFile(writing)
    if number == errno.EBADF:
        os.close(writing)
    with pytest.raises(OSError, match=os.strerror(number)):
        file.write(b"lost")
    assert file.error == ""


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_part(small_disk: Path) -> None:
    path = write_whole(small_disk / "a.yaml", "old")
    fill(small_disk)
    with pytest.raises(StorageError, match="Free some space"):
        write_whole(path, "new" * 10_000)
    assert path.read_text() == "old"
    assert sorted(file.name for file in small_disk.iterdir()) == ["a.yaml", "filler"]


@pytest.mark.parametrize("place", ["sweep", "study"])
def test_a_sweep_whose_folder_is_on_a_full_disk_says_so(small_disk: Path, tmp_path: Path, place: str) -> None:
    folders = {"sweep": tmp_path / "sweep", "study": tmp_path / "study", place: small_disk / place}
    folders[place].mkdir()
    filler = fill(small_disk)
    with pytest.raises(StorageError, match="Free some space"):
        claim_sweep_dir(folders["study"], folders["sweep"])
    filler.unlink()
    assert claim_sweep_dir(folders["study"], folders["sweep"]) == folders["sweep"]


def _chatty(trial: hwt.Trial) -> None:
    """Print while the disk is full, then free it again."""
    disk = Path(trial.dir).parents[2]
    for epoch in range(1, trial.max_epochs + 1):
        filler = fill(disk)
        print("y" * 50_000, flush=True)
        print("z" * 50_000, file=sys.stderr)
        filler.unlink()
        if trial.report(epoch, error=1 / epoch).kind != "continue":
            return


def _writing(trial: hwt.Trial) -> None:
    fill(Path(trial.dir).parents[2])
    (Path(trial.dir) / "table.csv").write_bytes(bytes(100_000))


def study(disk: Path, tmp_path: Path) -> hwt.Study:
    space, storage = hwt.SearchSpace(x=hwt.Float(0, 1)), f"sqlite:///{tmp_path}/log.db"
    return hwt.Study(
        "s", space, [hwt.Metric("error", "min")], scheduler=hwt.RunToEnd(max_epochs=2), dir=disk, storage=storage,
        pool=hwt.Pool("cpu", devices=1),
    )  # fmt: skip


def run(begun: hwt.Study, train: Any) -> None:
    begun.run(train, max_trials=1, check=False, progress=False)


def test_a_full_disk_under_the_log_of_a_rank_costs_output_and_no_trial(small_disk: Path, tmp_path: Path) -> None:
    begun = study(small_disk, tmp_path)
    run(begun, _chatty)
    state = begun.state()
    assert [trial.state for trial in state.trials] == [TrialState.COMPLETED]
    assert any("the output of rank 0 is incomplete" in note.text for note in state.notes)


def test_an_error_of_user_code_on_a_full_disk_names_the_disk(small_disk: Path, tmp_path: Path) -> None:
    begun = study(small_disk, tmp_path)
    with pytest.raises(hwt.TrialError) as raised:
        run(begun, _writing)
    line = first_line(str(raised.value.__cause__ or raised.value))
    assert f"there is no space left on the disk of {begun.dir}" in str(raised.value), line
