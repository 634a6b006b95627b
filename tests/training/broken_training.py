"""The smallest real training: one weight, two batches an epoch, a validation; and callbacks that break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


class TinyNet(L.LightningModule):
    """Learns that the answer is 1; logs `val_error`, and `test_error` in a test."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.lr = lr

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return (self.layer(batch) - 1).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", (self.layer(batch) - 1).abs().mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_error", (self.layer(batch) - 1).abs().mean())

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def loader() -> DataLoader[Any]:
    return DataLoader(torch.ones(8, 1), batch_size=4)  # type: ignore[arg-type]


class Breaks(L.Callback):
    """Calls `action` in one hook, in the n-th epoch (from 1) where the hook is called in epochs."""

    def __init__(self, hook: str, action: Callable[[], Any], epoch: int | None = None) -> None:
        def break_it(trainer: Any, *args: Any, **kwargs: Any) -> None:
            if epoch is None or trainer.current_epoch + 1 == epoch:
                action()

        setattr(self, hook, break_it)


def fit(trial: Any, *callbacks: Any, **kwargs: Any) -> L.Trainer:
    """Fits the net as a trial; returns the Trainer."""
    return trial.fit(TinyNet(), loader(), loader(), callbacks=list(callbacks), **{"logger": False, **kwargs})
