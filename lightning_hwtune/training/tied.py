"""Importing this in a fork server ties it to the process that started it: its first import, and of no use elsewhere.

By itself a fork server notices a dead parent only once it has imported everything else, and then takes seconds to shut
down with torch loaded; its ranks would live on as long.
"""

from __future__ import annotations

import os

from lightning_hwtune.training.lifeline import die_with_parent

__all__ = ["PARENT"]

PARENT = "HWTUNE_FORK_SERVER_OF"
"""Environment variable with the process id of the parent."""

_parent = os.environ.pop(PARENT, None)
if _parent is not None:
    die_with_parent(int(_parent))
