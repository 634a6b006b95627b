"""A session: the time during which one process runs a study, with its lease, its log and its controller.

Opening takes the lease, rebuilds the state from the log, and ends segments that a dead controller left behind. Closing
writes how the session ended. Every event goes to the log first, then into the state, and to the observers last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from types import TracebackType
from typing import Any, Self, final

from lightning_hwtune import __version__
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Rule
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.spec import AUTO, Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import Clock, RealClock
from lightning_hwtune.engine.fold import rebuilt_state
from lightning_hwtune.engine.outage import Outage, append_patiently
from lightning_hwtune.engine.requests import take_requests
from lightning_hwtune.errors import ArgumentError, StorageError, StudyNotFoundError, first_line
from lightning_hwtune.forms.run_options import LIMITS
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.host.session_signals import cause_of
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.store.database import network_note
from lightning_hwtune.store.database_errors import LOST_CONNECTION
from lightning_hwtune.store.database_url import database_url
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import (
    has_trials,
    next_identity,
    refuse_foreign,
    require_in_place,
    write_identity,
)
from lightning_hwtune.store.inbox import Inbox
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.storage_note import note_storage

__all__ = ["Observer", "Session", "refuse_lost_log"]

Observer = Callable[[Sequence[ev.Event]], None]
_RENEW_S = 5.0
_STATES: Mapping[str, ev.SessionState] = {
    Rule.LIMIT_MAX_TRIALS: ev.SessionState.FINISHED,
    Rule.STALLED: ev.SessionState.FINISHED,
    Rule.EXHAUSTED: ev.SessionState.FINISHED,
    Rule.REPLICATE: ev.SessionState.FINISHED,
    Rule.MAX_FAILURES: ev.SessionState.FAILED,
    Rule.ASKED: ev.SessionState.INTERRUPTED,
}


def refuse_lost_log(files: StudyFiles, storage: str | None) -> None:
    """Refuses a folder that contains trials although their log is not in the given storage; changes nothing.

    Raises:
        StorageError: the folder contains such trials.
    """
    if has_trials(files.root):
        try:
            EventLog.open(files, storage=storage, create=False).close()
        except StudyNotFoundError:
            url = database_url(storage, files.database_path)
            refuse_foreign(files.root, None, str(files.database_path) if storage is None else url.render_as_string())


@final
class Session:
    """A context manager; inside it, `controller` is ready, and `inbox` has the requests of other processes.

    Args:
        limits: the limits of this session; None: those of the newest session that searched.
        given: the names of the limits that the user gave. The others are the defaults with which the study began. None:
            all were given.
        replication: what is trained again in this session, which then does not search.
        rents: whether nodes join and leave in this session, so that it has none at its beginning.
        observers: called with events that are stored in the log and applied to the state.
    """

    controller: Controller
    inbox: Inbox

    def __init__(
        self,
        spec: StudySpec,
        files: StudyFiles,
        limits: Limits | None,
        *,
        given: Set[str] | None = None,
        storage: str | None = None,
        replication: Replication | None = None,
        rents: bool = False,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or RealClock()
        self.files, self.observers = files, list(observers)
        self._spec, self._limits, self._given, self._storage = spec, limits, given, storage
        self._replication, self._rents = replication, rents
        self.say: Callable[[str], None] = lambda text: warnings.warn(text, stacklevel=2)
        self._outage = Outage(lambda text: self.say(text))
        self._end: tuple[ev.SessionState, str, str] | None = None
        self._renewed_at, self._study_id = 0.0, ""

    def __enter__(self) -> Self:
        self._spec.searcher.check_installed()
        now = self.clock.now()
        refuse_lost_log(self.files, self._storage)
        self.files.create()
        self._log = EventLog.open(self.files, storage=self._storage, create=True)
        try:
            self._lease = Lease(self._log)
            self._lease.acquire(now)
        except BaseException:
            self._log.close()
            raise
        try:
            self._open(now)
        except BaseException:
            self._lease.release()
            self._log.close()
            raise
        return self

    def _open(self, now: float) -> None:
        rebuilt = rebuilt_state(self._log, self._spec)
        earlier = rebuilt or rebuilt_state(self._log)
        refuse_foreign(self.files.root, earlier, self._log.database.name)
        identity = next_identity(self.files.root, earlier)
        write_identity(self.files.root, identity)
        if self._storage is not None:
            note_storage(self.files.root, self._storage)
        self._study_id = identity.study_id
        self.controller = Controller(
            rebuilt or StudyState(self._spec), self._append, observe=self._observe, whole=uninterrupted
        )
        if rebuilt is None:
            self.controller.create(now, identity.study_id)
        self.files.sweep(self.controller.state)
        limits, defaults = self._all_limits(self.controller.state)
        facts: dict[str, Any] = {"study_id": identity.study_id, "number": identity.session}
        facts |= {"folder": str(self.files.root), "defaults": defaults}
        facts["given"] = self._given_names(self.controller.state)
        if self._replication is not None:
            facts["replication"] = self._replication.to_dict()
        self.controller.open(limits, now, socket.gethostname(), os.getpid(), __version__, rents=self._rents, **facts)
        if text := self._spec.searcher.remark(self._spec.space):
            self.controller.note_once(text, "searcher", now)
        if rebuilt is None and earlier is not None:
            self._carry_over(earlier, now)
        self.inbox = Inbox(self._log)
        take_requests(self.controller, self.inbox, now)  # those that came between two sessions

    def _all_limits(self, state: StudyFacts) -> tuple[Limits, dict[str, Any]]:
        """Returns the limits of this session, and the defaults of the study."""
        if self._limits is not None:
            return self._limits.by_default(state.default_limits, self._given)
        if state.session is None:
            return Limits().by_default({}, frozenset())
        return state.search_limits.by_default(state.default_limits, None)

    def _given_names(self, state: StudyFacts) -> Sequence[str] | None:
        """Returns the names of the limits for which the user gave a value; None if an older log does not have them."""
        if self._limits is None or self._replication is not None:
            return [] if state.session is None else state.session.given
        given = LIMITS if self._given is None else self._given & LIMITS.keys()
        return sorted(name for name in given if self._limits.value(name) not in (None, AUTO))

    def _carry_over(self, earlier: StudyFacts, now: float) -> None:
        """Takes over what the user enqueued and added before the study was changed."""
        for config in earlier.enqueued:
            with self._dropping(f"the enqueued configuration {dict(config)}", now):
                self.controller.enqueue(config, now)
        for added in earlier.added:
            for last in added.measurements:
                with self._dropping(f"the added result of {dict(added.config)}", now):
                    self.controller.add_result(added.config, last.values, last.resource, now)

    @contextlib.contextmanager
    def _dropping(self, what: str, now: float) -> Iterator[None]:
        """Drops what the changed study does not allow, with a note and a warning."""
        try:
            yield
        except ArgumentError as error:
            text = f"{what} was dropped, since the study has changed: {error}"
            self.controller.note(None, text, now)
            warnings.warn(text, stacklevel=2)

    def _observe(self, events: Sequence[ev.Event]) -> None:
        for observer in self.observers:
            observer(events)

    def _append(self, events: Sequence[ev.Event]) -> None:
        append_patiently(self._log, events, self._outage)

    def note_network_file(self) -> None:
        """Logs a note if the log is a file that other hosts may have mounted, too."""
        if text := network_note(self._log.database):
            self.controller.note_once(spelled(text), "network file", self.clock.now())

    def tick(self) -> None:
        """Renews the lease when it is due.

        A full disk or a server that is away is not an error here. The renewal is retried later, while the trainings
        continue, and a holder that is alive keeps its lease.

        Raises:
            StorageError: the study's folder or its log is not where it was, or the server was away for too long.
        """
        require_in_place(self.files.root, self._study_id)
        self._log.database.require_in_place()
        now = self.clock.now()
        if now - self._renewed_at < _RENEW_S:
            return
        try:
            self._lease.renew(now)
        except StorageError as error:
            if error.errno == LOST_CONNECTION:
                self._outage.seen(error)
            elif error.errno != errno.ENOSPC:
                raise
        else:
            self._outage.over()
        self._renewed_at = now

    def finish(self, done: Done) -> None:
        """Stores how the session ended; it is written to the log on exit."""
        state = _STATES.get(done.reason.rule, ev.SessionState.PAUSED)
        self._end = (state, spelled(done.reason.text), done.reason.rule)

    def ends_as_before(self, closed: ev.SessionClosed | None) -> None:
        """Makes this session end as the one before it did, because it neither searches nor trains."""
        if closed is not None:
            self._end = (ev.SessionState(closed.state), closed.reason, closed.rule)

    def interrupt(self, reason: str) -> None:
        """Stores that something outside the study ends the session; it is written to the log on exit."""
        self._end = (ev.SessionState.INTERRUPTED, reason, "")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            is_user = isinstance(error, KeyboardInterrupt | SystemExit)
            headline = first_line(str(error).partition("\n\n")[0])  # the rest is a traceback
            ended = ev.SessionState.INTERRUPTED if is_user else ev.SessionState.FAILED
            self._end = (ended, cause_of(error) or headline or type(error).__name__, "")
        state, reason, rule = self._end or (ev.SessionState.PAUSED, "closed", "")
        try:
            if not self.controller.state.running:
                self.controller.close(self.clock.now(), state, reason, rule)
        finally:
            self._lease.release()
            self._log.close()
