"""Scikit-learn's digits in a datamodule; the batch size is that of all devices together."""

from __future__ import annotations

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Digits(L.LightningDataModule):
    """Args: batch_size: over all devices. n_samples: how many of the 1797 images are used."""

    def __init__(self, batch_size: int, n_samples: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.share = batch_size

    def setup(self, stage: str) -> None:
        """Splits the data, the same way at all times."""
        world_size = self.trainer.world_size
        if self.hparams.batch_size % world_size:
            raise RuntimeError(f"batch size {self.hparams.batch_size} does not divide by {world_size} devices")
        self.share = self.hparams.batch_size // world_size
        images, labels = load_digits(return_X_y=True)
        whole = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
        whole = torch.utils.data.Subset(whole, range(self.hparams.n_samples))
        self.parts = random_split(whole, (0.7, 0.2, 0.1), generator=torch.Generator().manual_seed(0))

    def train_dataloader(self) -> DataLoader:
        """The first part, shuffled."""
        return DataLoader(self.parts[0], batch_size=self.share, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """The second part."""
        return DataLoader(self.parts[1], batch_size=self.share)

    def test_dataloader(self) -> DataLoader:
        """The third part."""
        return DataLoader(self.parts[2], batch_size=self.share)
