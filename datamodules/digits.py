"""Handwritten digits: the 1797 images that scikit-learn ships, enlarged to 16 x 16 pixels and kept in memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

__all__ = ["DigitsDataModule", "TensorBatches", "load_once"]

Batch = tuple[torch.Tensor, torch.Tensor]

# the validation part is a multiple of this: 1, 2, 3, 4, 6, 8 or 12 ranks share it without a sample counted twice
_SHARED_BY = 24
_SIDE = 16  # pixels


class TensorBatches(Dataset[Batch]):
    """Images and labels in memory that hand out a whole batch at once.

    A `DataLoader` asks such a data set for all the indices of a batch together (`__getitems__`): one indexing operation
    takes the place of a Python call a sample and of stacking the samples again.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Returns images `(n, 1, 16, 16)` and labels `(n,)` of these samples, in this order."""
        chosen = torch.as_tensor(indices)
        return self.images[chosen], self.labels[chosen]


class DigitsDataModule(L.LightningDataModule):
    """Digits in a fixed stratified split, shuffled for training.

    Args:
        batch_size: samples a step *on each device*; in a study `trial.per_device_batch_size(global_batch)`.
        val_share: share of samples held back for validation, in (0, 1); their number is rounded to a multiple of 24.
        num_workers: loader processes; the data is in memory, so 0 is the fastest.
        seed: of the split, not of the shuffling.
    """

    def __init__(self, batch_size: int = 64, *, val_share: float = 0.2, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"`batch_size` is {batch_size}; allowed: a whole number from 1, for each device")
        if not 0.0 < val_share < 1.0:
            raise ValueError(f"`val_share` is {val_share}; allowed: a share above 0 and below 1")
        self.batch_size, self.val_share, self.num_workers, self.seed = batch_size, val_share, num_workers, seed
        self.train_set: TensorBatches | None = None
        self.val_set: TensorBatches | None = None

    def setup(self, stage: str) -> None:
        """Loads and splits the digits, once."""
        if self.train_set is None:
            train, val = _split(self.val_share, self.seed)
            self.train_set, self.val_set = _samples(train), _samples(val)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the training part, in a new order each epoch."""
        return self._loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the validation part, always in the same order."""
        return self._loader(self.val_set, shuffle=False)

    def _loader(self, samples: TensorBatches | None, *, shuffle: bool) -> DataLoader[Any]:
        if samples is None:
            raise RuntimeError("the digits are not loaded yet: call setup('fit') first, as Trainer.fit does")
        # by keyword: Lightning builds the loader anew with a distributed sampler and its own `shuffle`
        return DataLoader(
            samples, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers, collate_fn=_collated
        )


def load_once(*, val_share: float = 0.2, seed: int = 0) -> None:
    """Reads and splits the digits now; processes that are forked from this one need not. Makes no tensor."""
    _split(val_share, seed)


def _collated(batch: Any) -> Any:
    """Returns what `__getitems__` made: it is a batch already."""
    return batch


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns images `(1797, 8, 8)` with values in [-1, 1] and labels `(1797,)`; read once a process."""
    digits = load_digits()
    return digits.images.astype(np.float32) / 8 - 1, digits.target


@functools.cache
def _split(val_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the training and of the validation part; each has every digit in proportion."""
    _, labels = _digits()
    n_shares = round(val_share * len(labels) / _SHARED_BY)
    n_val = _SHARED_BY * min(max(n_shares, 1), len(labels) // _SHARED_BY - 1)
    train, val = train_test_split(np.arange(len(labels)), test_size=n_val, stratify=labels, random_state=seed)
    return train, val


def _samples(chosen: np.ndarray) -> TensorBatches:
    """Returns these images, enlarged, with their labels."""
    images, labels = _digits()
    small = torch.from_numpy(images[chosen]).unsqueeze(1)
    large = functional.interpolate(small, size=(_SIDE, _SIDE), mode="bilinear")
    return TensorBatches(large, torch.from_numpy(labels[chosen]))
