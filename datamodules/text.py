"""A plain-text file as samples for a model that predicts the next character."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datamodules.parts import PartsDataModule, TensorBatches, shared_size

__all__ = ["TextDataModule"]


class TextDataModule(PartsDataModule):
    """A text, cut into samples of `context_length` symbols; the label at each position is the next symbol.

    A symbol is a byte of the file. Each is a label once per epoch, except the first symbol and those of an incomplete
    sample at the end. The parts keep the order of the text: it begins with the training part and ends with the test
    part.

    Args:
        path: path of the file.
        batch_size: samples per step *on each device*; in a study, use `trial.per_device_batch_size(global_batch)`.
        context_length: number of symbols per sample, at least 1; the model must have the same `context_length`.
        val_share: fraction of samples held out for validation, in (0, 1); their number is rounded to a multiple of 24.
        test_share: the same for the test.
        num_workers: number of loader processes; 0 is the fastest, because the data is in memory.
    """

    def __init__(
        self,
        path: str | Path,
        batch_size: int = 32,
        *,
        context_length: int = 64,
        val_share: float = 0.1,
        test_share: float = 0.1,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, val_share=val_share, num_workers=num_workers)
        if context_length < 1:
            raise ValueError(f"`context_length` is {context_length}; allowed: a positive integer")
        if not 0.0 < test_share < 1.0 - val_share:
            raise ValueError(
                f"`test_share` is {test_share}; allowed: above 0 and below {1 - val_share:g} (1 - `val_share`)"
            )
        self.path, self.context_length, self.test_share = Path(path), context_length, test_share

    def load(self) -> tuple[TensorBatches, TensorBatches, TensorBatches]:
        """Returns the three parts, as symbols `(n, context_length)` in [0, 255] and labels of the same shape.

        Raises:
            ValueError: the text is too short for three parts.
        """
        symbols = torch.from_numpy(np.fromfile(self.path, dtype=np.uint8).astype(np.int64))
        n = max(len(symbols) - 1, 0) // self.context_length
        try:
            n_val = shared_size(self.val_share * n, n)
            n_test = shared_size(self.test_share * n, n - n_val)
        except ValueError as error:
            raise ValueError(
                f"{self.path} has {len(symbols)} bytes, {n} samples of `context_length`: {error}"
            ) from None
        windows = symbols.unfold(0, self.context_length + 1, self.context_length)  # views: nothing is copied
        train, val, test = (
            TensorBatches(part[:, :-1], part[:, 1:])
            for part in torch.split(windows, [n - n_val - n_test, n_val, n_test])
        )
        return train, val, test
