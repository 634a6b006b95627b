"""Torchvision's ResNet-18, with a stem for small images."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import resnet18

from models.classifier import Classifier

__all__ = ["ResNet18"]

_N_GROUPS = 32  # number of groups for the normalisation; every width of the network is a multiple of it


class ResNet18(Classifier):
    """ResNet-18 for images of about 32 x 32 pixels, gray or RGB.

    Its stem is a single 3 x 3 convolution that keeps the size; the original one would shrink 32 pixels to 8 before the
    first block. Group normalisation replaces batch normalisation, whose statistics would be those of a device's own
    part of the batch.

    Args:
        lr: learning rate of the first epoch.
        n_classes: number of classes, at least 1.
        weight_decay: weight decay of AdamW.
    """

    def __init__(self, lr: float, n_classes: int = 10, weight_decay: float = 5e-4) -> None:
        if n_classes < 1:
            raise ValueError(f"`n_classes` is {n_classes}; allowed: a positive integer")
        super().__init__(_network(n_classes), lr=lr, weight_decay=weight_decay)
        self.save_hyperparameters()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits `(n, n_classes)` of images `(n, 1 or 3, height, width)`."""
        return super().forward(images.expand(-1, 3, -1, -1))


def _network(n_classes: int) -> nn.Module:
    net: nn.Module = resnet18(num_classes=n_classes, norm_layer=_normalisation)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as in torchvision's convolutions
    net.maxpool = nn.Identity()
    return net


def _normalisation(n_channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_N_GROUPS, n_channels)
