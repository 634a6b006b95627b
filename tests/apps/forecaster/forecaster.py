"""A stand-in for a library that owns its Trainer: users see `fit` and `predict`, never a callback or a checkpoint.

It is written without any tuning in mind. `predict` needs a model that has been fitted to its end, and fails on anything
else, as libraries do: a skipped prediction gives it nothing to join.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


def noisy_sine(n: int, seed: int = 0) -> torch.Tensor:
    """Return a series of n values."""
    noise = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    return torch.sin(torch.arange(n) / 4) + 0.1 * noise


class _Network(pl.LightningModule):
    def __init__(self, window: int, width: int, lr: float, dropout: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(window, width), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_loss", self._loss(batch), batch_size=len(batch[0]))  # no sync_dist: users cannot add it

    def predict_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.layers(batch[0])

    def _loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.hparams["lr"])
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)]


class Forecaster:
    """Forecast one step of a series from a window of it.

    Args:
        n_epochs: of `fit`. trainer_kwargs: for the library's Trainer, such as `devices`.
    """

    def __init__(
        self,
        window: int,
        width: int,
        lr: float,
        n_epochs: int,
        batch_size: int = 16,
        dropout: float = 0.2,
        **trainer: Any,
    ) -> None:
        self.window, self.batch_size, self.n_epochs, self.trainer_kwargs = window, batch_size, n_epochs, trainer
        self.network = _Network(window, width, lr, dropout=0.2)
        self.trainer: pl.Trainer | None = None

    def fit(self, series: torch.Tensor, val_series: torch.Tensor) -> Forecaster:
        """Train on a series."""
        self.trainer = self._trainer(max_epochs=self.n_epochs)
        self.trainer.fit(self.network, self._loader(series, shuffle=True), self._loader(val_series))
        return self

    def predict(self, series: torch.Tensor) -> torch.Tensor:
        """Return a forecast for each window of a series."""
        parts = self._trainer().predict(self.network, self._loader(series))
        return torch.cat([part.flatten() for part in parts])

    def backtest(self, series: torch.Tensor) -> float:
        """Return the mean error of the forecasts."""
        forecast = self.predict(series)
        return float((forecast - series[self.window :][: len(forecast)]).abs().mean())

    def _trainer(self, **more: Any) -> pl.Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        return pl.Trainer(**{"accelerator": "cpu", "logger": False, **quiet, **self.trainer_kwargs, **more})

    def _loader(self, series: torch.Tensor, shuffle: bool = False) -> DataLoader[Any]:
        windows = series.unfold(0, self.window + 1, 1)
        return DataLoader(TensorDataset(windows[:, :-1], windows[:, -1:]), self.batch_size, shuffle=shuffle)
