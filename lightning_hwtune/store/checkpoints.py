"""Checkpoint files: whether one is what the log vouches for, and which ones nobody vouches for.

Files come and go in an order that survives a kill at any moment. Coming: the training writes a `.part` file, flushes
and renames it; then `CheckpointSaved` enters the log. Going: `CheckpointRemoved` enters the log; then the file is
deleted. So the log never vouches for a file that is not there, and what a kill leaves behind is a file that the log
does not know: `stray` finds it. A file of a trial or segment that the log never started is not ours to delete.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.errors import CheckpointError

__all__ = ["digest", "left_by", "named", "stray", "verify"]

_OURS = re.compile(r"segment_(\d+)_[a-z]+_\d+\.(ckpt|part)")  # a user's own files in the folder stay


def digest(path: Path) -> str:
    """Returns the hexadecimal BLAKE2b-256 of a file; reads it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def verify(path: Path, checkpoint: Checkpoint) -> Path:
    """Returns `path` if its content is what the log vouches for.

    Raises:
        CheckpointError: the file is missing, cannot be read, or differs in size or digest.
    """
    try:
        n_bytes = path.stat().st_size
        found = digest(path) if n_bytes == checkpoint.n_bytes else ""
    except OSError as error:
        raise CheckpointError(f"the checkpoint {checkpoint.path!r} cannot be read: {error}") from error
    if n_bytes != checkpoint.n_bytes:
        raise CheckpointError(
            f"the checkpoint {checkpoint.path!r} has {n_bytes} bytes; the log vouches for {checkpoint.n_bytes}"
        )
    if found != checkpoint.digest:
        raise CheckpointError(
            f"the checkpoint {checkpoint.path!r} has the digest {found}; the log vouches for {checkpoint.digest}"
        )
    return path


def left_by(root: Path) -> Iterator[tuple[int, int, Path]]:
    """Yields (trial, segment, path) of the checkpoints and unfinished files in a folder, whichever study made them."""
    for path in sorted(root.glob("trials/*/checkpoints/*")):
        trial_id, match = named(path.parents[1]), _OURS.fullmatch(path.name)
        if trial_id is not None and match is not None:
            yield trial_id, int(match[1]), path


def named(trial_dir: Path) -> int | None:
    """Returns the number of the trial whose folder this is; None if it is no trial's."""
    return int(trial_dir.name) if trial_dir.name.isascii() and trial_dir.name.isdigit() else None


def stray(root: Path, known: Collection[str], started: Sequence[int]) -> Iterator[Path]:
    """Yields checkpoint files and unfinished ones that the log started and does not vouch for.

    Args:
        known: relative paths that the log vouches for.
        started: the number of the newest segment of each trial, by trial id; segments count from 1.
    """
    for trial_id, segment, path in left_by(root):
        is_started = trial_id < len(started) and 1 <= segment <= started[trial_id]
        if is_started and path.relative_to(root).as_posix() not in known:
            yield path
