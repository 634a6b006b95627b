"""A study's folder is renamed, deleted or replaced while the study runs: no trial fails because of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import study_functions as functions
from study_bench import check_log, run, small_study, states

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import StorageError

Act = Callable[[Path], Any]


def _rename(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))


def _replace(folder: Path) -> None:
    _rename(folder)
    shutil.copytree(folder.with_name("other"), folder)


def _rename_and_leave_a_file(folder: Path) -> None:
    _rename(folder)
    folder.write_text("")


def _delete(folder: Path) -> None:
    """Deletes the folder at once: the study ends this process as soon as it misses the folder."""
    _rename(folder)
    shutil.rmtree(folder.with_name("renamed"), ignore_errors=True)


def _acts_once(act: Act, *, saves: bool) -> Callable[[Any], None]:
    """Returns a training in which trial 2 acts on the study's folder, and then saves, fails or reports."""

    def train(trial: hwt.Trial) -> None:
        folder = functions.study_dir(trial)
        for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
            verdict = trial.report(epoch, error=trial["x"])
            if trial.id == 2 and epoch == 1 and not folder.with_name("acted").exists():
                folder.with_name("acted").touch()
                act(folder)
                if not saves:
                    raise ValueError("no such folder")
            if verdict.kind != "continue":
                break
        trial.save(epoch)

    return train


@pytest.mark.parametrize(
    ("act", "saves", "executor"),
    [
        (_rename, True, "local"), (_rename, False, "inline"), (_replace, True, "inline"), (_replace, False, "local"),
        (_rename_and_leave_a_file, True, "inline"), (_rename_and_leave_a_file, False, "inline"),
    ],
)  # fmt: skip
def test_a_study_whose_folder_is_gone_ends_in_order_and_continues_where_it_is_now(
    tmp_path: Path, act: Act, saves: bool, executor: str
) -> None:
    run(small_study(tmp_path, "other"), functions.plain, max_trials=1, executor="inline")
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    # the folder or its log, whichever the study looks for first while the folder is being replaced
    with pytest.raises(StorageError, match=r"'.*study(/study\.db)?' was moved, renamed or deleted while its study ran"):
        run(study, _acts_once(act, saves=saves), max_trials=5, executor=executor)
    if act is _rename:
        assert not study.dir.exists(), "made again"
    renamed = small_study(tmp_path, "renamed", pool=hwt.Pool("cpu", devices=1))
    state = check_log(renamed)
    assert all(trial.n_retries == 0 for trial in state.trials)
    assert state.segments[-1].outcome == "interrupted"
    run(renamed, functions.plain, max_trials=5, executor="inline")
    check_log(renamed)
    assert states(renamed)[TrialState.FAILED] == 0
    assert len(renamed.state().trials) == 5


def test_a_study_whose_folder_is_deleted_says_so_and_begins_anew(tmp_path: Path) -> None:
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    with pytest.raises(StorageError, match="moved, renamed or deleted"):
        run(study, _acts_once(_delete, saves=True), max_trials=5)
    assert not study.dir.exists()
    again = run(small_study(tmp_path), functions.plain, max_trials=4, executor="inline")
    assert len(check_log(again).trials) == 4


def _move_log(folder: Path) -> None:
    for file in folder.glob("*.db*"):
        file.rename(file.with_name(f"moved_{file.name}"))


def _move_external_log(folder: Path) -> None:
    _move_log(folder.with_name("logs"))


def _replace_log(folder: Path) -> None:
    _move_log(folder)
    shutil.copy(folder / "moved_study.db", folder / "study.db")


@pytest.mark.parametrize("executor", ["inline", "local"])
@pytest.mark.parametrize("act", [_move_log, _move_external_log, _replace_log])
def test_a_study_whose_log_is_moved_ends_and_continues_when_the_log_is_back(
    tmp_path: Path, act: Act, executor: str
) -> None:
    """A connection still writes to a file that was moved or deleted, so nothing but the path shows it."""
    storage = f"sqlite:///{tmp_path}/logs/all.db" if act is _move_external_log else None
    (tmp_path / "logs").mkdir()
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1), storage=storage)
    with pytest.raises(StorageError, match=r"the log '.*\.db' was moved, renamed or deleted while its study ran"):
        run(study, _acts_once(act, saves=True), max_trials=5, executor=executor)
    for file in tmp_path.glob("*/moved_*"):
        file.replace(file.with_name(file.name.removeprefix("moved_")))
    state = check_log(study)
    assert state.segments[-1].outcome == "interrupted"
    run(study, functions.plain, max_trials=5, executor="inline")
    check_log(study)
    assert states(study)[TrialState.FAILED] == 0
    assert len(study.state().trials) == 5


def _leave_behind(old: Path, new: Path) -> None:
    """The study continues in a new folder, and its files stay where they were."""


def _copy_all_but_one(old: Path, new: Path) -> None:
    shutil.copytree(old, new)
    next(new.glob("trials/*/checkpoints/*.ckpt")).unlink()


@pytest.mark.parametrize(
    ("act", "n_missing"),
    [(_leave_behind, 4), (_copy_all_but_one, 1), (shutil.copytree, 0)],
    ids=["left", "part", "copy"],
)
def test_a_study_continued_in_another_folder_names_only_checkpoints_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], act: Callable[[Path, Path], Any], n_missing: int
) -> None:
    one = {"pool": hwt.Pool("cpu", devices=1), "storage": f"sqlite:///{tmp_path}/all.db"}
    old = run(small_study(tmp_path / "old", **one), functions.plain, max_trials=4, executor="inline")
    assert old.best.checkpoint is not None
    act(old.dir, tmp_path / "new" / "study")
    study = small_study(tmp_path / "new", **one)
    for found in (study.front()["checkpoint"].tolist(), [study.best.checkpoint]):
        assert all(path is None or Path(path).is_file() for path in found)
    run(study, functions.plain, max_trials=5, executor="inline", progress=True)
    noted = [line for line in capsys.readouterr().out.splitlines() if "this folder lacks" in line]
    assert len(noted) == bool(n_missing)
    assert all(f"{n_missing} of the study's 4 checkpoints" in line for line in noted)
    assert len(study.state().trials) == 5
