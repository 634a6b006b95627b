"""A small real training on scikit-learn's digits: what the tests of the training side train."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from lightning_hwtune.training.lightning_tree import RungCallback
from lightning_hwtune.training.trial import Trial

N_TRAIN = 512  # two ranks of batches of 32 divide it


class DigitsNet(L.LightningModule):
    """An MLP with dropout, AdamW, and a cosine and a plateau schedule at once."""

    def __init__(self, lr: float = 3e-3, horizon: int = 4, dropout: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.ReLU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(32, 10),
        )

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.log("val_loss", torch.nn.functional.cross_entropy(scores, batch[1]), sync_dist=True)
        self.log("val_error", (scores.argmax(1) != batch[1]).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.hparams["horizon"])
        # a threshold that is rarely met, so that the plateau schedule really acts within four epochs
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0, threshold=0.3)
        return [optimizer], [cosine, {"scheduler": plateau, "monitor": "val_loss"}]


class DigitsData(L.LightningDataModule):
    """Digits in two fixed parts. With `mark_samples` each training sample carries its index as a third tensor."""

    def __init__(self, batch_size: int, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, stage: str) -> None:
        images, labels = load_digits(return_X_y=True)
        x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
        self.train = TensorDataset(x[:N_TRAIN], y[:N_TRAIN], torch.arange(N_TRAIN))
        self.val = TensorDataset(x[N_TRAIN : N_TRAIN + 256], y[N_TRAIN : N_TRAIN + 256])

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, self.batch_size, shuffle=True, num_workers=self.num_workers)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, 64)


def averaging() -> list[Any]:
    """Returns a callback that averages weights, where this Lightning has one (from 2.6 on)."""
    if not hasattr(L.callbacks, "EMAWeightAveraging"):
        return []
    return [L.callbacks.EMAWeightAveraging(decay=0.9)]


def train_plainly(trial: Trial) -> None:
    """The shortest training function."""
    data = DigitsData(trial.per_device_batch_size(64), num_workers=trial.config.get("num_workers", 0))
    trial.fit(DigitsNet(horizon=trial.max_epochs), data)


def train_with_averaging(trial: Trial) -> None:
    """Everything that a pause could disturb at once."""
    data = DigitsData(trial.per_device_batch_size(64), num_workers=trial.config.get("num_workers", 0))
    trial.fit(DigitsNet(horizon=trial.max_epochs), data, callbacks=averaging())


class SavesTooEarly(RungCallback):
    """A mutant: saves at the end of each epoch, as one would at first."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        return


def train_saving_too_early(trial: Trial) -> None:
    """`train_with_averaging` with the mutant."""
    data = DigitsData(trial.per_device_batch_size(64))
    trial.fit(DigitsNet(horizon=trial.max_epochs), data, callbacks=[*averaging(), SavesTooEarly()])
