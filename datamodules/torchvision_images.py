"""FashionMNIST and CIFAR-10, read by torchvision from its files, which are downloaded only on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset, Subset
from torchvision.datasets import CIFAR10, FashionMNIST
from torchvision.transforms import v2

from datamodules.parts import Batch, PartsDataModule, shared_size, stratified

__all__ = ["CIFAR10DataModule", "FashionMNISTDataModule", "TorchvisionDataModule"]


class TorchvisionDataModule(PartsDataModule):
    """A torchvision data set whose validation part is taken from the training images; all test images are kept.

    Args:
        root: folder of the data sets.
        batch_size: samples per step *on each device*; in a study, use `trial.per_device_batch_size(global_batch)`.
        download: whether to download the files if they are missing.
        augment: whether to shift training images by up to 4 pixels and mirror them at random.
        val_share: fraction of the training images held out, in (0, 1); their number is rounded to a multiple of 24.
        num_workers: number of loader processes, which decode the images.
        seed: seed of the split, not of the shuffling.
    """

    dataset: ClassVar[Any]
    side: ClassVar[int]  # pixels
    mean: ClassVar[tuple[float, ...]]  # of each channel over the training images, for pixels in [0, 1]
    std: ClassVar[tuple[float, ...]]

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 128,
        *,
        download: bool = False,
        augment: bool = True,
        val_share: float = 0.1,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, val_share=val_share, num_workers=num_workers)
        self.root, self.download, self.augment, self.seed = Path(root), download, augment, seed

    def prepare_data(self) -> None:
        """Downloads the files if requested; the Trainer calls this in only one process per host."""
        if self.download:
            self.dataset(self.root, download=True)

    def load(self) -> tuple[Dataset[Batch], Dataset[Batch], Dataset[Batch]]:
        """Returns the three parts, as images of mean 0 and variance 1 over the data set.

        Raises:
            FileNotFoundError: the files are missing, or are not those that torchvision expects.
        """
        plain = self._transform()
        samples = self._read(True, plain)
        labels = np.asarray(samples.targets)
        n = len(labels)
        train, val = stratified(np.arange(n), labels, shared_size(self.val_share * n, n), self.seed)
        augmented = self._read(True, self._transform(*self._augmentations())) if self.augment else samples
        return Subset(augmented, train.tolist()), Subset(samples, val.tolist()), self._read(False, plain)

    def _read(self, is_train: bool, transform: v2.Compose) -> Any:
        try:
            return self.dataset(self.root, train=is_train, transform=transform)
        except RuntimeError as error:
            name = self.dataset.__name__
            raise FileNotFoundError(
                f"no {name} in {self.root.absolute()}: give its folder as `root`, or `download=True` ({error})"
            ) from error

    def _augmentations(self) -> tuple[v2.Transform, ...]:
        return v2.RandomCrop(self.side, padding=4), v2.RandomHorizontalFlip()

    def _transform(self, *augmentations: v2.Transform) -> v2.Compose:
        to_numbers = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std), v2.ToPureTensor())
        return v2.Compose([v2.ToImage(), *augmentations, *to_numbers])


class FashionMNISTDataModule(TorchvisionDataModule):
    """Gray images of clothes, 28 x 28 pixels, ten classes: 60 000 to train on, 10 000 to test."""

    dataset = FashionMNIST
    side = 28
    mean, std = (0.2860,), (0.3530,)


class CIFAR10DataModule(TorchvisionDataModule):
    """Photographs of animals and vehicles, 32 x 32 pixels, ten classes: 50 000 to train on, 10 000 to test."""

    dataset = CIFAR10
    side = 32
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
