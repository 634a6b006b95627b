"""Which study a command is about, and what the command line asks about it beyond what a `Study` answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lightning_hwtune.errors import StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, study_names
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog, stored_names
from lightning_hwtune.study import Study

__all__ = ["Chosen", "choose"]


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """A stored study. `storage`: where its log is, None for its own file."""

    study: Study
    storage: str | None

    def is_driven(self) -> bool:
        """Tells whether a process drives the study now."""
        files = StudyFiles(self.study.dir.parent, self.study.name)
        with EventLog.open(files, storage=self.storage, create=False) as log:
            return Lease(log).is_held(time.time())

    def checkpoints_bytes(self) -> int:
        """Returns what the checkpoint files take on disk."""
        sizes = []
        for path in self.study.dir.glob("trials/*/checkpoints/*"):
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:  # replaced by a newer one at this moment
                continue
        return sum(sizes)

    def located(self, checkpoint: str | None) -> Path | None:
        """Returns where a checkpoint of the log lies on this machine."""
        return self.study.dir / checkpoint if checkpoint is not None else None


def choose(dir: Path, name: str | None, storage: str | None) -> Chosen:  # noqa: A002 - as in Study
    """Returns the study of that name, or the only one there is.

    Raises:
        StudyNotFoundError: there is none (of that name), or no name is given and there are several; they are listed.
    """
    if name is None:
        names = stored_names(storage) if storage is not None else study_names(dir)
        if not names:
            where = repr(storage or str(dir))
            raise StudyNotFoundError(
                f"no study in {where}: begin one with `hwtune run STUDY.yaml`, or give another --dir"
            )
        if len(names) > 1:
            raise StudyNotFoundError(f"there are {len(names)} studies: {', '.join(names)}; choose one by --study NAME")
        name = names[0]
    return Chosen(Study.load(name, dir, storage=storage), storage)
