"""Numbers and tables for readers, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["shown", "spread", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def shown(value: Any) -> str:
    """Returns a value for readers."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "-" if value is None else str(value)


def spread(found: Mapping[str, float]) -> str:
    """Returns a median and its interval."""
    return f"{shown(found['median'])} [{shown(found['low'])}, {shown(found['high'])}]"
