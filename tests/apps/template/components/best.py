"""A classifier that keeps the best accuracy so far, in the way that templates do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torchmetrics import MaxMetric, MeanMetric

from components.classifier import Classifier


class BestClassifier(Classifier):
    """Logs `val/acc` of the epoch, and `val/acc_best` of all epochs; what the sanity check has seen is forgotten."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__(net, optimizer)
        self.val_acc, self.val_acc_best = MeanMetric(), MaxMetric()

    def on_train_start(self) -> None:
        """Begin again."""
        self.val_acc.reset()
        self.val_acc_best.reset()

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Count what is right."""
        super().validation_step(batch, batch_idx)
        self.val_acc((self.net(batch[0]).argmax(1) == batch[1]).float())
        self.log("val/acc", self.val_acc, on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        """Log the best so far; a metric's value is that of all ranks."""
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True)
