"""One directory per sweep for all its runs: the study remembers it, even if `hydra.sweep.dir` changes later."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import make_folder, write_whole

__all__ = ["claim_sweep_dir"]

_OF_STUDY = "sweep_dir.txt"  # in the study's folder: the relative path to the sweep's
_OF_SWEEP = "hwtune_study.txt"  # in the sweep's folder: the relative path to the study's


def claim_sweep_dir(study_dir: Path, wanted: Path) -> Path:
    """Returns the sweep's absolute directory: the one that the study has, otherwise `wanted`, which is now claimed.

    Raises:
        ArgumentError: `wanted` belongs to another study.
        StorageError: a folder or a file in it cannot be written.
    """
    note, mark = study_dir / _OF_STUDY, wanted / _OF_SWEEP
    if not note.exists():
        if mark.exists():  # checked before anything is created
            _check_owner(wanted, mark.read_text(encoding="utf-8"), study_dir)
        make_folder(wanted)
        _check_owner(wanted, _note(mark, os.path.relpath(study_dir, wanted)), study_dir)
        make_folder(study_dir)
        _note(note, os.path.relpath(wanted, study_dir))
    found = Path(os.path.normpath(study_dir / note.read_text(encoding="utf-8")))
    make_folder(found)
    return found


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
