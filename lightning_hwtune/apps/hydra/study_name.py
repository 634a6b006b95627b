"""The study that a command continues. Its default name, such as `train-lr-devices`, has the job and what is searched.

The same command continues the same study. So the command's digest is stored in the study's folder, and another command
with the same words gets the next number: `train-lr-devices-2`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, make_folder, write_whole

__all__ = ["default_name", "keep_digest", "n_trials_begun"]

_FILE = "sweep_command.txt"
_MAX_WORDS = 3
_MAX_LENGTH = 60


def default_name(folder: Path, job: str, searched: Iterable[str], digest: str) -> str:
    """Return the name for a command: that of its existing study, otherwise a new one.

    Args:
        folder: the folder with all studies.
        job: Hydra's name of the job.
        searched: dotted names of the parameters.
        digest: digest of the command.
    """
    earlier = f"{job}-{digest}"  # the default name in earlier versions
    if (folder / earlier).exists():
        return earlier
    words = [re.sub(r"[^A-Za-z0-9_]", "_", re.split(r"[./]", name)[-1]) for name in searched]
    shown = words[:_MAX_WORDS] + ([f"{len(words) - _MAX_WORDS}_more"] if len(words) > _MAX_WORDS else [])
    base = "-".join([job, *shown])[:_MAX_LENGTH]
    for number in itertools.count(1):
        name = base if number == 1 else f"{base}-{number}"
        if not (folder / name).exists() or _digest(folder / name) == digest:
            return name
    raise RuntimeError("unreachable")


def keep_digest(study_dir: Path, digest: str) -> None:
    """Store a command's digest in the folder of its study."""
    if _digest(study_dir) is None:
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
