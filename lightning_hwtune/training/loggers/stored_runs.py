"""The names and ids of a trial's logger runs in its earlier segments: `loggers.json` in the trial's folder.

Only rank 0 reads and writes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning_hwtune.errors import StorageError

__all__ = ["load_runs", "save_runs"]

_NAME = "loggers.json"


def load_runs(trial_dir: str) -> dict[str, Any]:
    """Returns what was saved last; empty for a new trial."""
    try:
        stored: dict[str, Any] = json.loads(Path(trial_dir, _NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return stored


def save_runs(trial_dir: str, stored: dict[str, Any]) -> None:
    """Saves it completely or not at all.

    Raises:
        StorageError: writing to the disk failed.
    """
    part = Path(trial_dir, f"{_NAME}.part")
    try:
        part.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        os.replace(part, part.with_suffix(""))
    except OSError as error:
        part.unlink(missing_ok=True)
        text = f"the names of the trial's logger runs could not be written to {part.with_suffix('')} ({error})"
        raise StorageError(f"{text}; is the disk full?", error.errno) from error
