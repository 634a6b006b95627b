"""Models of the worked examples. Studies name them by import path; the package itself never imports them."""

from __future__ import annotations

from models.digits_convnet import DigitsConvNet
from models.digits_mlp import DigitsMLP

__all__ = ["DigitsConvNet", "DigitsMLP"]
