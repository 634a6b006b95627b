"""A classifier around any network, with its optimizer as a partial function."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L
import torch
from torch import nn


class Classifier(L.LightningModule):
    """Logs `val/loss` and `val/error`, and the same of the test."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["net", "optimizer"])
        self.net, self.optimizer = net, optimizer

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Returns the loss."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Logs loss and error."""
        self._log("val", batch)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Logs loss and error."""
        self._log("test", batch)

    def _log(self, stage: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        scores = self.net(batch[0])
        error = (scores.argmax(1) != batch[1]).float().mean()
        loss = nn.functional.cross_entropy(scores, batch[1])
        self.log_dict({f"{stage}/loss": loss, f"{stage}/error": error}, on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns what the configuration says."""
        return self.optimizer(params=self.parameters())


class Perceptron(nn.Sequential):
    """One hidden layer."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10))
