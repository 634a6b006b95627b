"""The words that start this program's command line from a shell, in the environment that it was installed into."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["own_command"]

_NAME = "hwtune"


def own_command() -> str:
    """Returns "hwtune" if the shell finds this installation by that name; otherwise words that do start it.

    Without an activated environment, a shell finds no `hwtune`, or one of another environment.
    """
    script, found = Path(sys.executable).parent / _NAME, shutil.which(_NAME)
    if not script.is_file():  # scripts of a user's own packages are elsewhere
        return _NAME if found is not None else f"{shlex.quote(sys.executable)} -m lightning_hwtune"
    if found is not None and os.path.samefile(found, script):
        return _NAME
    here = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return shlex.quote(str(here))
