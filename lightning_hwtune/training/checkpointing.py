"""Writes checkpoints so that each is either complete or does not exist.

A checkpoint is a file, or a folder with one file per rank if the strategy shards it. It is written under a temporary
name, flushed to the disk, and renamed. No name is used twice, so a checkpoint that the log lists is never overwritten.
If writing fails, the existing checkpoints are unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.host.file_trees import digest_of, flush, remove, size_of
from lightning_hwtune.training.channel import Saved
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["Writer", "checkpoint_path", "make_in_trial", "save_file", "save_together"]

_DISK_SIGNS = ("PytorchStreamWriter", "inline_container", "write failed", "iostream error")  # in errors of torch

Writer = Callable[[Path], None]
"""A function that writes a checkpoint to the given path."""


def checkpoint_path(segment: ActiveSegment, resource: int) -> Path:
    """Returns the path of this segment's checkpoint at `resource`."""
    order = segment.order
    return Path(order.trial_dir) / "checkpoints" / f"segment_{order.segment:02d}_{order.unit}_{resource}.ckpt"


def make_in_trial(folder: Path, trial_dir: Path) -> None:
    """Creates a folder inside a trial's folder, and those folders above it that user code has deleted.

    It never creates the study's folder, because that may have been moved.

    Raises:
        OSError: the folder cannot be created.
    """
    for each in (trial_dir.parent, trial_dir, folder):
        each.mkdir(exist_ok=True)


def save_file(
    segment: ActiveSegment,
    resource: int,
    train_s: float,
    write: Writer,
    *,
    is_inside: bool = False,
    is_end: bool = False,
) -> None:
    """Writes this segment's checkpoint with `write`, moves it to its final path and notifies the engine. For one rank.

    Args:
        is_inside: whether it belongs to a report inside an epoch. No segment resumes from such a checkpoint.
        is_end: whether the training ended here by a rule of the user, so that the trial is complete.

    Raises:
        CheckpointError: writing to the disk failed.
        TrialError: this process is a fork of the process that trains the segment.
    """
    segment.require_this_process()
    path = checkpoint_path(segment, resource)
    part = path.with_suffix(".part")
    try:
        _write_into_folder(write, part)
        _settle(part, path)
    except (OSError, RuntimeError) as error:
        remove(part)
        if not _is_about_the_disk(error):
            raise
        raise CheckpointError(_failure(path, error)) from error
    segment.advance()
    if not is_inside:
        segment.saved_at = resource
    segment.send(
        Saved(str(path), digest_of(path), size_of(path), resource, train_s, segment.weights, is_inside, is_end)
    )


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
    """Does the same as `save_file` for all ranks: `write` is collective, and it ends in a barrier.

    Only rank 0 writes, or every rank writes its shard into one folder. In either case rank 0 moves it to its path.

    Raises:
        CheckpointError: writing failed on rank 0, raised on every rank; or the shard of this rank could not be written.
    """

    def write_or_meet(part: Path) -> None:
        try:
            _write_into_folder(write, part)
        except BaseException:
            barrier()  # the other ranks wait in the barrier that `write` did not reach
            raise

    failure = ""
    if segment.rank == 0:
        try:
            save_file(segment, resource, train_s, write_or_meet, is_inside=is_inside, is_end=is_end)
        except CheckpointError as error:
            failure = str(error)
    else:
        _write_shard(write, checkpoint_path(segment, resource))
    failure = broadcast(failure)
    if failure:
        raise CheckpointError(failure)
    if not is_inside:
        segment.saved_at = resource


def _write_shard(write: Writer, path: Path) -> None:
    try:
        write(path.with_suffix(".part"))
    except (OSError, RuntimeError) as error:
        if not _is_about_the_disk(error):
            raise
        raise CheckpointError(_failure(path, error)) from error


def _write_into_folder(write: Writer, part: Path) -> None:
    make_in_trial(part.parent, part.parents[1])
    write(part)


def _settle(part: Path, path: Path) -> None:
    """Flushes what is finished to the disk and renames it, so that it and its name survive a power failure."""
    flush(part)
    if path.is_dir():  # the same state, saved again; a folder cannot be replaced by a rename
        remove(path)
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_about_the_disk(error: BaseException) -> bool:
    """Return whether an error is a failed write and not one of user code; torch raises some as RuntimeError."""
    return isinstance(error, OSError) or any(sign in str(error) for sign in _DISK_SIGNS)


def _failure(path: Path, error: BaseException) -> str:
    return (
        f"the checkpoint could not be written to the disk at {path} ({type(error).__name__}: {error}); "
        "is the disk full? Earlier checkpoints are untouched."
    )
