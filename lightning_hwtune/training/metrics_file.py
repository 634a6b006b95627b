"""A CSV logger's `metrics.csv` that lasts over a trial's segments.

Lightning's logger deletes the file when it opens its folder. Here it is put aside meanwhile and taken up again, without
the rows of work that a new segment repeats.
"""

from __future__ import annotations

import csv
import os
import warnings
from pathlib import Path
from typing import Any

from lightning_hwtune.training.context import current_segment

__all__ = ["KeptMetricsFile"]


class KeptMetricsFile:
    """Mixed into a `CSVLogger` of one class tree."""

    @property
    def experiment(self) -> Any:
        """The writer; opened on first use, on rank 0 only."""
        if getattr(self, "_experiment", None) is not None or not _is_rank_zero():
            return super().experiment  # type: ignore[misc]
        path = Path(self.log_dir) / "metrics.csv"  # type: ignore[attr-defined]
        aside = path.with_suffix(".kept")
        if path.exists():
            path.replace(aside)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # and will stay as it is
            writer = super().experiment  # type: ignore[misc]
        if aside.exists():
            writer.metrics_keys = _drop_repeated(aside)
            aside.replace(path)
        return writer


def _drop_repeated(path: Path) -> list[str]:
    """Removes the rows that the present segment will write again; returns the column names."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        names, rows = list(reader.fieldnames or ()), list(reader)
    kept = [row for row in rows if _is_before_segment(row)]
    if len(kept) < len(rows):
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(part, path)
    return names


def _is_before_segment(row: dict[str, str]) -> bool:
    segment = current_segment()
    if segment is None or segment.order.unit == "samples":
        return True
    column = "epoch" if segment.order.unit == "epochs" else "step"
    value = row.get(column)
    return not value or float(value) < segment.order.resource


def _is_rank_zero() -> bool:
    from lightning_utilities.core.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) in (0, None)
