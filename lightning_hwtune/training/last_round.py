"""The callback that makes the reports, after everything else that may log.

Lightning calls `on_train_epoch_end` of ordinary callbacks first, then the module's, then that of the callbacks that
monitor a metric, which are those of the classes `EarlyStopping` and `Checkpoint`. `RungCallback` must be the first of
all to save exactly, so the reports are made by a second callback, a `Checkpoint` at the end of the list. It is there
while the reporting fit lasts.
"""

from __future__ import annotations

from typing import Any

from lightning_hwtune.training.epoch_reports import EpochReports

__all__ = ["LastRoundHooks"]


class LastRoundHooks:
    """The hooks. Mixed into a `Checkpoint` of one class tree."""

    def __init__(self, reports: EpochReports) -> None:
        super().__init__()
        self._reports = reports

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports a validation inside an epoch."""
        self._reports.validation_ended(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports the epoch."""
        self._reports.epoch_ended(trainer)
