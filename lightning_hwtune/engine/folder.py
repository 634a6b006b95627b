"""Where a loop keeps trials' files: a study's folder on disk (`store.files.StudyFiles`), or nowhere in a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.store.disk_budget import Victim

if TYPE_CHECKING:
    from lightning_hwtune.core.state import StudyState

__all__ = ["Folder", "NoFolder"]


class Folder(Protocol):
    """What the loop asks of a study's folder. The log holds paths relative to it."""

    def make_trial_dir(self, trial_id: int) -> Path:
        """Returns the folder of a trial, which exists from now on."""

    def path(self, relative: str) -> Path:
        """Returns the absolute path of a path in the log."""

    def relative(self, path: str | Path) -> str:
        """Returns an absolute path in the form for the log."""

    def verify(self, checkpoint: Checkpoint) -> Path:
        """Returns the absolute path of a checkpoint that is what the log vouches for; else raises `CheckpointError`."""

    def delete(self, relative: str) -> bool:
        """Deletes a checkpoint that the log no longer vouches for; tells whether it is gone."""

    def evictions(self, state: StudyState) -> Sequence[Victim]:
        """Returns the checkpoints to remove for the disk budget."""


@final
class NoFolder:
    """Touches no disk: paths are names only, every checkpoint is what it should be, and there is always room."""

    def make_trial_dir(self, trial_id: int) -> Path:
        """Returns a name."""
        return Path(f"trials/{trial_id:03d}")

    def path(self, relative: str) -> Path:
        """Returns the same name."""
        return Path(relative)

    def relative(self, path: str | Path) -> str:
        """Returns the same name."""
        return str(path)

    def verify(self, checkpoint: Checkpoint) -> Path:
        """Returns its name."""
        return Path(checkpoint.path)

    def delete(self, relative: str) -> bool:
        """Tells that it is gone."""
        return True

    def evictions(self, state: StudyState) -> Sequence[Victim]:
        """Returns nothing."""
        return ()
