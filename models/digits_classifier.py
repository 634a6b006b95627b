"""What all classifiers of the digits share: loss, logged metrics, optimiser and schedule.

Nothing here depends on how a batch is divided among devices: metrics are counted over all ranks, and the networks
normalise within a sample. At one global batch the number of devices changes time and cost, not the optimisation.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn import functional
from torchmetrics import MeanMetric

__all__ = ["DigitsClassifier"]


class DigitsClassifier(L.LightningModule):
    """A network that tells ten digits apart, trained by AdamW on a cosine that ends with the Trainer's last epoch.

    Logs `train_loss`, `val_loss` (mean cross-entropy) and `val_error` (share of misclassified samples, 0 to 1).
    Subclasses give the network and call `save_hyperparameters()`, so that `load_from_checkpoint` rebuilds them.

    Args:
        net: images `(n, 1, 16, 16)` -> logits `(n, 10)`.
        lr: learning rate of the first epoch.
        weight_decay: of AdamW.
    """

    def __init__(self, net: nn.Module, *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.net, self.lr, self.weight_decay = net, lr, weight_decay
        # sums and counts are added over ranks before they are divided: exact, whoever saw how many samples
        self.val_loss, self.val_error = MeanMetric(), MeanMetric()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits `(n, 10)`."""
        logits: torch.Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Returns the batch's mean cross-entropy."""
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Counts the batch's loss and errors."""
        images, labels = batch
        logits = self(images)
        self.val_loss.update(functional.cross_entropy(logits, labels, reduction="none"))
        self.val_error.update((logits.argmax(dim=1) != labels).float())
        self.log("val_loss", self.val_loss)
        self.log("val_error", self.val_error)

    def configure_optimizers(self) -> Any:
        """Returns AdamW, with a cosine over the Trainer's epochs if it counts epochs."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        n_epochs = self.trainer.max_epochs
        if n_epochs is None or n_epochs < 1:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_epochs)]
