"""The ranks of one segment on this host, as the engine sees them: they start and end together, and how they ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.devices import masked
from lightning_hwtune.engine.fork_server import ForkServer
from lightning_hwtune.engine.rank_process import Rank
from lightning_hwtune.host.import_path import import_path, working_folder
from lightning_hwtune.training.channel import LOOPBACK, Ended, RankPlace, RankTask, SegmentOrder
from lightning_hwtune.training.process.rendezvous import open_port

__all__ = ["ABANDONED", "Group", "is_echo", "summary"]

ABANDONED = (Outcome.INTERRUPTED, "the fork server, which had started the ranks, was killed")
"""Outcome and cause of a segment whose fork server has ended, which is not an error of the trial."""

# parts of errors that only say that another rank is gone
_ECHOES = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "DistBackendError", "rank 0 died")


@final
@dataclass(slots=True)
class Group:
    """The ranks of one segment on this host; empty while the segment waits for the fork server.

    Attributes:
        node_rank: which of the segment's nodes this host is.
        meeting: address and port of the store of all ranks; None until the first rank's host has opened the port.
        address: of this host, for the ranks on other nodes.
        generation: the generation of the server that started the ranks.
        deadline: when the remaining ranks are killed.
        verdict: outcome and cause, set if the engine itself ended the group.
        awaits_answer: whether its report has no answer yet.
        finds_libraries: whether its ranks find out what the fork server may import for later segments.
    """

    order: SegmentOrder
    node_rank: int = 0
    meeting: tuple[str, int] | None = None
    address: str = LOOPBACK
    ranks: list[Rank] = field(default_factory=list)
    generation: int = 0
    world_size: int = 0
    deadline: float | None = None
    verdict: tuple[Outcome, str] | None = None
    awaits_answer: bool = False
    finds_libraries: bool = False

    def start(self, server: ForkServer, payload: Path) -> None:
        """Requests all ranks of this host from the server.

        Raises:
            ConnectionError: the server has ended; ranks that it started before that end by themselves.
        """
        self.generation = server.generation
        order, listener = masked(self.order, self.node_rank), None
        if self.order.num_devices > 1 and self.meeting is None:
            listener = open_port(self.address if self.order.num_nodes > 1 else LOOPBACK)
            self.meeting = listener.getsockname()[:2]
        address, port = self.meeting or (LOOPBACK, 0)
        try:
            for index in range(order.local_devices):
                hosted = None if listener is None or index > 0 else listener.fileno()
                place = RankPlace(self.first_rank + index, order.num_devices, order.num_nodes, address, port)
                self._start_rank(server, self._task(order, place, payload, server.folder), hosted)
        finally:
            if listener is not None:
                listener.close()

    @property
    def first_rank(self) -> int:
        """The lowest rank on this host."""
        return self.node_rank * self.order.local_devices

    def _task(self, order: SegmentOrder, place: RankPlace, payload: Path, socket_dir: str) -> RankTask:
        return RankTask(
            order=order,
            place=place,
            payload=str(payload),
            sys_path=tuple(import_path()),
            argv=tuple(sys.argv),
            cwd=working_folder(),
            environ=dict(os.environ),
            socket_dir=socket_dir,
            finds_libraries=self.finds_libraries,
        )

    def _start_rank(self, server: ForkServer, task: RankTask, listener: int | None) -> None:
        (ours, theirs), (reader, writer) = socket.socketpair(), os.pipe()
        self.ranks.append(Rank(ours, reader, task))
        try:
            server.start_rank(writer, theirs.fileno(), listener)
        finally:
            theirs.close()
            os.close(writer)

    @property
    def is_over(self) -> bool:
        """True if all ranks have ended, together with everything that they started."""
        return all(rank.is_gone for rank in self.ranks)

    def kill(self) -> None:
        """Ends every rank."""
        for rank in self.ranks:
            rank.kill()


def summary(group: Group) -> Ended:
    """Returns one last message for the whole group, with the root cause if anything went wrong."""
    words = [rank.ended for rank in group.ranks]
    if group.verdict is not None:
        return Ended(0, *group.verdict, 0, False)
    if any(rank.is_abandoned and rank.ended is None for rank in group.ranks):
        return Ended(0, *ABANDONED, 0, False)
    errors = [word for word in words if word is not None and word.outcome != Outcome.DONE]
    for word in errors:
        if word.outcome == Outcome.OUT_OF_MEMORY:
            return word
    roots = [word for word in errors if not is_echo(word.error)]
    if roots:
        return roots[0]
    for index, rank in enumerate(group.ranks, group.first_rank):
        if rank.ended is None:
            return Ended(index, Outcome.LOST, _death(index, rank), 0, False)
    return (errors or [word for word in words if word is not None])[0]


def is_echo(error: str) -> bool:
    """Return whether an error only says that another rank is gone."""
    last = error.rstrip().rsplit("\n", 1)[-1]
    return any(sign in last for sign in _ECHOES)


def _death(index: int, rank: Rank) -> str:
    if rank.fault:
        return f"rank {index} {rank.fault}"
    if rank.exit_code is not None and rank.exit_code < 0:
        return f"rank {index} was killed by {_signal_name(-rank.exit_code)}"
    return f"rank {index} ended with exit status {rank.exit_code} and without a last message"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
