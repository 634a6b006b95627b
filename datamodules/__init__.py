"""Data for the worked examples. Studies name these classes by import path; the package itself never imports them."""

from __future__ import annotations

from datamodules.digits import DigitsDataModule, TensorBatches, load_once

__all__ = ["DigitsDataModule", "TensorBatches", "load_once"]
