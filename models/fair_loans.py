"""Fairness as one more objective: the error of a credit decision, and how differently it treats two groups.

The search sees the demographic parity difference of the validation rows: the difference between the shares of both
groups that are approved. The equalised odds difference is logged next to it. Both are those of fairlearn. The weight of
a penalty in the loss is one more hyperparameter, so the front has models for several trade-offs.
"""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F

import lightning_hwtune as hwt
from datamodules.loans import FEATURES, LoansDataModule

__all__ = ["LoanModel", "study", "test", "train"]

Batch = list[torch.Tensor]


class LoanModel(L.LightningModule):
    """A perceptron whose loss has a penalty on the difference between the groups' mean scores.

    Args:
        penalty: the weight of the penalty. width: the neurons of the hidden layer.
    """

    def __init__(self, lr: float, width: int, penalty: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(len(FEATURES), width), nn.ReLU(), nn.Linear(width, 1))
        self._seen: list[Batch] = []

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the logits of approval."""
        return self.layers(features).squeeze(1)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Returns the loss of one batch; rejected applications, one in eight, count four times."""
        features, labels, groups = batch
        logits = self(features)
        weight = torch.where(labels == 0, 4.0, 1.0)
        loss = F.binary_cross_entropy_with_logits(logits, labels.float(), weight)
        scores, white = logits.sigmoid(), groups == 1
        gap = scores[white].mean() - scores[~white].mean() if white.any() and not white.all() else logits.sum() * 0
        return loss + self.hparams["penalty"] * gap.square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the decisions."""
        self._seen.append([(self(batch[0]) > 0).long(), batch[1], batch[2]])

    def on_validation_epoch_end(self) -> None:
        """Logs the balanced error and both differences."""
        for name, value in self.measured().items():
            self.log(f"val_{name}", value)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the decisions."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the same quantities of the test rows."""
        for name, value in self.measured().items():
            self.log(name, value)

    def measured(self) -> dict[str, float]:
        """Returns the balanced error and both differences of the decisions that were kept, and forgets these."""
        from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
        from sklearn.metrics import balanced_accuracy_score

        decided, labels, groups = (torch.cat(parts).numpy() for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        return {
            "error": float(1 - balanced_accuracy_score(labels, decided)),
            "parity_gap": float(demographic_parity_difference(labels, decided, sensitive_features=groups)),
            "odds_gap": float(equalized_odds_difference(labels, decided, sensitive_features=groups)),
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


def train(trial: hwt.Trial) -> None:
    """Trains one configuration; the datamodule never reads the test rows here."""
    model = LoanModel(trial["lr"], trial["width"], trial["penalty"])
    trial.fit(model, LoansDataModule(trial.per_device_batch_size(128)))


def test(trial: hwt.Trial) -> object:
    """Tests the checkpoint of a trial on rows that the search has never seen."""
    model = LoanModel.load_from_checkpoint(str(trial.ckpt_path))
    return trial.trainer().test(model, LoansDataModule(), verbose=False)


def study(folder: str | Path = "hwtune") -> hwt.Study:
    """Returns the study with two objectives: the error and the difference between the groups."""
    space = {
        "lr": hwt.Float(1e-3, 3e-2, log=True),
        "width": hwt.Choice([8, 32]),
        "penalty": hwt.Choice([0.0, 1.0, 10.0, 100.0]),
    }
    objectives = [
        hwt.Metric("val_error", "min", resolution=0.005),
        hwt.Metric("val_parity_gap", "min", resolution=0.005),
    ]
    return hwt.Study("fair-loans", space, objectives, max_epochs=9, dir=folder, seed=1)


if __name__ == "__main__":
    done = study().run(train, max_trials=16)
    done.test(test)
    print(done.front())  # noqa: T201 - a script
