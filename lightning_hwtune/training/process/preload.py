"""The imports that the fork server makes once for all ranks; no tensor is created here and no device is used."""

from __future__ import annotations

import cloudpickle  # noqa: F401 - reads a training function that is stored by value
import lightning.pytorch
import lightning.pytorch.callbacks
import lightning.pytorch.loggers  # noqa: F401
import omegaconf  # noqa: F401

import lightning_hwtune.training.attach
import lightning_hwtune.training.lightning_tree
import lightning_hwtune.training.process.rank_main  # noqa: F401

__all__: list[str] = []
