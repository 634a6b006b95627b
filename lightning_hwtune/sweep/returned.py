"""What the app's `main` returned, and where Hydra had it run: told by a Hydra callback in the same process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

__all__ = ["TARGET", "Returned", "ReturnedValue", "expect"]

TARGET = f"{__name__}.ReturnedValue"
"""For `hydra.callbacks`."""


@final
@dataclass(slots=True)
class Returned:
    """What became of one call of the app.

    Attributes:
        is_there: whether `main` returned at all. value: what it returned.
        note_dir: a file that is to hold the job's directory; None for nowhere.
    """

    note_dir: Path | None = None
    is_there: bool = False
    value: Any = None


_expected: Returned | None = None


def expect(note_dir: Path | None) -> Returned:
    """Returns where the next call's result will be found."""
    global _expected
    _expected = Returned(note_dir)
    return _expected


@final
class ReturnedValue(Callback):
    """Hydra makes it from the app's command line."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes the directory that Hydra chose, as seen from the sweep's."""
        if _expected is not None and _expected.note_dir is not None:
            chosen = os.path.relpath(config.hydra.runtime.output_dir, config.hydra.sweep.dir)
            _expected.note_dir.write_text(chosen, encoding="utf-8")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Takes the value; an exception goes its own way."""
        if _expected is not None and job_return.status is JobStatus.COMPLETED:
            _expected.is_there, _expected.value = True, job_return.return_value
