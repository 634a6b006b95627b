"""The end of a trial's output, for the page. `hwtune logs` prints all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["MOST_BYTES", "log_tails"]

MOST_BYTES = 16_000
"""How much of each file is sent."""
_MOST_FILES = 8


def log_tails(folder: Path) -> list[dict[str, Any]]:
    """Returns the end of each file of the newest segment, one per rank: its name, its text, and whether it is whole."""
    names = sorted(path.name for path in folder.glob("*.log"))
    newest = [name for name in names if _segment(name) == _segment(names[-1])]
    found = []
    for name in newest[:_MOST_FILES]:
        try:
            with (folder / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(size - MOST_BYTES, 0))
                text = file.read(MOST_BYTES).decode(errors="replace")
        except OSError:  # it was just removed, or this user may not read it
            continue
        is_whole = size <= MOST_BYTES
        found.append({"name": name, "text": text if is_whole else text.partition("\n")[2], "is_whole": is_whole})
    return found


def _segment(name: str) -> str:
    """Returns the part of a file's name that names the segment."""
    return name.partition("_rank")[0]
