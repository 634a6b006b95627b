"""What all models share: cross-entropy, logged metrics, optimiser and schedule.

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

__all__ = ["Classifier"]

Batch = tuple[torch.Tensor, torch.Tensor]


class Classifier(L.LightningModule):
    """A network that tells classes apart, trained by AdamW on a cosine that ends with the Trainer's last epoch.

    Logs `train_loss`, `val_loss` (mean cross-entropy, in nats) and `val_error` (share of wrong answers, 0 to 1), and
    when tested `test_loss` and `test_error`. A sample may ask for one answer or, as text does, for one at each place.
    Subclasses give the network and call `save_hyperparameters()`, so that `load_from_checkpoint` rebuilds them.

    Args:
        net: inputs `(n, ...)` -> logits `(n, ..., n_classes)`, one row for each label of `(n, ...)`.
        lr: learning rate of the first epoch.
        weight_decay: of AdamW.
    """

    def __init__(self, net: nn.Module, *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.net, self.lr, self.weight_decay = net, lr, weight_decay
        # sums and counts are added over ranks before they are divided: exact, whoever saw how many samples
        self.val_loss, self.val_error = MeanMetric(), MeanMetric()
        self.test_loss, self.test_error = MeanMetric(), MeanMetric()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns logits `(n, ..., n_classes)`."""
        logits: torch.Tensor = self.net(inputs)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Returns the batch's mean cross-entropy."""
        logits, labels = self._answers(batch)
        loss = functional.cross_entropy(logits, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts the batch's loss and errors."""
        self._count(batch, self.val_loss, self.val_error)
        self.log_dict({"val_loss": self.val_loss, "val_error": self.val_error})

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts the batch's loss and errors."""
        self._count(batch, self.test_loss, self.test_error)
        self.log_dict({"test_loss": self.test_loss, "test_error": self.test_error})

    def configure_optimizers(self) -> Any:
        """Returns AdamW, with a cosine over the Trainer's epochs if it counts epochs."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        n_epochs = self.trainer.max_epochs
        if n_epochs is None or n_epochs < 1:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_epochs)]

    def _answers(self, batch: Batch) -> Batch:
        """Returns logits `(n_answers, n_classes)` and labels `(n_answers,)`."""
        inputs, labels = batch
        return self(inputs).flatten(0, -2), labels.flatten()

    def _count(self, batch: Batch, loss: MeanMetric, error: MeanMetric) -> None:
        logits, labels = self._answers(batch)
        loss.update(functional.cross_entropy(logits, labels, reduction="none"))
        error.update((logits.argmax(dim=1) != labels).float())
