"""The functions that Lightning's entry points call for every Trainer: they add our callback, but only in a segment.

They are called while the Trainer is being created, which is the last moment before its loggers open their folders.

Lightning has two packages, `lightning.pytorch` and `pytorch_lightning`, and each reads its own group of entry points.
So each package gets the class of its own tree, and the other tree is never imported.
"""

from __future__ import annotations

import logging
from typing import Any

from lightning_hwtune.training.context import current_segment
from lightning_hwtune.training.launchers import take_launchers

__all__ = ["lightning_callbacks", "pytorch_lightning_callbacks"]


def lightning_callbacks() -> list[Any]:
    """Returns the callbacks for a `lightning.pytorch` Trainer."""
    if (segment := current_segment()) is None:
        return []
    logging.getLogger("lightning.fabric.utilities.registry").addFilter(_is_not_about_us)
    from lightning_hwtune.training.lightning_classes import adapt_classes
    from lightning_hwtune.training.lightning_tree import RungCallback

    take_launchers(segment)
    adapt_classes("lightning.pytorch")
    return [RungCallback(attached=True)]


def pytorch_lightning_callbacks() -> list[Any]:
    """Returns the callbacks for a `pytorch_lightning` Trainer."""
    if (segment := current_segment()) is None:
        return []
    logging.getLogger("lightning_fabric.utilities.registry").addFilter(_is_not_about_us)
    from lightning_hwtune.training.lightning_classes import adapt_classes
    from lightning_hwtune.training.pytorch_lightning_tree import RungCallback

    take_launchers(segment)
    adapt_classes("pytorch_lightning")
    return [RungCallback(attached=True)]


def _is_not_about_us(record: logging.LogRecord) -> bool:
    """Return whether a line is not "Adding 1 callbacks from entry point 'hwtune'", which every Trainer would log."""
    return "callbacks from entry point 'hwtune'" not in record.getMessage()
