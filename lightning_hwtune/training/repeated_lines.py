"""Lines that Lightning logs for every Trainer, such as its tips, are shown once where segments share a process.

Segments that train in the user's process, by `executor="inline"` or ask and tell, print into the user's terminal.
"""

from __future__ import annotations

import logging
import warnings
from types import TracebackType
from typing import final

__all__ = ["RepeatedLines"]

_PARTS = (
    "fabric.utilities.rank_zero",
    "pytorch.utilities.rank_zero",
    "pytorch.trainer.connectors.checkpoint_connector",
)
_TREES = {"fabric": ("lightning.fabric", "lightning_fabric"), "pytorch": ("lightning.pytorch", "pytorch_lightning")}
_LINES = (
    "GPU available:",
    "TPU available:",
    "HPU available:",
    "💡 Tip:",
    "`weights_only` was not set",
    "`Trainer.fit` stopped",
)  # not what differs from segment to segment, such as where a checkpoint was restored


_WARNINGS = (r"`isinstance\(treespec, LeafSpec\)` is deprecated",)
"""Warnings that Lightning's own code causes in every Trainer, and that its users can do nothing about; not shown."""


@final
class RepeatedLines(logging.Filter):
    """A context manager; inside it, each of these lines is shown only once, also over several uses of the object."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is shown."""
        text = record.getMessage()
        if not text.startswith(_LINES):
            return True
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new

    def __enter__(self) -> None:
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in _loggers():
            logger.addFilter(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for logger in _loggers():
            logger.removeFilter(self)


def _loggers() -> list[logging.Logger]:
    places = [part.partition(".") for part in _PARTS]
    return [logging.getLogger(f"{tree}.{rest}") for root, _, rest in places for tree in _TREES[root]]
