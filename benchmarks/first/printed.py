"""What each script of a first study prints last, so that the benchmark knows when its first value was there."""

from __future__ import annotations

import json

__all__ = ["FIRST", "print_first_value"]

FIRST = "first_value_at"


def print_first_value(at: float) -> None:
    """Prints the time of the first value, in seconds since the epoch."""
    print(json.dumps({FIRST: at}), flush=True)
