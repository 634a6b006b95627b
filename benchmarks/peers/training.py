"""The training that every contender does: the example perceptron on the digits, with one Lightning Trainer per fit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch

from benchmarks.peers.workload import METRIC, Workload
from datamodules import DigitsDataModule, load_once
from models import DigitsMLP

__all__ = ["TRAINER", "EpochClock", "fit", "model_and_data"]

# the common settings of each contender's Trainer; ours gets the same from `trial.fit`
TRAINER: Mapping[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def model_and_data(config: Mapping[str, Any]) -> tuple[DigitsMLP, DigitsDataModule]:
    """Returns the arguments for a configuration."""
    model = DigitsMLP(lr=config["lr"], width=config["width"], depth=config["depth"], dropout=config["dropout"])
    return model, DigitsDataModule(batch_size=config["batch_size"])


load_once()  # once per process that imports this module, so not in every trial; the same for every contender


class EpochClock(L.Callback):
    """Writes how long each epoch took, from its start to the end of its validation, so without reports.

    It also extends epochs to the workload's `epoch_s` by sleeping, which uses no core. So two workers on two cores do
    not slow each other's epochs down, and the rest of the time is what the framework adds.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._began = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sleeps for the rest of the epoch."""
        if not trainer.sanity_checking:
            time.sleep(max(self._workload.epoch_s - (time.perf_counter() - self._began), 0.0))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the line; a single short append, which several processes may do at once."""
        if not trainer.sanity_checking:
            line = f"{time.perf_counter() - self._began:.6f}\n".encode()
            file = os.open(self._workload.epochs_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(file, line)
            os.close(file)


class _AfterEpoch(L.Callback):
    """Reports each epoch's error to a framework, and stops when the framework returns so."""

    def __init__(self, is_over: Callable[[int, float], bool]) -> None:
        self._is_over = is_over

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports."""
        if self._is_over(trainer.current_epoch + 1, float(trainer.callback_metrics[METRIC])):
            trainer.should_stop = True


def fit(index: int, is_over: Callable[[int, float], bool]) -> None:
    """Trains configuration number `index` from scratch in this process.

    Args:
        is_over: called with (epochs done, validation error) after each epoch; returns True to stop.
    """
    workload = Workload.current()
    torch.set_num_threads(1)
    L.seed_everything(index, workers=True, verbose=False)
    model, data = model_and_data(workload.configs()[index])
    callbacks = [EpochClock(workload), _AfterEpoch(is_over)]
    L.Trainer(max_epochs=workload.max_epochs, callbacks=callbacks, **TRAINER).fit(model, datamodule=data)
