"""A small LightningCLI app as people write them, without any tuning in mind."""

from __future__ import annotations

import lightning as L
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Net(L.LightningModule):
    def __init__(self, lr: float = 0.01, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, width), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.error(batch)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val/error", self.error(batch), sync_dist=True)
        self.log("batch_size", float(len(batch[0])))

    def error(self, batch: list[torch.Tensor]) -> torch.Tensor:
        inputs, targets = batch
        return functional.mse_loss(self.layers(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class Data(L.LightningDataModule):
    def __init__(self, batch_size: int = 16, samples: int = 64) -> None:
        super().__init__()
        self.batch_size, self.samples = batch_size, samples

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(self.samples, 8, generator=generator)
        self.set = TensorDataset(inputs, inputs.prod(dim=1, keepdim=True).tanh())

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(self.set, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(self.set, batch_size=self.batch_size)
