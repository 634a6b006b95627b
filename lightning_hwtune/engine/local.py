"""The default executor: a new process for each rank of each segment, forked from a server that has torch loaded.

A segment's processes start in about a tenth of a second. When they end they release everything: memory, GPU contexts
and all processes that they started. The ranks of one segment form a group:

- If a rank dies or stops sending heartbeats, its group is ended. Other groups are not affected.
- The reported cause is the first error that is not merely a consequence of another rank's death.
- If this process dies, however suddenly, its ranks and all their descendants end (`training.process.fork_server`).
- If the fork server dies, its segments are interrupted, which does not count as a retry, and a new server is started.

A user script without an `if __name__ == "__main__"` guard is not executed again in the children, because they do not
load this process's `__main__`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection as mp
from pathlib import Path
from typing import Any, ClassVar, Self, final

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import Abilities, RunSetup, Sink, slow_libraries
from lightning_hwtune.engine.fork_server import PRELOAD, fork_server
from lightning_hwtune.engine.hang import HangLimit
from lightning_hwtune.engine.rank_group import ABANDONED, Group, summary
from lightning_hwtune.engine.rank_process import Rank
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.training.channel import (
    LOOPBACK,
    Beat,
    Ended,
    Imported,
    Message,
    Note,
    Report,
    Saved,
    SegmentOrder,
    Started,
    VerdictMessage,
)

__all__ = ["LATER", "LocalExecutor"]

LATER = VerdictMessage(VerdictKind.CONTINUE, "the answer follows")
"""What a sink returns instead of an answer that it does not have yet; see `LocalExecutor.answer`."""

_INTERRUPTED_S = 20.0  # then the server gives up such a module, and serves again
_LIBRARY_S = 60.0  # limit for one module that the fork server imports although the user did not ask for it
_GRACE_S = 10.0  # time for the other ranks to end by themselves after the first one has ended
_ECHO_GRACE_S = 1.0  # the same after an error: with gloo a dead rank fails its group in less than a tenth of this
_END_S = 10.0  # time for the end of a killed rank to be reported; after that the server counts as dead
_LEAST_FREE_BYTES = 1 << 30
_TICK_S = 0.5  # between two calls of `tick` while the fork server imports
_MAX_SPARES = 8  # each takes some megabytes; on a larger pool, segments rarely start at the same time
_MAX_SERVER_DEATHS = 3  # in a row, without a report between them


@final
class LocalExecutor:
    """Trains segments in processes on this host.

    Args:
        payload: file with the cloudpickled training function.
        heartbeat_s: a rank that sends no heartbeat for this many seconds is ended together with its group.
        start_s: the same limit before the first heartbeat; also the limit for one import of the fork server.
        hang_timeout_s: also end a group that is alive but makes no progress; see `engine.hang.HangLimit`.
        preload: further modules for the fork server to import once; they must not run tensor operations at import.
        n_spares: how many ranks the fork server keeps ready for the next segments.
        address: of this host, at which ranks on other nodes reach it.

    Attributes:
        wake_on: `wait` also returns when one of these sockets can be read.
        least_free_bytes: no rank is kept ready while less memory is free.
    """

    abilities: ClassVar[Abilities] = Abilities(
        trains_here=False,
        starts_processes=True,
        can_check=True,
        limits_hangs=True,
        needs_payload=True,
        uses_fork_server=True,
    )

    def __init__(
        self,
        payload: Path,
        *,
        heartbeat_s: float = 15.0,
        start_s: float = 120.0,
        hang_timeout_s: float | str | None = None,
        preload: Sequence[str] = (),
        n_spares: int = 0,
        address: str = LOOPBACK,
        least_free_bytes: int = _LEAST_FREE_BYTES,
    ) -> None:
        self._payload, self._heartbeat_s, self._start_s, self._address = payload, heartbeat_s, start_s, address
        self._hang = HangLimit(hang_timeout_s)
        self._preload = tuple(preload)
        self._libraries: tuple[str, ...] = ()
        self._knows_libraries = False  # from the check, or from the first segment that reported
        self._groups: dict[int, Group] = {}
        self.wake_on: Sequence[socket.socket] = ()
        self._noted: set[str] = set()  # modules of `preload` that cannot be imported and were already noted
        self._server = fork_server()
        self._n_deaths = self._server.n_deaths  # when a report last arrived
        self._server.require((PRELOAD, *preload))  # its imports overlap with what the caller does next
        self._server.keep_spares(self, n_spares, least_free_bytes)

    @classmethod
    def for_run(cls, setup: RunSetup) -> Self:
        """Returns the executor of a run, with a spare rank per device that it uses."""
        if setup.payload is None:
            raise ArgumentError("payload", None, "the file with the training function")
        n_spares = min(setup.n_ranks, setup.pool.places, _MAX_SPARES)
        return cls(setup.payload, preload=setup.preload, hang_timeout_s=setup.hang_timeout, n_spares=n_spares)

    # ------------------------------------------------------------------ start

    def start(self, order: SegmentOrder, node_rank: int = 0, meeting: tuple[str, int] | None = None) -> None:
        """Starts a segment with one process per rank: at once, or in `wait` as soon as the fork server is ready.

        Args:
            node_rank: which of the segment's nodes this host is; only its ranks are started.
            meeting: address and port of the store, on a host that does not have the first rank.
        """
        self._groups[order.trial_id] = Group(order, node_rank, meeting, self._address)
        self._begin()

    def meeting(self, trial_id: int) -> tuple[str, int] | None:
        """Returns address and port of a running segment's store; None as long as its ranks are not started."""
        group = self._groups.get(trial_id)
        return None if group is None or not group.ranks else group.meeting

    def preload(self, libraries: Sequence[str]) -> None:
        """Makes the fork server import further modules; if one of them hangs or kills it, all of them are dropped."""
        self._libraries = tuple(dict.fromkeys((*self._libraries, *libraries)))
        self._knows_libraries = True
        if self._libraries:
            self._require()

    def await_imports(self, tick: Callable[[], None]) -> None:
        """Returns as soon as the fork server can start ranks; calls `tick` meanwhile.

        Raises:
            TrialError: the server does not become ready.
        """
        while not self._is_server_ready():
            mp.wait(self._server.waitable, _TICK_S)
            tick()

    def _is_server_ready(self) -> bool:
        """Returns whether the fork server has its imports; starts it if it has ended.

        Raises:
            TrialError: the server does not become ready: it takes too long, or it dies repeatedly.
        """
        self._require()
        if not self._server.is_ready:
            self._check_server()
        return self._server.is_ready

    def _require(self) -> None:
        limits = dict.fromkeys(set(self._libraries) - set(self._preload), _INTERRUPTED_S)
        self._server.require((PRELOAD, *self._preload, *self._libraries), limits)

    def _begin(self) -> None:
        """Starts the ranks of groups that have none yet, if the fork server is ready.

        Raises:
            TrialError: the server does not become ready.
        """
        waiting = [group for group in self._groups.values() if not group.ranks and group.verdict is None]
        if not waiting:
            return
        if not self._is_server_ready():
            return
        for group in waiting:
            group.finds_libraries = not self._knows_libraries
            with uninterrupted():  # defer signals, so that every started process is recorded
                try:
                    group.start(self._server, self._payload)
                except ConnectionError:  # the server died just now
                    group.verdict = ABANDONED

    def _check_server(self) -> None:
        module, server = self._server.importing, self._server
        is_stuck = time.monotonic() - server.importing_since > _LIBRARY_S or server.n_deaths > self._n_deaths
        if is_stuck and self._libraries:  # the user did not ask for them, so the next server omits them
            self._libraries = ()
            server.end()
            return
        if server.n_deaths - self._n_deaths >= _MAX_SERVER_DEATHS:
            during = f" while it imported {module!r}" if module else ", perhaps because the memory is full"
            raise TrialError(
                f"the fork server was killed {_MAX_SERVER_DEATHS} times in a row{during}. {self._advice()}"
            )
        waited_s = time.monotonic() - server.importing_since
        if waited_s > self._start_s:
            server.end()
            raise TrialError(
                f"the fork server is not ready: it has been importing {module!r} for {waited_s:.0f} s. {self._advice()}"
            )

    def _advice(self) -> str:
        preload = ", ".join(map(repr, self._preload)) or "nothing else"
        return spelled(
            f"It imports Lightning and, because of `preload`, {preload}. Leave out a module that waits or that ends "
            "its process when it is imported."
        )

    def _note_failures(self, sink: Sink) -> None:
        """Sends one note for each module that the server could not import."""
        failed = {name: why for name, why in self._server.failed.items() if name in self._preload}
        for name in failed.keys() - self._noted:
            for order in [group.order for group in self._groups.values()][:1]:
                text = f"the fork server cannot import {name!r} (`preload`): {failed[name]}. Trials start without it."
                sink.noted(order.trial_id, order.segment, Note(text, once_per="study"))
                self._noted.add(name)

    # ------------------------------------------------------------------ news

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers the ranks' messages, ends groups that must end, and reports the groups that have ended."""
        self._begin()
        self._note_failures(sink)
        self._wait_for_news(timeout_s)
        with uninterrupted():  # defer signals, so that each message is taken completely and answered
            self._deliver(sink)

    def _deliver(self, sink: Sink) -> None:
        self._server.poll()
        for group in list(self._groups.values()):
            for rank in group.ranks:
                rank.look()  # first: the last messages of a rank that has ended are in the channel by then
                rank.flush()
                for message in rank.messages():
                    self._take(sink, group, rank, message)
            self._watch(group)
            if group.is_over and (group.ranks or group.verdict is not None):
                self._bury(sink, group)

    def _wait_for_news(self, timeout_s: float) -> None:
        """Returns when there is something to read, when a write is due, or at the next deadline."""
        now, ranks = time.monotonic(), [rank for group in self._groups.values() for rank in group.ranks]
        deadlines = [group.deadline - now for group in self._groups.values() if group.deadline is not None]
        is_urgent = any(group.is_over and (group.ranks or group.verdict) for group in self._groups.values())
        patience_s = 0.0 if is_urgent else max(min([timeout_s, *deadlines]), 0.0)
        if any(rank.is_writing for rank in ranks):
            patience_s = min(patience_s, 0.05)
        handles: list[Any] = [rank.status for rank in ranks if not rank.is_gone]
        handles += [rank.channel for rank in ranks if rank.is_open]
        mp.wait([*handles, *self.wake_on, *(self._server.waitable if not self._server.is_ready else [])], patience_s)

    @property
    def pids(self) -> list[int]:
        """The process ids of the ranks; each rank is the leader of a session."""
        ranks = (rank for group in self._groups.values() for rank in group.ranks)
        return [rank.pid for rank in ranks if rank.pid is not None]

    def _take(self, sink: Sink, group: Group, rank: Rank, message: Message) -> None:
        order = group.order
        if isinstance(message, Beat):
            rank.has_trained = rank.has_trained or message.has_trained
            if message.progress != rank.progress:
                self._hang.progressed(order.trial_id, rank.last_sign - rank.progress_at)
                rank.progress, rank.progress_at = message.progress, rank.last_sign
        elif isinstance(message, Started):
            group.world_size = max(group.world_size, message.world_size)
        elif isinstance(message, Imported):
            self.preload(tuple(slow_libraries(message.libraries)))
        elif isinstance(message, Report):
            self._n_deaths = self._server.n_deaths
            verdict = sink.reported(order.trial_id, order.segment, message)
            if verdict is LATER:
                group.awaits_answer = True
            else:
                rank.answer(verdict)
        elif isinstance(message, Saved):
            sink.saved(order.trial_id, order.segment, message)
        elif isinstance(message, Note):
            sink.noted(order.trial_id, order.segment, message)
        elif isinstance(message, Ended):
            rank.ended = message

    def answer(self, trial_id: int, segment: int, verdict: VerdictMessage) -> None:
        """Answers a report later than the sink could, unless the segment has ended."""
        group = self._groups.get(trial_id)
        if group is not None and group.order.segment == segment and group.ranks:
            group.ranks[0].answer(verdict)
            group.awaits_answer = False
            for rank in group.ranks:
                rank.progress_at = time.monotonic()

    def _watch(self, group: Group) -> None:
        """Sets or enforces the deadline of a group that is ending, and ends a group with a silent rank."""
        now = time.monotonic()
        gone = [rank for rank in group.ranks if rank.is_gone or not rank.is_open or rank.ended is not None]
        if gone and group.deadline is None:
            is_clean = all(rank.ended is not None and rank.ended.outcome == Outcome.DONE for rank in gone)
            group.deadline = now + (_GRACE_S if is_clean else _ECHO_GRACE_S)
        if group.deadline is not None and now >= group.deadline:
            group.kill()
        for index, rank in enumerate(group.ranks, group.first_rank):
            if rank.is_abandoned or (not rank.is_gone and rank.is_overdue(_END_S)):
                self._server.give_up(group.generation)  # its guard ends everything and closes all status pipes
            elif group.verdict is None and (why := self._silence(group, index, now)):
                group.verdict = (Outcome.LOST if rank.pid is not None else Outcome.INTERRUPTED, why)
                group.kill()

    def _silence(self, group: Group, index: int, now: float) -> str:
        """Returns what a rank has not done for too long; an empty string if it is not silent."""
        rank, trial_id = group.ranks[index - group.first_rank], group.order.trial_id
        if rank.is_gone or rank.ended is not None:
            return ""
        limit_s = self._heartbeat_s if rank.is_started else self._start_s
        if now - rank.last_sign > limit_s:
            return f"rank {index} sent no heartbeat for {limit_s:.0f} s"
        if group.awaits_answer:  # the study has to send or receive files first, or the connection to it is lost
            return ""
        hang_s, still_s = self._hang.limit_s(trial_id, rank.has_trained), now - rank.progress_at
        return self._hang.text(trial_id, index, still_s) if hang_s is not None and still_s > hang_s else ""

    def _bury(self, sink: Sink, group: Group) -> None:
        """Removes a group whose processes have all ended, and reports how it ended."""
        del self._groups[group.order.trial_id]
        for rank in group.ranks:
            rank.close()
        sink.ended(group.order.trial_id, group.order.segment, summary(group), group.world_size)

    # ------------------------------------------------------------------ end

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Kills a segment's group; `sink.ended` follows from `wait`."""
        group = self._groups.get(trial_id)
        if group is not None:
            group.verdict = (outcome, why)
            group.kill()

    def close(self) -> None:
        """Kills every group, and waits until all processes that they started have ended."""
        self._server.keep_spares(self, 0)
        ranks = [rank for group in self._groups.values() for rank in group.ranks]
        for group in self._groups.values():
            group.kill()
        give_up_at = time.monotonic() + _END_S
        while left := [rank for rank in ranks if not rank.is_gone]:
            if time.monotonic() > give_up_at:
                for group in self._groups.values():
                    self._server.give_up(group.generation)
                break
            mp.wait([rank.status for rank in left], 0.1)
            for rank in left:
                rank.look()
        for rank in ranks:
            rank.close()
        self._groups.clear()
