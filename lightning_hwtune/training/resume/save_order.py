"""Finds loops that save a state before they report it; such a state would count as that of the report before.

Nothing says whether a loop has trained between a report and the next `save`, but most training draws random numbers: a
shuffled loader does, and dropout. If the streams moved between a report and a `save`, and not between that `save` and
the next report, the training was before the `save`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

__all__ = ["SaveOrder"]


@final
class SaveOrder:
    """Follows the reports and saves of one loop."""

    def __init__(self) -> None:
        self._reported = self._saved = ""

    def saved(self, streams: Mapping[str, Any]) -> None:
        """Notes the random streams at a save."""
        self._saved = _digest(streams)

    def reported(self, streams: Mapping[str, Any]) -> bool:
        """Notes the random streams at a report; returns whether what it reports was saved before it."""
        now = _digest(streams)
        is_late = bool(self._reported) and self._reported != now == self._saved
        self._reported, self._saved = now, ""
        return is_late


def _digest(streams: Mapping[str, Any]) -> str:
    # here, because they import torch, which commands that read a study do without
    from lightning_hwtune.training.resume.attribute_values import digest
    from lightning_hwtune.training.value_digest import value_digest

    return value_digest(streams) + digest(list(streams.get("python", ())))
