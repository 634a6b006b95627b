"""A study's folder: its layout, and the checkpoint files in it.

    <dir>/<name>/
        study.db                        the event log and the lease
        storage.json                    where the log is, if it is in another database (`store.storage_note`)
        study_id.json                   the id of the study that this folder belongs to (`store.identity`)
        study.cache                     the log, read (`store.facts_cache`); may be deleted at any time
        trials/017/checkpoints/         what trial 17 resumes from
        trials/017/logs/ ...            written by the training

The log contains paths relative to this folder, so the folder can be moved, copied or renamed. The study has the name of
the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, final

from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.errors import ArgumentError, CheckpointError, StorageError
from lightning_hwtune.host.disk_space import FULL_DISK_ERRORS
from lightning_hwtune.host.file_trees import remove
from lightning_hwtune.store.checkpoints import CHECKPOINTS, stray, verify
from lightning_hwtune.store.disk_budget import Victim, candidates, evictions

if TYPE_CHECKING:
    from lightning_hwtune.core.state import StudyState

__all__ = ["STORAGE_NOTE", "StudyFiles", "make_folder", "own_folder_hint", "study_names", "write_whole"]

_DATABASE = "study.db"
STORAGE_NOTE = "storage.json"
"""The file that says where the log of a study is, if it is in another database."""
_FULL_DISK_S = 5.0
_FULL_ADVICE = " Free some space (see `df -h` and `df -i`) and run the same command again."
_NAME = re.compile(r"\w(?:[\w .+=@-]*[\w+=@-])?")
_MAX_NAME_BYTES = 200


@final
class StudyFiles:
    """The folder of one study. Creating this object does not access the disk.

    Args:
        dir: folder of all studies.
        name: the study's name, a plain folder name.
        budget_bytes: maximum size of all checkpoints together; None = unlimited.

    Attributes:
        root: absolute path of the study's folder.
        database_path: path of its own SQLite file.

    Raises:
        ArgumentError: `name` is not a plain folder name.
        StorageError: `dir` is relative, and the working directory was deleted.
    """

    def __init__(self, dir: Path, name: str, *, budget_bytes: int | None = None) -> None:  # noqa: A002 - as in Study
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(os.fsencode(name)) > _MAX_NAME_BYTES:
            raise ArgumentError(
                "name",
                name,
                f"a plain folder name of at most {_MAX_NAME_BYTES} bytes: letters, digits, spaces and _ . + = @ -, "
                "starting with a letter, digit or _, and not ending with a space or dot",
            )
        self.name, self.budget_bytes = name, budget_bytes
        self.root = _absolute(dir) / name
        self.database_path = self.root / _DATABASE

    def create(self) -> None:
        """Creates the folder. Idempotent.

        Raises:
            StorageError: the folder cannot be created.
        """
        make_folder(self.root / "trials")

    def trial_dir(self, trial_id: int) -> Path:
        """Returns the folder of a trial, which may not exist yet."""
        return self.root / "trials" / f"{trial_id:03d}"

    def make_trial_dir(self, trial_id: int) -> Path:
        """Creates the folder of a trial if necessary, and returns it.

        Raises:
            StorageError: the folder cannot be created.
        """
        make_folder(self.trial_dir(trial_id))
        return self.trial_dir(trial_id)

    def scratch(self, purpose: str) -> Path:
        """Returns a folder for temporary files; it may not exist yet."""
        return self.root / "scratch" / purpose

    def present(self, relative: str | None) -> Path | None:
        """Returns the absolute path for a path in the log; None if there is no path, or no such file or folder here.

        Raises:
            CheckpointError: the path is outside the study's folder.
        """
        path = self.path(relative) if relative else None
        return path if path is not None and path.exists() else None

    def path(self, relative: str) -> Path:
        """Returns the absolute path for a path in the log.

        Raises:
            CheckpointError: the path is outside the study's folder.
        """
        parts = PurePosixPath(relative).parts
        if not parts or ".." in parts or relative.startswith("/"):
            raise CheckpointError(f"the path {relative!r} in the log is outside the study's folder")
        return self.root.joinpath(*parts)

    def relative(self, path: str | Path) -> str:
        """Returns a path relative to the study's folder, as the log stores it.

        Raises:
            ArgumentError: the path is not inside the study's folder.
        """
        for root, inner in ((self.root, Path(path)), (self.root.resolve(), Path(path).resolve())):
            if inner.is_relative_to(root):
                return inner.relative_to(root).as_posix()
        raise ArgumentError("path", str(path), f"a path inside the study's folder {str(self.root)!r}")

    def verify(self, checkpoint: Checkpoint) -> Path:
        """Returns the absolute path of a checkpoint whose file matches the log.

        Raises:
            CheckpointError: the file is missing, or its size or digest differs.
        """
        return verify(self.path(checkpoint.path), checkpoint)

    def delete(self, relative: str) -> bool:
        """Deletes a checkpoint that the log no longer lists. Returns whether the file is gone.

        If it cannot be deleted now, it becomes a stray file, and the next `sweep` tries again.
        """
        path = self.path(relative)
        if path.is_dir() and path.parent.name != CHECKPOINTS:  # no damaged log makes us delete another folder
            return False
        try:
            remove(path)
        except OSError:
            return False
        return True

    def sweep(self, state: StudyState) -> list[str]:
        """Deletes what a killed process left: files of segments that the log started, but which the log does not list.

        Only the holder of the lease may call this, before it starts segments, in a folder that belongs to the study
        (`store.identity`). Returns the relative paths of the deleted files.
        """
        started = [trial.segment for trial in state.trials]
        left = [self.relative(path) for path in stray(self.root, state.known_checkpoints(), started)]
        return [path for path in left if self.delete(path)]

    def evictions(self, state: StudyState) -> list[Victim]:
        """Returns the checkpoints to remove for the disk budget, in order. Log each removal first, then `delete` it."""
        kept = sum(checkpoint.n_bytes for trial in state.trials for checkpoint in trial.checkpoints)
        if self.budget_bytes is None or kept <= self.budget_bytes:
            return []
        return evictions(list(candidates(state)), self.budget_bytes)


def _absolute(folder: Path) -> Path:
    try:
        return Path(os.path.abspath(folder))
    except FileNotFoundError as error:
        raise StorageError(
            f"the folder {str(folder)!r} is relative to the working directory, which was deleted: change to a "
            "directory that exists, or give an absolute path",
            error.errno,
        ) from error


def make_folder(path: Path, *, wait_s: float = _FULL_DISK_S) -> None:
    """Creates a folder and its parents. Idempotent.

    Args:
        wait_s: how long to wait for space on a full disk. A checkpoint that did not fit soon frees its space.

    Raises:
        StorageError: the folder cannot be created; `errno` says why.
    """
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            is_full = error.errno in FULL_DISK_ERRORS
            if is_full and time.monotonic() < give_up_at:
                time.sleep(0.05)
                continue
            advice = _FULL_ADVICE if is_full else ""
            raise StorageError(f"the folder {str(path)!r} cannot be created: {error}.{advice}", error.errno) from error
        return


def write_whole(path: Path, content: str | bytes) -> Path:
    """Replaces a file in one step, so that no reader sees half of it; returns its path.

    Raises:
        StorageError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        return part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            advice = _FULL_ADVICE if error.errno in FULL_DISK_ERRORS else ""
            raise StorageError(f"{str(path)!r} cannot be written: {error}.{advice}", error.errno) from error
        raise


def own_folder_hint(dir: Path) -> str:  # noqa: A002 - as in Study
    """Returns a hint if `dir` is the folder of a study instead of the folder that contains it; empty otherwise."""
    whole = Path(dir).absolute()
    is_study = any((whole / file).is_file() for file in (_DATABASE, STORAGE_NOTE)) and not study_names(whole)
    return f"{str(dir)!r} is the study {whole.name!r} itself; `dir` is {str(whole.parent)!r}" if is_study else ""


def study_names(dir: Path) -> list[str]:  # noqa: A002 - as in Study
    """Returns the sorted names of the studies in `dir`: the folders that contain a store, or a note where theirs is."""
    return sorted({path.parent.name for file in (_DATABASE, STORAGE_NOTE) for path in Path(dir).glob(f"*/{file}")})
