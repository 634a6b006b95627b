"""The study that a command continues. Its default name, such as `train-lr-devices`, has the job and what is searched.

The same command continues the same study. So the command's digest is stored in the study's folder, and another command
with the same words gets the next number: `train-lr-devices-2`. A study that ended before its first trial, for example
because the check failed, takes no name: the next command with the same words continues it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import HwTuneError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, make_folder, write_whole

__all__ = ["default_name", "keep_digest", "n_trials_begun"]

_FILE = "sweep_command.txt"
_MAX_WORDS = 3
_MAX_LENGTH = 60


def default_name(folder: Path, job: str, searched: Iterable[str], digest: str, storage: str | None = None) -> str:
    """Return the name for a command: that of its existing study, otherwise a new one.

    Args:
        folder: the folder with all studies.
        job: Hydra's name of the job.
        searched: dotted names of the parameters.
        digest: digest of the command.
        storage: where the studies' logs are; None = each study's own file.
    """
    earlier = f"{job}-{digest}"  # the default name in earlier versions
    if (folder / earlier).exists():
        return earlier
    words = [re.sub(r"[^A-Za-z0-9_]", "_", re.split(r"[./]", name)[-1]) for name in searched]
    shown = words[:_MAX_WORDS] + ([f"{len(words) - _MAX_WORDS}_more"] if len(words) > _MAX_WORDS else [])
    base = "-".join([job, *shown])[:_MAX_LENGTH]
    abandoned = ""
    for number in itertools.count(1):
        name = base if number == 1 else f"{base}-{number}"
        if not (folder / name).exists():
            return abandoned or name
        found = _digest(folder / name)
        if found == digest:
            return name
        if not abandoned and found is not None and _is_abandoned(folder, name, storage):
            abandoned = name
    raise RuntimeError("unreachable")


def _is_abandoned(folder: Path, name: str, storage: str | None) -> bool:
    """Return whether a study has ended before its first trial. A study that is just beginning may have no log yet."""
    reader = Reader(StudyFiles(folder, name), storage)
    try:
        state = reader.state()
        return state is not None and not state.trials and reader.driven_at() is None
    except HwTuneError:
        return False


def keep_digest(study_dir: Path, digest: str) -> None:
    """Store a command's digest in the folder of its study."""
    if _digest(study_dir) != digest:
        make_folder(study_dir)
        write_whole(study_dir / _FILE, digest)


def n_trials_begun(folder: Path, name: str, storage: str | None) -> int:
    """Return how many trials the study of this name has; 0 if there is no such study."""
    try:
        state = Reader(StudyFiles(folder, name), storage).state()
    except StudyNotFoundError:
        return 0
    return len(state.searched) if state is not None else 0


def _digest(study_dir: Path) -> str | None:
    try:
        return (study_dir / _FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
