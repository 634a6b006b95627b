"""The location of a study as a user writes it: paths from the working directory, options of reading commands."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.host.own_command import own_command

__all__ = ["STUDY_COMMANDS", "located", "present", "reading_command", "short_path"]

STUDY_COMMANDS = (
    "best", "command", "enqueue", "export", "front", "importance", "ledger", "logs", "plot", "refit", "replicate",
    "report", "rungs", "serve", "status", "stop", "test", "trials", "why",
)  # fmt: skip
"""The commands about a stored study that messages may name."""

_DIR = Path(FILE_KEYS["dir"].default)
_NAMED = re.compile(rf"`hwtune ((?:{'|'.join(STUDY_COMMANDS)})\b[^`]*)`")


def present(folder: Path, checkpoint: str | None) -> Path | None:
    """Returns the path of a checkpoint that the log lists; None if there is none, or no such file in this folder."""
    path = None if checkpoint is None else folder / checkpoint
    return path if path is not None and path.exists() else None


def short_path(path: Path) -> Path:
    """Returns the path relative to the working directory if it is inside it, otherwise the absolute path."""
    full = Path(os.path.abspath(path))
    return full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full


def reading_command(words: str, folder: Path, storage: str | None) -> str:
    """Returns a command about the study in `folder`, to be run in this working directory.

    Args:
        words: the command and its arguments.
        storage: URL of the study's log; a password in it is hidden. It is left out if the folder has a note of it.
    """
    from lightning_hwtune.store.database_url import database_url
    from lightning_hwtune.store.storage_note import noted_storage

    options = [folder.name] if words.startswith("replicate") else ["--study", folder.name]
    parent = short_path(folder.parent)
    if parent != _DIR:
        options += ["--dir", str(parent)]
    if storage is not None and noted_storage(folder) is None:
        options += ["--storage", database_url(storage, folder).render_as_string()]
    return f"{own_command()} {words} {shlex.join(options)}"


def located(text: str, folder: Path, storage: str | None) -> str:
    """Returns a message about the study in `folder`, with its commands about a study as `reading_command` writes them.

    The log and the core do not know where a study is: they write "`hwtune logs 3`".
    """
    return _NAMED.sub(lambda found: f"`{reading_command(found[1], folder, storage)}`", text)
