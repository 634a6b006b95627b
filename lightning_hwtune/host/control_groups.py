"""The control groups of this process, by which Linux limits what a container may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["group_folders", "text_of"]


def group_folders(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Yields the version (1 or 2) and the folder of each control group of this process, and of their parent groups.

    Args:
        controller: what the groups limit, such as "cpu" or "memory".
        root: the root of the file system, below which Linux lists the control groups.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield from ((2, folder) for folder in _around(root / "sys/fs/cgroup", path))
        elif controller in controllers.split(","):
            yield from ((1, folder) for folder in _around(root / "sys/fs/cgroup" / controller, path))


def _around(mount: Path, path: str) -> list[Path]:
    """Returns the group's folder and its parent folders. Inside a container the mount itself may be the group."""
    own = mount / path.lstrip("/")
    return [mount] if mount not in own.parents else [own, *own.parents[: own.parents.index(mount) + 1]]


def text_of(path: Path) -> str:
    """Returns the text of a file of the kernel; an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
