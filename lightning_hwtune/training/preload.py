"""What the forkserver imports once, so that every rank starts warm: no tensor is made here and no device is asked."""

from __future__ import annotations

import lightning.pytorch
import lightning.pytorch.callbacks
import lightning.pytorch.loggers  # noqa: F401
import omegaconf  # noqa: F401

import lightning_hwtune.training.attach
import lightning_hwtune.training.lightning_tree
import lightning_hwtune.training.worker  # noqa: F401

__all__: list[str] = []
