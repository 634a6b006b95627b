"""A small training on digits that writes which samples each rank trained on, in which batch and on how many ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_hwtune as hwt

N_SAMPLES, GLOBAL_BATCH = 64, 16


class Net(L.LightningModule):
    """A linear classifier whose steps are written to a file."""

    def __init__(self, lr: float, path: Path) -> None:
        super().__init__()
        self.lr, self.path, self.net = lr, path, nn.Linear(64, 10)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        pixels, labels, numbers = batch
        row = {"epoch": self.current_epoch, "step": self.global_step, "ranks": self.trainer.world_size}
        with self.path.open("a") as file:
            file.write(json.dumps(row | {"rank": self.global_rank, "numbers": numbers.tolist()}) + "\n")
        return nn.functional.cross_entropy(self.net(pixels), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", (self.net(batch[0]).argmax(1) != batch[1]).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train(trial: hwt.Trial) -> None:
    digits = load_digits()
    pixels = torch.tensor(digits.data[:N_SAMPLES] / 16, dtype=torch.float32)
    data = TensorDataset(pixels, torch.tensor(digits.target[:N_SAMPLES]), torch.arange(N_SAMPLES))
    loader = DataLoader(data, trial.per_device_batch_size(GLOBAL_BATCH), shuffle=True)
    trial.fit(Net(trial["lr"], Path(trial.dir).parents[1] / "steps"), loader, DataLoader(data, N_SAMPLES))
