"""Checkpoint files: whether a file is the one in the log, and which files the log does not have.

A sharded checkpoint is a folder; it counts like a file.

Files are written and deleted in an order that survives a kill at any moment. To save, the training writes a `.part`
file, flushes it and renames it; then `CheckpointSaved` is added to the log. To delete, `CheckpointRemoved` is added to
the log; then the file is deleted. So every file that the log lists exists. A kill can only leave a file that the log
does not list, and `stray` finds it. Files of a trial or segment that the log never started are not ours to delete.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.host.file_trees import digest_of, size_of

__all__ = ["CHECKPOINTS", "left_by", "named", "stray", "verify"]

CHECKPOINTS = "checkpoints"
"""The folder inside a trial's folder that has its checkpoints."""

_OURS = re.compile(r"segment_(\d+)_[a-z]+_\d+\.(ckpt|part)")  # a user's own files in the folder are left alone


def verify(path: Path, checkpoint: Checkpoint) -> Path:
    """Returns `path` if the file, or the folder with its files, has the size and the digest that the log has for it.

    Raises:
        CheckpointError: the file is missing, cannot be read, or differs in size or digest.
    """
    try:
        n_bytes = size_of(path)
        found = digest_of(path) if n_bytes == checkpoint.n_bytes else ""
    except OSError as error:
        raise CheckpointError(f"the checkpoint {checkpoint.path!r} cannot be read: {error}") from error
    if n_bytes != checkpoint.n_bytes:
        raise CheckpointError(
            f"the checkpoint {checkpoint.path!r} has {n_bytes} bytes, but {checkpoint.n_bytes} according to the log"
        )
    if found != checkpoint.digest:
        raise CheckpointError(
            f"the checkpoint {checkpoint.path!r} has the digest {found}, but {checkpoint.digest} according to the log"
        )
    return path


def left_by(root: Path) -> Iterator[tuple[int, int, Path]]:
    """Yields (trial, segment, path) of the checkpoints and unfinished files in a folder, for trials of any study."""
    for path in sorted(root.glob(f"trials/*/{CHECKPOINTS}/*")):
        trial_id, match = named(path.parents[1]), _OURS.fullmatch(path.name)
        if trial_id is not None and match is not None:
            yield trial_id, int(match[1]), path


def named(trial_dir: Path) -> int | None:
    """Returns the number of the trial that this folder belongs to; None if it is not a trial's folder."""
    return int(trial_dir.name) if trial_dir.name.isascii() and trial_dir.name.isdigit() else None


def stray(root: Path, known: Collection[str], started: Sequence[int]) -> Iterator[Path]:
    """Yields finished and unfinished checkpoint files of segments that the log started, if the log does not list them.

    Args:
        known: relative paths of the checkpoints that the log lists.
        started: number of the newest segment of each trial, indexed by trial id; segments count from 1.
    """
    for trial_id, segment, path in left_by(root):
        is_started = trial_id < len(started) and 1 <= segment <= started[trial_id]
        if is_started and path.relative_to(root).as_posix() not in known:
            yield path
