"""Checkpoint files that are either complete or not there.

A checkpoint is written under a temporary name beside its place, flushed to the disk, and renamed. Its name is never
used twice, so a file that the log vouches for is never overwritten. If writing fails, what existed before is untouched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.training.channel import Saved
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["Writer", "checkpoint_path", "digest_of", "make_in_trial", "save_file", "save_together"]

_CHUNK_BYTES = 1 << 20
_DISK_SIGNS = ("PytorchStreamWriter", "inline_container", "write failed", "iostream error")  # of torch

Writer = Callable[[Path], None]
"""Writes a checkpoint to the path it is given."""


def checkpoint_path(segment: ActiveSegment, resource: int) -> Path:
    """Returns where this segment's checkpoint at `resource` belongs."""
    order = segment.order
    return Path(order.trial_dir) / "checkpoints" / f"segment_{order.segment:02d}_{order.unit}_{resource}.ckpt"


def make_in_trial(folder: Path, trial_dir: Path) -> None:
    """Makes a folder of a trial, also where user code deleted those above it; never the study's folder, which may
    have been moved meanwhile.

    Raises:
        OSError: it cannot be made.
    """
    for each in (trial_dir.parent, trial_dir, folder):
        each.mkdir(exist_ok=True)


def digest_of(path: Path) -> str:
    """Returns the hexadecimal BLAKE2b-256 of a file; reads it in pieces."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def save_file(
    segment: ActiveSegment,
    resource: int,
    train_s: float,
    write: Writer,
    *,
    is_inside: bool = False,
    is_end: bool = False,
) -> None:
    """Has `write` write this segment's checkpoint, puts it in its place and tells the engine. For one rank.

    Args:
        is_inside: it is of a report inside an epoch, so no segment resumes from it.
        is_end: the training ended here by the user's own rule, so the trial is complete.

    Raises:
        CheckpointError: the disk did not take it.
        TrialError: this process is a fork of the one that trains the segment.
    """
    segment.require_this_process()
    path = checkpoint_path(segment, resource)
    part = path.with_suffix(".part")
    try:
        _write_into_folder(write, part)
        _settle(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        if not _is_about_the_disk(error):
            raise
        raise CheckpointError(_failure(path, error)) from error
    segment.advance()
    if not is_inside:
        segment.saved_at = resource
    size = path.stat().st_size
    segment.send(Saved(str(path), digest_of(path), size, resource, train_s, segment.weights, is_inside, is_end))


def save_together(
    segment: ActiveSegment,
    resource: int,
    train_s: float,
    write: Writer,
    barrier: Callable[[], None],
    broadcast: Callable[[str], str],
    *,
    is_inside: bool = False,
    is_end: bool = False,
) -> None:
    """The same on all ranks, where `write` is collective: only rank 0 writes, and all meet in a barrier at its end.

    Raises:
        CheckpointError: rank 0's disk did not take it; on every rank.
    """

    def write_or_meet(part: Path) -> None:
        try:
            _write_into_folder(write, part)
        except BaseException:
            barrier()  # the peers wait in the one that `write` did not reach
            raise

    failure = ""
    if segment.rank == 0:
        try:
            save_file(segment, resource, train_s, write_or_meet, is_inside=is_inside, is_end=is_end)
        except CheckpointError as error:
            failure = str(error)
    else:
        write(checkpoint_path(segment, resource).with_suffix(".part"))
    failure = broadcast(failure)
    if failure:
        raise CheckpointError(failure)
    if not is_inside:
        segment.saved_at = resource


def _write_into_folder(write: Writer, part: Path) -> None:
    make_in_trial(part.parent, part.parents[1])
    write(part)


def _settle(part: Path, path: Path) -> None:
    """Flushes a finished file to the disk and gives it its name, which then survives a power cut."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_about_the_disk(error: BaseException) -> bool:
    """Tells a failed write from an error of the code that was asked what to write; torch tells some as RuntimeError."""
    return isinstance(error, OSError) or any(sign in str(error) for sign in _DISK_SIGNS)


def _failure(path: Path, error: BaseException) -> str:
    return (
        f"the checkpoint could not be written to the disk at {path} ({type(error).__name__}: {error}); "
        "is the disk full? Earlier checkpoints are untouched."
    )
