"""What the datamodules share: loaders for a training, a validation and a test part of sizes that ranks can share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

__all__ = ["Batch", "PartsDataModule", "TensorBatches", "shared_size", "stratified"]

Batch = tuple[torch.Tensor, torch.Tensor]

# sizes of held-out parts are multiples of this, so 1, 2, 3, 4, 6, 8 or 12 ranks share them without repeating a sample
_SHARED_BY = 24


class TensorBatches(Dataset[Batch]):
    """Inputs and labels in memory, which return a whole batch at once.

    For such a data set, a `DataLoader` requests all the indices of a batch together (`__getitems__`). A single indexing
    operation replaces one Python call per sample and the stacking of the samples.
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.inputs[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Returns inputs `(n, ...)` and labels `(n, ...)` of these samples, in this order."""
        chosen = torch.as_tensor(indices)
        return self.inputs[chosen], self.labels[chosen]


class PartsDataModule(L.LightningDataModule, ABC):
    """Training data in a new order each epoch; validation and test data always in the same order.

    Args:
        batch_size: samples per step *on each device*; in a study, use `trial.per_device_batch_size(global_batch)`.
        val_share: fraction of samples held out for validation, in (0, 1).
        num_workers: number of loader processes.
    """

    def __init__(self, batch_size: int, *, val_share: float, num_workers: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"`batch_size` is {batch_size}; allowed: a positive integer, the batch size of one device")
        if not 0.0 < val_share < 1.0:
            raise ValueError(f"`val_share` is {val_share}; allowed: a fraction above 0 and below 1")
        if num_workers < 0:
            raise ValueError(f"`num_workers` is {num_workers}; allowed: 0 or a positive integer")
        self.batch_size, self.val_share, self.num_workers = batch_size, val_share, num_workers
        self.train_set: Dataset[Batch] | None = None
        self.val_set: Dataset[Batch] | None = None
        self.test_set: Dataset[Batch] | None = None

    @abstractmethod
    def load(self) -> tuple[Dataset[Batch], Dataset[Batch], Dataset[Batch] | None]:
        """Returns the training part, the validation part and, if there is one, the test part."""

    def setup(self, stage: str) -> None:
        """Loads the data, once."""
        if self.train_set is None:
            self.train_set, self.val_set, self.test_set = self.load()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the training part, in a new order each epoch."""
        return self._loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the validation part, always in the same order."""
        return self._loader(self.val_set, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the test part, always in the same order.

        Raises:
            RuntimeError: there is no test part.
        """
        if self.train_set is not None and self.test_set is None:
            raise RuntimeError("there is no test part: set `test_share` above 0")
        return self._loader(self.test_set, shuffle=False)

    def _loader(self, part: Dataset[Batch] | None, *, shuffle: bool) -> DataLoader[Any]:
        if part is None:
            raise RuntimeError("the data is not loaded yet: call setup('fit') first, as Trainer.fit does")
        collate = _collated if isinstance(part, TensorBatches) else None
        # as keywords, because Lightning rebuilds the loader with a distributed sampler and its own `shuffle`
        return DataLoader(
            part, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers, collate_fn=collate
        )


def shared_size(n_wanted: float, n_samples: int) -> int:
    """Returns the multiple of 24 nearest to a number; at least 24, and at least 24 samples remain.

    Raises:
        ValueError: there are too few samples.
    """
    n_most = n_samples // _SHARED_BY - 1
    if n_most < 1:
        raise ValueError(f"{n_samples} samples are too few to split; needed: at least {2 * _SHARED_BY}")
    return _SHARED_BY * min(max(round(n_wanted / _SHARED_BY), 1), n_most)


def stratified(chosen: np.ndarray, labels: np.ndarray, n_held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices in two, the second part of length `n_held_out`; both have every label in proportion.

    Args:
        chosen: the indices `(n,)`.
        labels: labels of all samples, including those that are not chosen.
    """
    rest, held_out = train_test_split(chosen, test_size=n_held_out, stratify=labels[chosen], random_state=seed)
    return rest, held_out


def _collated(batch: Any) -> Any:
    """Returns the result of `__getitems__`, which is already a batch."""
    return batch
