"""Rows of peers, kept compressed in the repository, so that a clean clone runs only our own arms.

A row is plain data with `arm`, `seed` and `version`, that of the peer's package. The rows of a benchmark are one file.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "keep", "kept", "versions"]

Row = dict[str, Any]

FOLDER = Path(__file__).parent / "peers" / "rows"


def kept(benchmark: str) -> list[Row]:
    """Returns the kept rows of a benchmark; empty if there are none."""
    path = _path(benchmark)
    rows: list[Row] = json.loads(gzip.decompress(path.read_bytes())) if path.exists() else []
    return rows


def keep(benchmark: str, new: Iterable[Row], key: Sequence[str]) -> None:
    """Adds rows to those of a benchmark; a new row replaces the one with the same values of these columns."""
    rows = {tuple(row[name] for name in key): row for row in [*kept(benchmark), *new]}
    FOLDER.mkdir(parents=True, exist_ok=True)
    _path(benchmark).write_bytes(gzip.compress(json.dumps(list(rows.values())).encode(), mtime=0))


def versions(rows: Iterable[Row], package: str) -> dict[str, str]:
    """Returns the versions of a package that gave these rows, as one text; empty if there is no row."""
    found = sorted({row["version"] for row in rows})
    return {package: ", ".join(found)} if found else {}


def _path(benchmark: str) -> Path:
    return FOLDER / f"{benchmark}.json.gz"
