"""A folder for sockets. The path of a socket may have only about 100 bytes, so the folder needs a short path.

The fork server deletes its folder when it ends. A folder remains only if the controller and the server are killed
together. Its name identifies its owner, and the next study of the same user on the same machine deletes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lightning_hwtune.errors import StorageError
from lightning_hwtune.host.process_identity import birth_of

__all__ = ["make_socket_folder"]

_PREFIX = "hwtune-"
_MAX_BYTES = 40  # of the parent folder's path: with both names appended, a socket's path has at most 107 bytes


def make_socket_folder() -> str:
    """Creates a folder that only this user can enter and returns it; deletes the folders of dead processes.

    Raises:
        StorageError: this user cannot write to any folder with a short path.
    """
    for base in _bases():
        _sweep(base)
        try:
            return tempfile.mkdtemp(prefix=f"{_PREFIX}{'-'.join(_owner(os.getpid()))}-", dir=base)
        except OSError:
            continue
    raise StorageError(
        "no folder with a short path can be written for sockets: neither TMPDIR "
        f"({tempfile.gettempdir()!r}) with at most {_MAX_BYTES} bytes, nor XDG_RUNTIME_DIR, /tmp or /var/tmp; "
        "make one of them writable, or use executor='inline'"
    )


def _bases() -> Iterator[Path]:
    for folder in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp"):
        if folder and len(os.fsencode(folder)) <= _MAX_BYTES:
            yield Path(folder)


def _owner(pid: int) -> list[str]:
    """Returns a process's id, start time, PID namespace and machine boot, which identify it across machines."""
    boot, numbers, start = (birth_of(pid) or "//").split("/")
    return [str(pid), start, "".join(filter(str.isdigit, numbers)), boot[:6]]


def _sweep(base: Path) -> None:
    """Deletes the folders of this user's ended processes; keeps those of other machines and containers."""
    here = _owner(os.getpid())[2:]
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            *owner, _ = folder.name.removeprefix(_PREFIX).split("-")
            is_mine = len(owner) == 4 and owner[2:] == here and folder.stat().st_uid == os.getuid()
            if is_mine and owner != _owner(int(owner[0])):
                shutil.rmtree(folder, ignore_errors=True)
