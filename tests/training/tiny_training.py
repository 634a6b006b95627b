"""The smallest training that logs: a linear layer, two training batches, one validation batch."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader

from lightning_hwtune.training.trial import Trial


class TinyNet(L.LightningModule):
    """Logs nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.layer(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def rows(n: int) -> DataLoader[Any]:
    """Returns a loader of `n` samples in batches of four."""
    return DataLoader(torch.ones(n, 2), 4)


def fit(trial: Trial, net: Any, *callbacks: Any, train: Any = None, val: Any = None, **kwargs: Any) -> Any:
    """Trains with the Trainer of the trial, without a logger."""
    loaders = {"train_dataloaders": train or rows(8), "val_dataloaders": rows(4) if val is None else val}
    return trial.fit(net, callbacks=list(callbacks), logger=False, **{**loaders, **kwargs})
