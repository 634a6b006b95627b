"""The callback that makes the reports, after everything else that may log.

Lightning calls `on_train_epoch_end` of ordinary callbacks first, then that of the module, then that of callbacks which
monitor a metric (those of the classes `EarlyStopping` and `Checkpoint`). `RungCallback` must be the first of all
callbacks to save the exact state. So a second callback, a `Checkpoint` at the end of the list, makes the reports. It
is in the list only during the reporting fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_hwtune.training.epoch_reports import EpochReports

__all__ = ["LastRoundHooks"]


class LastRoundHooks:
    """The hooks. Mixed into a `Checkpoint` of one class tree.

    Args:
        reports: returns the reports to make; None if the fit does not report.
    """

    # attributes that code may read from each item of `trainer.checkpoint_callbacks`; this one saves nothing
    monitor = dirpath = best_model_score = None
    best_model_path = last_model_path = ""

    def __init__(self, reports: Callable[[], EpochReports | None]) -> None:
        super().__init__()
        self._reports = reports

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports a validation inside an epoch."""
        if (reports := self._reports()) is not None:
            reports.validation_ended(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Reports the epoch."""
        if (reports := self._reports()) is not None:
            reports.epoch_ended(trainer)
