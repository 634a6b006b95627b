"""A multilayer perceptron for 16 x 16 digits: epochs take milliseconds, for tests and for measuring overhead."""

from __future__ import annotations

from torch import nn

from models.classifier import Classifier

__all__ = ["DigitsMLP"]

_N_PIXELS = 16 * 16


class DigitsMLP(Classifier):
    """`depth` hidden layers of `width` units.

    Args:
        lr: learning rate of the first epoch.
        width: number of units of each hidden layer.
        depth: number of hidden layers, at least 1.
        dropout: fraction of units dropped after each hidden layer, in [0, 1).
        weight_decay: weight decay of AdamW.
    """

    def __init__(
        self, lr: float, width: int = 64, depth: int = 1, dropout: float = 0.0, weight_decay: float = 1e-4
    ) -> None:
        if width < 1 or depth < 1:
            raise ValueError(f"`width` is {width} and `depth` {depth}; allowed: positive integers")
        super().__init__(_network(width, depth, dropout), lr=lr, weight_decay=weight_decay)
        self.save_hyperparameters()


def _network(width: int, depth: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layers += [nn.Linear(width if i else _N_PIXELS, width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, 10))
