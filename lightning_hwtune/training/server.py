"""The first import of a fork server, and of no use elsewhere: ties it to its parent, and lets it import faster.

By itself a fork server notices a dead parent only once it has imported everything else, and then takes seconds to shut
down with torch loaded; its ranks would live on as long.

The imports that follow make a million objects and hardly any garbage: without the collector they take a fifth less
time. It stays off in the server, which does nothing but fork; a rank sets aside what it inherits and switches it on.
"""

from __future__ import annotations

import gc
import os

from lightning_hwtune.training.lifeline import die_with_parent

__all__ = ["INHERITED", "PARENT"]

PARENT = "HWTUNE_FORK_SERVER_OF"
"""Environment variable with the process id of a parent to end with."""

_parent = os.environ.pop(PARENT, None)
INHERITED = frozenset(os.environ)
"""Names of the environment variables with which the fork server began, before any import added its own."""

if _parent is not None:
    gc.disable()
    die_with_parent(int(_parent))
