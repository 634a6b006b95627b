"""The facts about a study as of one of its events, in a file of its folder: a large log is not read by each command.

The file may be deleted at any time. The log decides whether it counts: the same code must have written it, for the same
study, and the first event of the log and the newest event that it contains must be the same. Otherwise, and if it is
damaged, it is ignored. If it cannot be written, there is no cache.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import lightning_hwtune
from lightning_hwtune.errors import StorageError
from lightning_hwtune.store.files import StudyFiles, write_whole
from lightning_hwtune.store.log import EventLog

__all__ = ["CachedFacts", "FactsCache"]

_FORM = 5


@final
@dataclass(frozen=True, slots=True)
class CachedFacts:
    """Facts as plain data. They follow from the events up to `number`, whose text in the log is `body`."""

    number: int
    body: str
    data: Mapping[str, Any]


@final
class FactsCache:
    """The cache of one study. Creating this object does not access the disk."""

    def __init__(self, files: StudyFiles) -> None:
        self._files, self.path = files, files.root / "study.cache"

    def read(self, log: EventLog) -> CachedFacts | None:
        """Returns the cached facts if they follow from this log, otherwise None."""
        try:
            head, _, content = self.path.read_bytes().partition(b"\n")
            said = json.loads(head)
            number = said["number"]
            body = log.body(number) if isinstance(number, int) else None
            if body is None or said != _head(log, number, body, content):
                return None
            return CachedFacts(number, body, json.loads(zlib.decompress(content)))
        except Exception:  # a damaged file may raise anything
            return None

    def write(self, log: EventLog, found: CachedFacts) -> None:
        """Replaces the cache; does nothing if the folder or the log is read-only, or if the file cannot be written."""
        with contextlib.suppress(StorageError, OSError, ValueError):
            if _is_read_only(self._files.root) or _is_read_only(self._files.database_path):
                return
            for left in self._files.root.glob(f"{self.path.name}.*.part"):  # by a process that was killed
                left.unlink(missing_ok=True)
            content = zlib.compress(json.dumps(found.data, separators=(",", ":")).encode(), level=1)
            head = json.dumps(_head(log, found.number, found.body, content))
            write_whole(self.path, head.encode() + b"\n" + content)


def _head(log: EventLog, number: int, body: str, content: bytes) -> dict[str, Any]:
    """Returns what must be equal for a cache to count."""
    first = log.body(1) or ""
    return {
        "form": _FORM,
        "code": _code_digest(),
        "study_id": json.loads(first).get("study_id", ""),
        "first": _digest(first.encode()),
        "number": number,
        "newest": _digest(body.encode()),
        "content": _digest(content),
    }


@functools.cache
def _code_digest() -> str:
    """Returns a digest of the version and of the code that makes the facts, which may change without the version."""
    core = Path(lightning_hwtune.__file__).parent / "core"
    sources = [path.read_bytes() for path in sorted(core.rglob("*.py"))]
    return _digest(b"\0".join([lightning_hwtune.__version__.encode(), *sources]))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _is_read_only(path: Path) -> bool:
    """Return whether a file or folder exists and must not be written; mode bits count even for the superuser."""
    return path.exists() and not (os.access(path, os.W_OK) and path.stat().st_mode & 0o222)
