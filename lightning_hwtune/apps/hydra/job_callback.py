"""The Hydra callback in a segment's process: sets each device's batch size, and records the value of `main`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lightning_hwtune.apps.hydra.batch_size import BatchSize
from lightning_hwtune.errors import ArgumentError

__all__ = ["TARGET", "AppCall", "JobCallback", "RefusedJob", "expect"]

TARGET = f"{__name__}.JobCallback"
"""The import path for `hydra.callbacks`."""


@final
class RefusedJob(BaseException):
    """A job's configuration cannot be trained. Not an `Exception`: Hydra turns those of a callback into warnings."""

    def __init__(self, error: ArgumentError) -> None:
        self.error = error
        super().__init__(str(error))


@final
@dataclass(slots=True)
class AppCall:
    """One call of the app, and its result.

    Attributes:
        note_dir: a file in which to store the job's directory; None = do not store it.
        batch_size: how to divide the job's batch size among its devices; None = do not divide it.
        is_there: whether `main` returned at all.
        value: what `main` returned.
    """

    note_dir: Path | None = None
    batch_size: BatchSize | None = None
    is_there: bool = False
    value: Any = None


_expected: AppCall | None = None


def expect(note_dir: Path | None, batch_size: BatchSize | None) -> AppCall:
    """Return the object that will contain the result of the next call."""
    global _expected
    _expected = AppCall(note_dir, batch_size)
    return _expected


@final
class JobCallback(Callback):
    """The callback, which Hydra creates from the app's command line."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Set each device's share of the batch size, before Hydra copies the configuration for `main`.

        Raises:
            RefusedJob: the batch size cannot be divided among the devices.
        """
        if _expected is not None and _expected.batch_size is not None:
            try:
                _expected.batch_size.divide(config)
            except ArgumentError as error:
                raise RefusedJob(error) from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Stores the directory that Hydra chose, relative to the sweep's."""
        if _expected is not None and _expected.note_dir is not None:
            chosen = os.path.relpath(config.hydra.runtime.output_dir, config.hydra.sweep.dir)
            _expected.note_dir.write_text(chosen, encoding="utf-8")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Records the returned value; an exception is raised elsewhere."""
        if _expected is not None and job_return.status is JobStatus.COMPLETED:
            _expected.is_there, _expected.value = True, job_return.return_value
