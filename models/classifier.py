"""What all models share: cross-entropy, logged metrics, optimiser and schedule.

Nothing here depends on how a batch is divided among devices: metrics are summed over all ranks, and the networks
normalise within a sample. With the same global batch, the number of devices changes time and cost, but not the
optimisation.
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
    """A classification network, trained with AdamW on a cosine schedule that ends with the Trainer's last epoch.

    It logs `train_loss`, `val_loss` (mean cross-entropy, in nats) and `val_error` (fraction of wrong answers, 0 to 1);
    the test logs `test_loss` and `test_error`. A sample may have one label or, as text does, one label at each
    position. Subclasses pass the network and call `save_hyperparameters()`, so that `load_from_checkpoint` can rebuild
    them.

    Args:
        net: inputs `(n, ...)` -> logits `(n, ..., n_classes)`, one row for each label of `(n, ...)`.
        lr: learning rate of the first epoch.
        weight_decay: weight decay of AdamW.
    """

    def __init__(self, net: nn.Module, *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.net, self.lr, self.weight_decay = net, lr, weight_decay
        # sums and counts are added over ranks before division, so the result is exact however samples are distributed
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
        """Adds the batch's loss and errors to the metrics."""
        self._count(batch, self.val_loss, self.val_error)
        self.log_dict({"val_loss": self.val_loss, "val_error": self.val_error})

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch's loss and errors to the metrics."""
        self._count(batch, self.test_loss, self.test_error)
        self.log_dict({"test_loss": self.test_loss, "test_error": self.test_error})

    def configure_optimizers(self) -> Any:
        """Returns AdamW, with a cosine schedule over the Trainer's epochs if the Trainer counts epochs."""
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
