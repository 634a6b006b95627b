"""The part of `docs/results.md` about other people's code and about hardware: libraries, and a GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.gpu_check import CLAIMS
from benchmarks.page_parts import table

__all__ = ["gpu_details", "library_details"]

Document = Mapping[str, Any]


def library_details(document: Document) -> list[str]:
    """Return one row per library."""
    keys = ("version", "plain_lines", "extra_lines", "trials", "resumed_to_the_end", "equal")
    rows = [[name, *(str(seen.get(key, "-")) for key in keys)] for name, seen in document["libraries"].items()]
    return [table(["library", *(key.replace("_", " ") for key in keys)], rows)]


def gpu_details(document: Document) -> list[str]:
    """Return one row per check, and what cannot be tested with one GPU."""
    rows = []
    for line in document.get("checks", []):
        seen = json.dumps(line["seen"]) if line["ok"] else "-"
        rows.append([CLAIMS[line["check"]], "yes" if line["ok"] else "**no**", f"{line['seconds']:.1f}", f"`{seen}`"])
    missing = ", ".join(document.get("not_checked", []))
    return [table(["check", "passed", "seconds", "seen"], rows), f"Not checked: {missing}."]
