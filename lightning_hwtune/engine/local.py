"""The default executor: a fresh process for each rank of each segment, forked from a server that has torch loaded.

A segment's processes begin in about a tenth of a second and give everything back when they end: no memory, no GPU
context, no hung rank outlives its segment. The ranks of one segment form a group that lives and dies together:

- a rank that dies or falls silent takes its group with it, and nothing else;
- the cause that is told is the first error that is not a mere echo of a peer's death;
- if this process dies, however suddenly, the kernel ends its ranks (parent-death signal through the fork server).

An unguarded user script is not executed again in the children: they never see this process's `__main__`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection as mp
from pathlib import Path
from typing import Any, final

from lightning_hwtune.engine.executor import Sink
from lightning_hwtune.engine.hang import HangLimit
from lightning_hwtune.store.interrupts import uninterrupted
from lightning_hwtune.training.channel import Beat, Ended, Message, Note, Report, Saved, SegmentOrder, Started
from lightning_hwtune.training.connection import PipeChannel, PipeRendezvous
from lightning_hwtune.training.server import PARENT
from lightning_hwtune.training.worker import run_rank

__all__ = ["LocalExecutor"]

_PRELOAD = "lightning_hwtune.training.preload"
_SERVER = "lightning_hwtune.training.server"
_GRACE_S = 10.0  # for peers to end by themselves after the first of them has ended
_ECHO_GRACE_S = 1.0  # the same after an error: a dead peer fails its group in less than a tenth of this on gloo
# an error that only says that a peer is gone
_ECHOES = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "DistBackendError", "rank 0 died")


@dataclass(slots=True)
class _Rank:
    process: multiprocessing.process.BaseProcess
    pipe: mp.Connection
    last_sign: float
    progress: int = 0
    progress_at: float = 0.0
    has_trained: bool = False
    started: bool = False
    ended: Ended | None = None
    is_open: bool = True


@dataclass(slots=True)
class _Group:
    order: SegmentOrder
    ranks: list[_Rank]
    world_size: int = 0
    deadline: float | None = None  # when what still lives of it is killed
    verdict: tuple[str, str] | None = None  # outcome and cause, once the engine itself ended it


@final
class LocalExecutor:
    """Trains segments in processes on this host.

    Args:
        payload: file with the cloudpickled training function.
        heartbeat_s: a rank without a sign of life for so long is ended with its group.
        start_s: the same, before its first sign.
        hang_timeout_s: also end a group that lives but makes no progress; see `engine.hang.HangLimit`.
        preload: further modules for the fork server to import once; they must run no tensor operation at import.
    """

    def __init__(
        self,
        payload: Path,
        *,
        heartbeat_s: float = 15.0,
        start_s: float = 120.0,
        hang_timeout_s: float | str | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self._payload, self._heartbeat_s, self._start_s = payload, heartbeat_s, start_s
        self._hang = HangLimit(hang_timeout_s)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_SERVER, _PRELOAD, *preload])
        self._groups: dict[int, _Group] = {}
        with _hidden_main():
            _start_server()

    def start(self, order: SegmentOrder) -> None:
        """Begins a segment: one process a rank. Whole: no signal leaves a process behind that nobody knows."""
        with uninterrupted():
            self._groups[order.trial_id] = _Group(order, self._start_ranks(order))

    def _start_ranks(self, order: SegmentOrder) -> list[_Rank]:
        n = order.num_devices
        ports = [self._context.Pipe(duplex=False) for _ in range(n - 1)]
        ranks: list[_Rank] = []
        for rank in range(n):
            rendezvous = (
                PipeRendezvous([w for _, w in ports]) if rank == 0 else PipeRendezvous(reader=ports[rank - 1][0])
            )
            ranks.append(self._start_rank(order, rank, rendezvous))
        for reader, writer in ports:
            reader.close()
            writer.close()
        return ranks

    def _start_rank(self, order: SegmentOrder, rank: int, rendezvous: PipeRendezvous) -> _Rank:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_rank,
            args=(order, rank, PipeChannel(theirs), str(self._payload), dict(os.environ), rendezvous),
            name=f"{order.study}-{order.trial_id:03d}-rank{rank}",
            daemon=False,
        )
        with _hidden_main():
            process.start()
        theirs.close()
        now = time.monotonic()
        return _Rank(process, ours, now, progress_at=now)

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers what the ranks said, ends groups that must end, and tells which are over."""
        handles = self._handles()
        patience_s = 0.0 if any(map(_is_over, self._groups.values())) else self._patience(timeout_s)
        for handle in mp.wait(list(handles), patience_s):
            group, index = handles[handle]
            if group.ranks[index].is_open:
                self._read(sink, group, index)
        for group in list(self._groups.values()):
            self._hear_the_dead(sink, group)
            self._watch(group)
            if _is_over(group):
                self._bury(sink, group)

    def _handles(self) -> dict[Any, tuple[_Group, int]]:
        """Returns what to wait for: of each rank its words and its death."""
        handles: dict[Any, tuple[_Group, int]] = {}
        for group in self._groups.values():
            for index, rank in enumerate(group.ranks):
                if rank.is_open:
                    handles[rank.pipe] = (group, index)
                if rank.process.is_alive():
                    handles[rank.process.sentinel] = (group, index)
        return handles

    def _hear_the_dead(self, sink: Sink, group: _Group) -> None:
        """Takes what dead ranks left in their pipes; what they had started may hold the other end open for ever."""
        for index, rank in enumerate(group.ranks):
            if rank.is_open and not rank.process.is_alive():
                if rank.ended is None:
                    _kill_session(rank)
                self._read(sink, group, index)
                rank.is_open = False
                rank.pipe.close()

    def _patience(self, timeout_s: float) -> float:
        """Returns the timeout, or less if a group's deadline comes first."""
        now = time.monotonic()
        return max(min([timeout_s, *(g.deadline - now for g in self._groups.values() if g.deadline)]), 0.0)

    def _read(self, sink: Sink, group: _Group, index: int) -> None:
        """Takes every message that lies in a rank's pipe."""
        while (message := _next_message(group.ranks[index])) is not None:
            self._take(sink, group, index, message)

    def _take(self, sink: Sink, group: _Group, index: int, message: Message) -> None:
        rank, order = group.ranks[index], group.order
        rank.last_sign, rank.started = time.monotonic(), True
        if isinstance(message, Beat):
            rank.has_trained = rank.has_trained or message.has_trained
            if message.progress != rank.progress:
                self._hang.progressed(order.trial_id, rank.last_sign - rank.progress_at)
                rank.progress, rank.progress_at = message.progress, rank.last_sign
        elif isinstance(message, Started):
            group.world_size = max(group.world_size, message.world_size)
        elif isinstance(message, Report):
            answer = sink.reported(order.trial_id, order.segment, message)
            with contextlib.suppress(OSError):  # it died meanwhile: its pipe will tell
                rank.pipe.send(answer)
        elif isinstance(message, Saved):
            sink.saved(order.trial_id, order.segment, message)
        elif isinstance(message, Note):
            sink.noted(order.trial_id, order.segment, message)
        elif isinstance(message, Ended):
            rank.ended = message

    def _watch(self, group: _Group) -> None:
        """Sets or carries out the deadline of a group that is ending, and ends one that is silent."""
        now = time.monotonic()
        gone = [r for r in group.ranks if not r.is_open or r.ended is not None]
        if gone and group.deadline is None:
            clean = all(r.ended is not None and r.ended.outcome == "done" for r in gone)
            group.deadline = now + (_GRACE_S if clean else _ECHO_GRACE_S)
        if group.deadline is not None and now >= group.deadline:
            _kill(group)
        for index, rank in enumerate(group.ranks):
            if rank.ended is not None or not rank.is_open or group.verdict is not None:
                continue
            limit = self._heartbeat_s if rank.started else self._start_s
            trial_id, still_s = group.order.trial_id, now - rank.progress_at
            hang_s = self._hang.limit_s(trial_id, rank.has_trained)
            if now - rank.last_sign > limit:
                group.verdict = ("lost", f"rank {index} gave no sign of life for {limit:.0f} s")
                _kill(group)
            elif hang_s is not None and still_s > hang_s:
                group.verdict = ("lost", self._hang.text(trial_id, index, still_s))
                _kill(group)

    def _bury(self, sink: Sink, group: _Group) -> None:
        """Every process of the group is gone: tells how it ended."""
        for rank in group.ranks:
            rank.process.join()
        del self._groups[group.order.trial_id]
        ended = _summary(group)
        for rank in group.ranks:
            rank.process.close()
        sink.ended(group.order.trial_id, group.order.segment, ended, group.world_size)

    def end(self, trial_id: int, outcome: str, why: str) -> None:
        """Kills a segment's group; `sink.ended` follows from `wait`."""
        group = self._groups.get(trial_id)
        if group is not None:
            group.verdict = (outcome, why)
            _kill(group)

    def close(self) -> None:
        """Kills every group and joins its processes."""
        for group in self._groups.values():
            _kill(group)
        for group in self._groups.values():
            for rank in group.ranks:
                rank.process.join()
                rank.pipe.close()
                rank.process.close()
        self._groups.clear()


def _next_message(rank: _Rank) -> Message | None:
    """Returns what lies in a rank's pipe, or None if nothing does; closes a pipe whose other end is gone."""
    try:
        return rank.pipe.recv() if rank.pipe.poll() else None
    except (EOFError, OSError):
        rank.is_open = False
        rank.pipe.close()
        return None


def _is_over(group: _Group) -> bool:
    return all(not rank.is_open and not rank.process.is_alive() for rank in group.ranks)


def _kill(group: _Group) -> None:
    """Kills every process of a group, and what those have started."""
    for rank in group.ranks:
        if rank.process.is_alive():
            _kill_session(rank)


def _kill_session(rank: _Rank) -> None:
    """Kills a rank, which leads a session of its own, with all that stayed in it."""
    pid = rank.process.pid
    if pid is None:
        return
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        if rank.process.is_alive():  # too young to lead
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _summary(group: _Group) -> Ended:
    """Returns one last word for the whole group: the root cause if anything went wrong."""
    words = [rank.ended for rank in group.ranks]
    first = words[0]
    if group.verdict is not None:
        outcome, why = group.verdict
        return Ended(0, outcome, why, 0, False)
    errors = [word for word in words if word is not None and word.outcome != "done"]
    for word in errors:
        if word.outcome == "out-of-memory":
            return word
    roots = [word for word in errors if not _is_echo(word.error)]
    if roots:
        return roots[0]
    silent = [index for index, word in enumerate(words) if word is None]
    if silent:
        return Ended(silent[0], "lost", _death(group, silent[0]), 0, False)
    return errors[0] if errors or first is None else first


def _is_echo(error: str) -> bool:
    """Tells whether an error only says that a peer is gone."""
    last = error.rstrip().rsplit("\n", 1)[-1]
    return any(sign in last for sign in _ECHOES)


def _death(group: _Group, index: int) -> str:
    code = group.ranks[index].process.exitcode
    if code is not None and code < 0:
        return f"rank {index} was killed by {signal.Signals(-code).name}"
    return f"rank {index} ended with exit status {code} and without a last word"


def _start_server() -> None:
    """Starts the fork server now, so that its imports overlap with what the caller does next.

    It ends with this thread, whose child it is; so it is not tied to one that may end before the process does.
    """
    from multiprocessing import forkserver

    if threading.current_thread() is threading.main_thread():
        os.environ[PARENT] = str(os.getpid())
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop(PARENT, None)


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Shows multiprocessing an empty `__main__`, so that no child executes the user's script or notebook again."""
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real
