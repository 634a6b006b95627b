"""A small convolutional net for 16 x 16 digits: one device is enough if it is narrow; two pay off if it is wide."""

from __future__ import annotations

from torch import nn

from models.classifier import Classifier

__all__ = ["DigitsConvNet"]


class DigitsConvNet(Classifier):
    """`depth` 3 x 3 convolutions of `width` channels, then one linear layer.

    The net normalises with one group per sample instead of over the batch. Batch statistics would be those of a
    device's own part of the batch, so the same configuration would train differently on one device and on two.

    Args:
        lr: learning rate of the first epoch.
        width: number of channels of each convolution.
        depth: number of convolutions, at least 1.
        dropout: fraction of features dropped before the linear layer, in [0, 1).
        weight_decay: weight decay of AdamW.
    """

    def __init__(self, lr: float, width: int, depth: int = 2, dropout: float = 0.1, weight_decay: float = 1e-4) -> None:
        if width < 1 or depth < 1:
            raise ValueError(f"`width` is {width} and `depth` {depth}; allowed: positive integers")
        super().__init__(_network(width, depth, dropout), lr=lr, weight_decay=weight_decay)
        self.save_hyperparameters()


def _network(width: int, depth: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        # the first one halves the sides, so that later ones, which cost the most, work on a quarter of the pixels
        convolution = nn.Conv2d(width, width, 3, padding=1) if i else nn.Conv2d(1, width, 3, stride=2, padding=1)
        layers += [convolution, nn.GroupNorm(1, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(dropout), nn.Linear(16 * width, 10))
