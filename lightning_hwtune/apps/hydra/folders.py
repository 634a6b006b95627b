"""One directory per sweep for all its runs: the study remembers it, even if `hydra.sweep.dir` changes later."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import make_folder, write_whole

__all__ = ["claim_sweep_dir", "has_time"]

_OF_STUDY = "sweep_dir.txt"  # in the study's folder: the relative path to the sweep's
_OF_SWEEP = "hwtune_study.txt"  # in the sweep's folder: the relative path to the study's


def claim_sweep_dir(study_dir: Path, wanted: Path, *, is_named_by_time: bool = False) -> Path:
    """Returns the sweep's absolute directory: the one that the study has, otherwise `wanted`, which is now claimed.

    Args:
        is_named_by_time: whether the name of `wanted` contains the present time. If another sweep has begun in the same
            second, this sweep then gets a directory with a number after that name.

    Raises:
        ArgumentError: `wanted` belongs to another study.
        StorageError: a folder or a file in it cannot be written.
    """
    note = study_dir / _OF_STUDY
    if not note.exists():
        taken = wanted
        for number in itertools.count(2):
            try:
                _take(taken, study_dir)
                break
            except ArgumentError:
                if not is_named_by_time:
                    raise
                taken = wanted.with_name(f"{wanted.name}_{number}")
        make_folder(study_dir)
        _note(note, os.path.relpath(taken, study_dir))
    found = Path(os.path.normpath(study_dir / note.read_text(encoding="utf-8")))
    make_folder(found)
    return found


def has_time(path: str) -> bool:
    """Return whether a path of a configuration, before its interpolations are replaced, contains the present time."""
    return "${now:" in path.replace(" ", "")


def _take(wanted: Path, study_dir: Path) -> None:
    """Claims a directory for a study.

    Raises:
        ArgumentError: it belongs to another study.
    """
    mark = wanted / _OF_SWEEP
    if mark.exists():  # checked before anything is created
        _check_owner(wanted, mark.read_text(encoding="utf-8"), study_dir)
    make_folder(wanted)
    _check_owner(wanted, _note(mark, os.path.relpath(study_dir, wanted)), study_dir)


def _check_owner(wanted: Path, owner: str, study_dir: Path) -> None:
    if (wanted / owner).resolve() != study_dir.resolve():
        hint = "Give another directory, or the `study_name` of that study."
        raise ArgumentError("hydra.sweep.dir", str(wanted), f"another directory; this one is of {owner}", hint=hint)


def _note(path: Path, text: str) -> str:
    """Writes a file, completely or not at all, unless it exists; returns its content."""
    part = write_whole(path.with_name(f"{path.name}.{os.getpid()}"), text)
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    return path.read_text(encoding="utf-8")
