"""Models of the worked examples. Studies name them by import path; the package itself never imports them."""

from __future__ import annotations

from models.char_transformer import CharTransformer
from models.classifier import Classifier
from models.digits_convnet import DigitsConvNet
from models.digits_mlp import DigitsMLP
from models.resnet18 import ResNet18

__all__ = ["CharTransformer", "Classifier", "DigitsConvNet", "DigitsMLP", "ResNet18"]
