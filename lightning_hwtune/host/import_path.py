"""The import path and the working folder of this process, in the form that another process needs."""

from __future__ import annotations

import os
import sys

__all__ = ["import_path", "working_folder"]


def import_path() -> list[str]:
    """Returns this process's `sys.path` with absolute folders, for a process with another working folder."""
    here = working_folder()
    folders = [os.fspath(folder) for folder in sys.path if isinstance(folder, str | os.PathLike)]
    return [os.path.join(here, folder) if folder else here for folder in folders if here or os.path.isabs(folder)]


def working_folder() -> str:
    """Returns the working folder; an empty string if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
