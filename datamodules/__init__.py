"""Data for the worked examples. Studies name these classes by import path; the package itself never imports them."""

from __future__ import annotations

from datamodules.digits import DigitsDataModule, load_once
from datamodules.parts import PartsDataModule, TensorBatches
from datamodules.text import TextDataModule
from datamodules.torchvision_images import CIFAR10DataModule, FashionMNISTDataModule, TorchvisionDataModule

__all__ = [
    "CIFAR10DataModule",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "PartsDataModule",
    "TensorBatches",
    "TextDataModule",
    "TorchvisionDataModule",
    "load_once",
]
