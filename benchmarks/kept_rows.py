"""Rows of a long benchmark, saved in a folder, so that an interrupted run can continue.

A file holds what one part of a benchmark has found: one row of plain data a seed, and the settings that they were found
under. Rows of other settings are computed again. Empty the folder when a rule of the package has changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Row", "kept_rows"]

Row = dict[str, Any]


def kept_rows(
    folder: Path | None, part: str, about: Mapping[str, Any], seeds: Iterable[int], find: Callable[[int], Row]
) -> list[Row]:
    """Returns the row of each seed, from the folder or from `find`; new ones are saved at once. None = do not save.

    Args:
        part: names the file. about: the settings of all rows, plain data.
    """
    path = folder and folder / f"{part.replace('/', '.')}.json"
    known = _read(path, about)
    rows = []
    for seed in seeds:
        if seed not in known:
            known[seed] = find(seed)
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"about": about, "rows": known}))
        rows.append(known[seed])
    print(part, file=sys.stderr, flush=True)
    return rows


def _read(path: Path | None, about: Mapping[str, Any]) -> dict[int, Row]:
    """Returns seed -> row of a file."""
    if path is None or not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {int(seed): row for seed, row in kept["rows"].items()} if kept["about"] == dict(about) else {}
