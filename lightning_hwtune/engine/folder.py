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
    """The interface of a study's folder that the loop uses. The log stores paths relative to this folder."""

    def make_trial_dir(self, trial_id: int) -> Path:
        """Creates the folder of a trial if it does not exist; returns it."""

    def path(self, relative: str) -> Path:
        """Returns the absolute path for a path from the log."""

    def relative(self, path: str | Path) -> str:
        """Returns the path that the log stores for an absolute path."""

    def verify(self, checkpoint: Checkpoint) -> Path:
        """Returns the absolute path of a checkpoint that matches the log; raises `CheckpointError` if it does not."""

    def delete(self, relative: str) -> bool:
        """Deletes a checkpoint that the log no longer lists; returns whether it is gone."""

    def evictions(self, state: StudyState) -> Sequence[Victim]:
        """Returns the checkpoints to remove for the disk budget."""


@final
class NoFolder:
    """Does not use the disk: paths are only names, every checkpoint is valid, and there is always enough space."""

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
        """Returns True: the checkpoint counts as gone."""
        return True

    def evictions(self, state: StudyState) -> Sequence[Victim]:
        """Returns nothing."""
        return ()
