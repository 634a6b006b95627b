"""The studies that a server shows: all of a folder or a database, each watched while a page of it is open.

Answers that read a whole study are kept until it changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.errors import HwTuneError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy, newest_first, study_entries
from lightning_hwtune.views.export import json_text
from lightning_hwtune.web.watched import Position, Watched

__all__ = ["Studies", "Watcher"]

_INTERVAL_S = 0.4
_LINGER_S = 20.0  # a study without a page is watched for so long, since a page may be reloaded
_PATIENCE = 10.0  # a line of the list that took a second is made again after so many seconds, while the study runs


@final
class Watcher:
    """One watched study, read in a thread so that the server can answer meanwhile."""

    def __init__(self, chosen: StoredStudy) -> None:
        self.watched = Watched(chosen)
        self.n_pages = self.n_changes = 0
        self.error = ""
        self._lock = threading.Lock()
        self._changed = asyncio.Condition()
        self._wanted_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._computing = asyncio.Lock()
        self._importance: tuple[tuple[str, int], str] | None = None

    async def ask(self, method: Any, *arguments: Any) -> Any:
        """Returns the answer of a method of `watched`, in a thread."""
        return await asyncio.to_thread(self._locked, method, *arguments)

    def _locked(self, method: Any, *arguments: Any) -> Any:
        with self._lock:
            return method(*arguments)

    def want(self) -> None:
        """Keeps the study watched for some time from now."""
        self._wanted_until = time.monotonic() + _LINGER_S
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())

    async def changed(self, seen: int, timeout_s: float) -> None:
        """Waits until `n_changes` is more than the caller has seen, or for this time."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self.n_changes > seen), timeout_s)

    async def message(self, position: Position) -> str | None:
        """Returns what a page at this position lacks; see `Watched.message`."""
        found: str | None = await self.ask(self.watched.message, position)
        return found

    async def importance(self) -> str:
        """Returns the importance of the parameters as JSON; a reader of its own does not delay the events."""
        async with self._computing:
            source = self.watched.study_id, self.watched.number
            if self._importance is None or self._importance[0] != source:
                chosen = self.watched.chosen
                found = await asyncio.to_thread(StoredStudy(chosen.study, chosen.storage).importance)
                self._importance = source, json_text(found, indent=None)
            return self._importance[1]

    async def _watch(self) -> None:
        while self.n_pages or time.monotonic() < self._wanted_until:
            before = self.error
            try:
                if await self.ask(self.watched.read):
                    await self._notify()
                while await self.ask(self.watched.renew):  # may take long, so a page has the events first
                    await self._notify()
                self.error = ""
            except HwTuneError as error:
                self.error = str(error)
            if self.error != before:
                await self._notify()
            await asyncio.sleep(_INTERVAL_S)

    async def _notify(self) -> None:
        async with self._changed:
            self.n_changes += 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Line:
    """The entry of a study in the list: its newest event at that time, and whether a process ran it."""

    entry: dict[str, Any]
    newest: tuple[int, str] | None
    is_driven: bool
    due_at: float


@final
class Studies:
    """The studies of a folder, or of the database `storage`. `only`: the name of the one to show; None for all."""

    def __init__(self, dir: Path, storage: str | None, only: str | None = None) -> None:  # noqa: A002
        self._dir, self._storage, self._only = dir, storage, only
        self._watchers: dict[str, Watcher] = {}
        self._lock = asyncio.Lock()
        self._lines: dict[str, _Line] = {}
        self._listing = threading.Lock()

    def names(self) -> list[str]:
        """Returns their names, the one that ran last first.

        Raises:
            StudyNotFoundError: there is none.
        """
        return [self._only] if self._only is not None else newest_first(self._dir, self._storage)

    def check(self, name: str) -> None:
        """Checks that a study can be shown.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        StoredStudy.load(name, self._dir, self._storage)

    def entries(self) -> list[dict[str, Any]]:
        """Returns one line per study, as `hwtune status --format json` does with several studies.

        A study is read again only if it has changed; while a process runs a large study, less often.
        """
        with self._listing:
            return [self._entry(name) for name in self.names()]

    def _entry(self, name: str) -> dict[str, Any]:
        begun = time.monotonic()
        try:
            with EventLog.open(StudyFiles(self._dir, name), storage=self._storage, create=False) as log:
                newest, is_driven = log.newest(), Lease(log).beat(time.time()) is not None
        except HwTuneError:
            return study_entries(self._dir, [name], self._storage)[0]  # with the reason
        kept = self._lines.get(name)
        if (
            kept is not None
            and kept.is_driven == is_driven
            and (kept.newest == newest or (is_driven and begun < kept.due_at))
        ):
            return kept.entry
        entry = study_entries(self._dir, [name], self._storage)[0]
        now = time.monotonic()
        self._lines[name] = _Line(entry, newest, is_driven, now + _PATIENCE * (now - begun))
        return entry

    async def watcher(self, name: str) -> Watcher:
        """Returns the watcher of a study, which is watched from now on.

        Raises:
            StudyNotFoundError: there is no such study.
        """
        async with self._lock:
            if name not in self._watchers:
                chosen = await asyncio.to_thread(StoredStudy.load, name, self._dir, self._storage)
                self._watchers[name] = Watcher(chosen)
            found = self._watchers[name]
        found.want()
        return found
