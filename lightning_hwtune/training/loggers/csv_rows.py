"""Keeps a CSV logger's `metrics.csv` over all segments of a trial.

Lightning's logger deletes the file when it opens its folder. Our own logger renames the file before that and restores
it afterwards. For a logger that the user created, the trial's folder contains a hard link to the same file, which is
not deleted. In both cases the rows that a new segment will write again are removed.
"""

from __future__ import annotations

import csv
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_hwtune.core.record import Unit
from lightning_hwtune.training.context import current_segment

__all__ = ["KeptMetricsFile", "continue_metrics", "hold_metrics", "point_to"]

Row = dict[str, str]


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
            warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # its files are kept
            writer = super().experiment  # type: ignore[misc]
        if aside.exists():
            writer.metrics_keys = _drop_repeated(aside)
            aside.replace(path)
        return writer


def _drop_repeated(path: Path) -> list[str]:
    """Removes the rows that the current segment will write again; returns the column names."""
    names, rows = _read(path)
    kept = [row for row in rows if _is_before_segment(row)]
    if len(kept) < len(rows):
        _write(path, names, kept)
    return names


def hold_metrics(logger: Any, held: Path) -> None:
    """Makes `held` a hard link to the file that a `CSVLogger` writes; a copy if a link is not possible."""
    path = Path(logger.experiment.metrics_file_path)
    if not path.is_file() or _is_same(path, held):
        return
    held.parent.mkdir(exist_ok=True)
    part = held.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    os.replace(part, held)


def continue_metrics(logger: Any, held: Path, folder: Path) -> None:
    """Makes a `CSVLogger` continue in `folder`, with the rows in `held` and those that it has already written."""
    writer = logger.experiment
    path = Path(writer.metrics_file_path)
    target = folder / path.name
    names, rows = _read(held)
    fresh_names, fresh = ([], []) if _is_same(path, held) else _read(path)
    rows = [row for row in rows if _is_before_segment(row)] + fresh
    writer.metrics_keys = sorted({*names, *fresh_names}) if rows else []
    for obsolete in {path, target}:
        obsolete.unlink(missing_ok=True)
    if rows:
        _write(target, writer.metrics_keys, rows)
    point_to(logger, folder)
    hold_metrics(logger, held)


def point_to(logger: Any, folder: Path) -> None:
    """Makes the writer that a `CSVLogger` has opened write to another folder, without deleting anything there."""
    writer = logger.experiment
    writer.log_dir, writer.metrics_file_path = str(folder), str(folder / Path(writer.metrics_file_path).name)


def _is_same(path: Path, held: Path) -> bool:
    return path.exists() and held.exists() and held.samefile(path)


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """Returns the column names and the rows of a file; both are empty if there is no file."""
    if not path.is_file():
        return [], []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def _write(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes a file completely or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


def _is_before_segment(row: Row) -> bool:
    segment = current_segment()
    if segment is None or segment.order.unit == Unit.SAMPLES:
        return True
    column = "epoch" if segment.order.unit == Unit.EPOCHS else "step"
    value = row.get(column)
    return not value or float(value) < segment.order.resource


def _is_rank_zero() -> bool:
    from lightning_utilities.core.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) in (0, None)
