"""Checkpoints of loops that report by hand: the user's state, the identity of the trial, and the random streams.

A file of `torch.save` is a zip archive. Identity and streams are one additional entry in it, which `torch.load`
ignores. So `torch.load` returns exactly the object that the user saved.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.identity import check_identity, identity

__all__ = ["load_by_hand", "write_by_hand"]

_ENTRY = "lightning_hwtune"


def write_by_hand(segment: ActiveSegment, state: Any, streams: Sequence[Any], path: Path) -> None:
    """Writes `state` to `path`, with the random streams of each rank; for rank 0."""
    torch.save(state, path)
    ours = io.BytesIO()
    passes = segment.fabric_loaders.passes()
    torch.save({"identity": identity(segment.order), "streams": list(streams), "passes": passes}, ours)
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]  # torch cannot read an archive with several top-level folders
        archive.writestr(f"{folder}/{_ENTRY}", ours.getvalue())


def load_by_hand(segment: ActiveSegment, path: str) -> tuple[Any, Any]:
    """Returns the state in a file and the random streams for this rank; these are None if the file has none.

    The loaders of Fabric continue to count their passes.

    A rank that the last segment did not have gets the streams of rank 0, because all ranks start with the same ones.

    Raises:
        CheckpointError: the file belongs to another trial.
    """
    ours = _ours(Path(path))
    check_identity(segment, ours.get("identity"), path)
    state = torch.load(path, map_location="cpu", weights_only=False)
    segment.fabric_loaders.restore(ours.get("passes", ()))
    streams = ours.get("streams", ())
    return state, (streams[segment.rank if segment.rank < len(streams) else 0] if streams else None)


def _ours(path: Path) -> dict[str, Any]:
    """Returns our entry in a file; empty for a file of version 0.1.0 or of a fit."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(f"/{_ENTRY}"):
                content: dict[str, Any] = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                return content
    return {}
