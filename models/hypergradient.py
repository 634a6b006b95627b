"""A hyperparameter learned by gradients while the training runs, next to one that a study searches.

The weight decay is learned by the penalty method for bilevel problems: Mehra and Hamm, "Penalty Method for
Inversion-Free Deep Bilevel Optimization" (2021), equations 3 and 4. The upper problem minimises the validation loss f
over u = log(weight decay), the lower one the training loss g over the weights w. A copy of the weights minimises
f(w) + gamma / 2 * |dg/dw|^2. The gradient of this sum with respect to u tends to the hypergradient as gamma grows, and
needs no inverse of a Hessian.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_hwtune as hwt

__all__ = ["DecayedLinear", "PenaltyHypergradient", "few_digits", "study", "train"]

Parts = tuple[torch.Tensor, torch.Tensor]


def few_digits() -> tuple[Parts, Parts]:
    """Returns 100 digits for the training and 800 for the validation: with so few, weight decay matters."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))[:900]
    inputs = torch.as_tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.as_tensor(digits.target)[order]
    return (inputs[:100], labels[:100]), (inputs[100:], labels[100:])


class DecayedLinear(L.LightningModule):
    """A linear classifier whose weight decay is the buffer `log_decay`, so it is saved with the weights."""

    def __init__(self, lr: float, decay: float) -> None:
        super().__init__()
        self.lr = lr
        self.layer = nn.Linear(64, 10)
        self.register_buffer("log_decay", torch.tensor(decay).log())

    def loss(self, weights: list[torch.Tensor], log_decay: torch.Tensor, batch: Parts) -> torch.Tensor:
        """Returns the training loss with these weights and this decay."""
        return F.cross_entropy(F.linear(batch[0], *weights), batch[1]) + log_decay.exp() * weights[0].square().sum()

    def training_step(self, batch: Parts, batch_idx: int) -> torch.Tensor:
        """Returns the loss of one batch."""
        return self.loss(list(self.layer.parameters()), self.log_decay, batch)

    def validation_step(self, batch: Parts, batch_idx: int) -> None:
        """Logs the validation loss, and the decay as a further column."""
        self.log("val_loss", F.cross_entropy(self.layer(batch[0]), batch[1]))
        self.log("log_decay", self.log_decay)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns SGD."""
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


class PenaltyHypergradient(L.Callback):
    """Moves `log_decay` of a module against its hypergradient at the end of each epoch.

    Args:
        training, validation: the batches of g and f.
        gamma: the weight of the penalty in the first epoch; it grows by `growth` per epoch.
        steps: how many steps the copy of the weights takes. lr: their size. size: the largest change of `log_decay`.
    """

    def __init__(
        self, training: Parts, validation: Parts, *, gamma: float = 1.0, growth: float = 1.1, steps: int = 10,
        lr: float = 0.05, size: float = 0.5,
    ) -> None:  # fmt: skip
        self._training, self._validation = training, validation
        self._gamma, self._growth, self._steps, self._lr, self._size = gamma, growth, steps, lr, size

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes one step of the upper problem."""
        gamma = self._gamma * self._growth**trainer.current_epoch
        with torch.enable_grad():
            gradient = self.hypergradient(pl_module, gamma)
        size = self._size / (1 + trainer.current_epoch / 10)
        pl_module.log_decay -= (gradient / (gradient.abs() + 1e-6) * size).detach()
        pl_module.log_decay.clamp_(-14.0, 2.0)

    def hypergradient(self, module: Any, gamma: float) -> torch.Tensor:
        """Returns the gradient of f + gamma / 2 * |dg/dw|^2 by `log_decay`, at weights that minimise it."""
        weights = [p.detach().clone().requires_grad_() for p in module.layer.parameters()]
        log_decay = module.log_decay.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam(weights, lr=self._lr / gamma)

        def penalised() -> torch.Tensor:
            slopes = torch.autograd.grad(module.loss(weights, log_decay, self._training), weights, create_graph=True)
            f = F.cross_entropy(F.linear(self._validation[0], *weights), self._validation[1])
            return f + gamma / 2 * torch.stack([slope.square().sum() for slope in slopes]).sum()

        for _ in range(self._steps):
            optimizer.zero_grad()
            penalised().backward()
            optimizer.step()
        return torch.autograd.grad(penalised(), log_decay)[0]


def train(trial: hwt.Trial) -> None:
    """Trains with the learning rate of the trial; the callback learns the weight decay."""
    training, validation = few_digits()
    loaders = [DataLoader(TensorDataset(*part), len(part[1])) for part in (training, validation)]
    trial.fit(DecayedLinear(trial["lr"], decay=1e-5), *loaders, callbacks=[PenaltyHypergradient(training, validation)])


def study(folder: str | Path = "hwtune") -> hwt.Study:
    """Returns the study: the learning rate is searched, the weight decay is not."""
    space = {"lr": hwt.Float(0.1, 0.6, log=True)}
    return hwt.Study("hypergradient", space, [hwt.Metric("val_loss", "min")], max_epochs=54, dir=folder, seed=1)


if __name__ == "__main__":
    print(study().run(train, max_trials=6).trials()[["trial", "lr", "epochs", "val_loss", "logged/log_decay"]])  # noqa: T201 - a script
