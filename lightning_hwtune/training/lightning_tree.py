"""Our classes in the tree of `lightning.pytorch`. Importing this imports Lightning."""

from __future__ import annotations

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_hwtune.training.callback import RungHooks
from lightning_hwtune.training.last_round import LastRoundHooks
from lightning_hwtune.training.loggers.csv_rows import KeptMetricsFile

__all__ = ["LastRound", "RungCallback", "Trainer", "TrialCSVLogger"]


class RungCallback(RungHooks, Callback):
    """Reports each validated epoch to the study that this process trains for; does nothing outside a study.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(max_epochs=27, callbacks=[hwt.RungCallback()], accelerator="cpu", logger=False)
    """


class LastRound(LastRoundHooks, Checkpoint):
    """Makes the reports. Lightning calls a `Checkpoint` after the module and all ordinary callbacks."""


class TrialCSVLogger(KeptMetricsFile, CSVLogger):
    """Lightning's CSV logger, with one `metrics.csv` per trial that all its segments extend."""
