"""How long a training step takes on more devices and nodes: measured points, the formula, its fit, the fitted model."""

from __future__ import annotations

from lightning_hwtune.core.hardware.scaling.model import ScalingModel
from lightning_hwtune.core.hardware.scaling.points import ScalingPoint
from lightning_hwtune.core.hardware.scaling.prediction import Prediction
from lightning_hwtune.core.hardware.scaling.profile import ScalingProfile
from lightning_hwtune.core.hardware.scaling.shape import ScalingShape

__all__ = ["Prediction", "ScalingModel", "ScalingPoint", "ScalingProfile", "ScalingShape"]
