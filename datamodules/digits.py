"""Handwritten digits: the 1797 images that scikit-learn ships, enlarged to 16 x 16 pixels and kept in memory."""

from __future__ import annotations

import functools

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from datamodules.parts import PartsDataModule, TensorBatches, shared_size, stratified

__all__ = ["DigitsDataModule", "load_once"]

_SIDE = 16  # pixels


class DigitsDataModule(PartsDataModule):
    """Digits in a fixed stratified split; the training part is shuffled.

    Args:
        batch_size: samples per step *on each device*; in a study, use `trial.per_device_batch_size(global_batch)`.
        val_share: fraction of samples held out for validation, in (0, 1); their number is rounded to a multiple of 24.
        test_share: the same for the test, from 0 (no test part); taken from the samples that are not for validation.
        num_workers: number of loader processes; 0 is the fastest, because the data is in memory.
        seed: seed of the split, not of the shuffling.
    """

    def __init__(
        self,
        batch_size: int = 64,
        *,
        val_share: float = 0.2,
        test_share: float = 0.0,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, val_share=val_share, num_workers=num_workers)
        if not 0.0 <= test_share < 1.0 - val_share:
            raise ValueError(
                f"`test_share` is {test_share}; allowed: at least 0 and below {1 - val_share:g} (1 - `val_share`)"
            )
        self.test_share, self.seed = test_share, seed

    def load(self) -> tuple[TensorBatches, TensorBatches, TensorBatches | None]:
        """Returns the three parts, as images `(n, 1, 16, 16)` in [-1, 1]."""
        train, val, test = _split(self.val_share, self.test_share, self.seed)
        return _samples(train), _samples(val), _samples(test) if len(test) else None


def load_once(*, val_share: float = 0.2, test_share: float = 0.0, seed: int = 0) -> None:
    """Reads and splits the digits now, so that processes forked from this one need not. Creates no tensors."""
    _split(val_share, test_share, seed)


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns images `(1797, 8, 8)` with values in [-1, 1] and labels `(1797,)`; reads them once per process."""
    digits = load_digits()
    return digits.images.astype(np.float32) / 8 - 1, digits.target


@functools.cache
def _split(val_share: float, test_share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the indices of the training, the validation and the test part; the last may be empty."""
    _, labels = _digits()
    n = len(labels)
    train, val = stratified(np.arange(n), labels, shared_size(val_share * n, n), seed)
    if not test_share:
        return train, val, np.array([], dtype=train.dtype)
    train, test = stratified(train, labels, shared_size(test_share * n, len(train)), seed)
    return train, val, test


def _samples(chosen: np.ndarray) -> TensorBatches:
    """Returns these images, enlarged, with their labels."""
    images, labels = _digits()
    small = torch.from_numpy(images[chosen]).unsqueeze(1)
    large = functional.interpolate(small, size=(_SIDE, _SIDE), mode="bilinear")
    return TensorBatches(large, torch.from_numpy(labels[chosen]))
