"""The executor that trains on nodes whose agents have joined the study. Each agent runs the local executor.

Everything that a rank says takes one way: through its agent's link, in order, its last message included. A segment on
several nodes is over when its ranks on all of them have ended. If the ranks on one node end with an error, those on the
others are ended soon after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import connection as mp
from pathlib import Path
from typing import Any, ClassVar, Self

from lightning_hwtune.core.hardware.placement import Placement
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.agents.door import KEY_NAME, Door
from lightning_hwtune.engine.agents.exchange import inside
from lightning_hwtune.engine.agents.launcher import Invitation, Launcher
from lightning_hwtune.engine.agents.messages import (
    Answer,
    End,
    Goodbye,
    Left,
    Meeting,
    Output,
    Ready,
    Said,
    Setup,
    Start,
    Warned,
    absolute,
    relative,
)
from lightning_hwtune.engine.agents.remote_segment import RemoteSegment
from lightning_hwtune.engine.agents.roster import BEAT_S, LOST_AFTER_S, RemoteAgent, Roster, lost_after_s
from lightning_hwtune.engine.executor import Abilities, RunSetup, Sink
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.host.file_trees import digest_of
from lightning_hwtune.host.import_path import import_path, working_folder
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import Ended, NodePart, Note, Report, Saved, SegmentOrder

__all__ = ["AgentsExecutor"]

_GRACE_S = 10.0  # time for the ranks on other nodes to end after those on one node have ended
_ECHO_GRACE_S = 1.0  # the same after an error
_ELSEWHERE = "the ranks of the segment on another node have ended"


class AgentsExecutor:
    """Trains segments on nodes. The user starts their agents with `hwtune agent`; in a subclass, a launcher does.

    Args:
        setup: what is known about the run.
        door: where agents arrive.
        lost_after_s: see `roster`.
        way_to_join: what the user must do so that agents join.
        launcher: starts the agents; None if the user does.
    """

    abilities: ClassVar[Abilities] = Abilities(
        trains_here=False, can_check=True, limits_hangs=True, needs_payload=True, provides_nodes=True
    )

    def __init__(
        self,
        setup: RunSetup,
        door: Door,
        lost_after_s: float = LOST_AFTER_S,
        way_to_join: str = "",
        launcher: Launcher | None = None,
    ) -> None:
        if setup.payload is None or setup.folder is None:
            raise ArgumentError("payload", None, "the file with the training function")
        self._root, self._pool, self._say = setup.folder, setup.pool, setup.say
        first = Setup(
            root=str(setup.folder),
            payload=setup.payload.name,
            sys_path=tuple(import_path()),
            argv=tuple(sys.argv),
            cwd=working_folder(),
            n_ranks=setup.n_ranks,
            preload=setup.preload,
            hang_timeout=setup.hang_timeout,
        )
        self.provider = Roster(door, first, setup.pool, setup.folder, lost_after_s, launcher)
        self._placement = Placement(setup.pool)
        self._segments: dict[int, RemoteSegment] = {}
        self._sink: Sink
        self._is_closed, self._way_to_join, self._launcher = False, way_to_join, launcher
        self._is_warned = self._has_ended = False
        self._said_for = -1  # for how many agents the newest line about a check that waits was printed

    @classmethod
    def check_here(cls, pool: Pool) -> None:
        """Refuses what cannot work, before anything of a run is written.

        Raises:
            ArgumentError: the pool has no nodes, or its agents cannot be started from here.
        """
        if not pool.is_paid_whole:
            hint = "It is how many nodes there may be: for a single agent, nodes=2 works, too."
            raise ArgumentError("Pool.nodes", pool.nodes, "at least 2, or an instance type", hint=hint)

    @classmethod
    def launcher(cls, setup: RunSetup) -> Launcher | None:
        """Returns what starts the agents of a run; None if the user does."""
        return None

    @classmethod
    def for_run(cls, setup: RunSetup) -> Self:
        """Returns the executor of a run, which listens where the environment says. Starts agents, or says how to."""
        cls.check_here(setup.pool)
        if setup.folder is None:
            raise ArgumentError("folder", None, "the study's folder")
        launcher = cls.launcher(setup)
        if launcher is not None:
            return cls.launched(setup, launcher)
        door = Door.of_environment(setup.folder)
        key = setup.folder / KEY_NAME
        given = f" --key-file {key}" if key.exists() else ""
        way_to_join = f"Agents join with: hwtune agent --connect {door.reached_at}{given}"
        setup.say(way_to_join)
        return cls(setup, door, lost_after_s(), way_to_join)

    @classmethod
    def launched(cls, setup: RunSetup, launcher: Launcher) -> Self:
        """Returns the executor of a run whose agents a launcher starts, and starts them."""
        if setup.folder is None:
            raise ArgumentError("folder", None, "the study's folder")
        try:
            door = Door.of_environment(setup.folder, launcher.listen)
        except BaseException:
            launcher.stop()
            raise
        executor = cls(setup, door, lost_after_s(), launcher=launcher)
        try:
            invitation = Invitation(
                connect=door.reached_at, key=door.key, folder=setup.folder, pool=setup.pool, say=setup.say
            )
            launcher.start(invitation)
        except BaseException:
            executor.close()
            raise
        return executor

    # ------------------------------------------------------------------ start and end

    def start(self, order: SegmentOrder) -> None:
        """Starts a segment on its nodes. An order without nodes, as in a check, waits for the first that are ready."""
        segment = RemoteSegment(order, time.monotonic())
        self._segments[order.trial_id] = segment
        self._begin(segment)

    def preload(self, libraries: Sequence[str]) -> None:
        """Makes the fork server of each node import modules."""
        self.provider.preload(tuple(libraries))

    def _begin(self, segment: RemoteSegment) -> None:
        order = segment.order
        if not order.nodes and (chosen := self._chosen(order)):
            order = segment.order = dataclasses.replace(order, nodes=chosen)
        if order.nodes and not segment.started and not segment.ends:
            self._start(segment, 0, None)
        elif not order.nodes and not segment.ends:
            self._say_what_is_missing(order)

    def _say_what_is_missing(self, order: SegmentOrder) -> None:
        """Prints for how many agents a segment of the check waits; once per number of agents that are ready."""
        there = len(self.provider.ready())
        if there == self._said_for:
            return
        self._said_for = there
        n_nodes = min(self._placement.homes(order.num_devices).values(), default=1)
        which = "the first agent" if n_nodes == 1 else f"agents: {there} of {n_nodes} are ready"
        limit = counted(f"{self.provider.timeout_s / 60:g}", "minutes")
        self._say(f"the check waits for {which}; it fails if too few are ready within {limit}")

    def _chosen(self, order: SegmentOrder) -> tuple[NodePart, ...]:
        """Returns the nodes for an order that has none; empty as long as too few are ready."""
        for shape, n_nodes in self._placement.homes(order.num_devices).items():
            ready = [agent for agent in self.provider.ready() if agent.kind.shape == shape]
            if len(ready) >= n_nodes:
                slots = tuple(range(order.num_devices // n_nodes))
                return tuple(NodePart(agent.name, slots) for agent in ready[:n_nodes])
        return ()

    def _start(self, segment: RemoteSegment, node_rank: int, meeting: tuple[str, int] | None) -> None:
        agent = self._agent(segment, node_rank)
        if agent is None:  # lost just now
            self._lose(segment, f"node {segment.order.nodes[node_rank].node} was lost")
            return
        segment.started.add(node_rank)
        agent.link.send(Start(relative(segment.order, self._root), node_rank, meeting))

    def _agent(self, segment: RemoteSegment, node_rank: int) -> RemoteAgent | None:
        return self.provider.agents.get(segment.order.nodes[node_rank].node) if segment.order.nodes else None

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a segment on all its nodes; `sink.ended` follows from `wait`."""
        segment = self._segments.get(trial_id)
        if segment is not None:
            segment.verdict = (outcome, why)
            self._end_parts(segment, outcome, why)

    def _end_parts(self, segment: RemoteSegment, outcome: Outcome, why: str) -> None:
        """Ends the ranks that are still running; those not started yet, and those of a lost agent, count as ended."""
        for node_rank in range(segment.order.num_nodes):
            if node_rank in segment.ends:
                continue
            agent = self._agent(segment, node_rank)
            if agent is not None and node_rank in segment.started:
                if node_rank not in segment.killed:
                    agent.link.send(End(segment.order.trial_id, segment.order.segment, outcome, why))
            else:
                segment.ends[node_rank] = Ended(0, outcome, why, 0, False)
            segment.killed.add(node_rank)

    def _lose(self, segment: RemoteSegment, why: str) -> None:
        segment.verdict = segment.verdict or (Outcome.NODE_LOST, why)
        self._end_parts(segment, *segment.verdict)

    # ------------------------------------------------------------------ news

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers the messages of the agents, and ends what must end.

        Raises:
            TrialError: too few agents join for a segment of the check, or no agent can join any more.
            SystemExit: all agents will be ended soon, so the study must pause: as if SIGTERM had arrived here.
        """
        self._wait_for_news(timeout_s)
        self.provider.look_at_launched()
        self._sink = sink
        with uninterrupted():  # defer signals, so that each message is taken completely and answered
            fresh = self._lost_now()  # these ends wait until the loop has recorded that the node is lost
            for agent, message in self._messages():
                self._take(sink, agent, message)
            for segment in list(self._segments.values()):
                self._begin(segment)
                self._watch(segment)
                if segment.is_over and segment.order.trial_id not in fresh:
                    order = self._segments.pop(segment.order.trial_id).order
                    sink.ended(order.trial_id, order.segment, segment.summary(), segment.world_size)
        if self._is_warned and not self._has_ended:
            self._has_ended = True
            raise SystemExit(128 + signal.SIGTERM)

    def _messages(self) -> Iterator[tuple[RemoteAgent, Any]]:
        for agent in list(self.provider.agents.values()):
            for message in agent.link.messages():
                yield agent, message

    def _lost_now(self) -> set[int]:
        found = set()
        lost = self.provider.attend()
        if lost and not self.provider.agents and not self._is_closed:
            text = f"no agent is left: the study waits for {self.provider.timeout_s / 60:g} minutes"
            self._say(f"{text}. {self._way_to_join or self.provider.missing()}".rstrip())
        for agent in lost:
            for trial_id, segment in self._segments.items():
                if any(part.node == agent.name for part in segment.order.nodes) and not segment.is_over:
                    found.add(trial_id)
                    self._lose(segment, f"its node {agent.name} was lost: {agent.lost}")
        return found

    def _wait_for_news(self, timeout_s: float) -> None:
        now, segments = time.monotonic(), self._segments.values()
        deadlines = [segment.deadline - now for segment in segments if segment.deadline is not None]
        is_urgent = any(segment.is_over for segment in segments)
        patience_s = 0.0 if is_urgent else max(min([timeout_s, BEAT_S, *deadlines]), 0.0)
        links = [agent.link for agent in self.provider.agents.values() if agent.link.socket is not None]
        if any(link.is_writing for link in links):
            patience_s = min(patience_s, 0.05)
        mp.wait([self.provider.door.bell, *(link.socket for link in links if link.socket is not None)], patience_s)

    def _take(self, sink: Sink, agent: RemoteAgent, message: Any) -> None:
        if agent.exchange.take(message):
            return
        if isinstance(message, Ready):
            agent.is_apart = message.is_apart
            self.provider.arrived(agent)
        elif isinstance(message, Output):
            self._append(message)
        elif isinstance(message, Warned):
            self._is_warned = True
        elif isinstance(message, Left):
            self.provider.lose(agent, message.why or "it left")
        elif isinstance(message, Meeting | Said):
            segment = self._segments.get(message.trial_id)
            if segment is None or segment.order.segment != message.segment:
                return
            if isinstance(message, Meeting):
                if segment.verdict is None:
                    for node_rank in range(1, segment.order.num_nodes):
                        self._start(segment, node_rank, (message.address, message.port))
            else:
                self._hear(sink, agent, segment, message)

    def _hear(self, sink: Sink, agent: RemoteAgent, segment: RemoteSegment, said: Said) -> None:
        number, message = (said.trial_id, said.segment), said.message
        if agent.name in segment.held:
            segment.held[agent.name].append(said)
            return
        if isinstance(message, Report):
            agent.link.send(Answer(*number, sink.reported(*number, message)))
        elif isinstance(message, Saved):
            if agent.is_apart:
                segment.held[agent.name] = []
                agent.exchange.fetch(message.path, lambda error: self._fetched(agent, segment, message, error))
            else:
                sink.saved(*number, absolute(message, self._root))
        elif isinstance(message, Note):
            sink.noted(*number, message)
        elif isinstance(message, Ended):
            names = [part.node for part in segment.order.nodes]
            segment.ends[names.index(agent.name)] = message
            segment.world_size = max(segment.world_size, said.world_size)

    def _fetched(self, agent: RemoteAgent, segment: RemoteSegment, saved: Saved, error: str) -> None:
        """Passes a checkpoint on that has arrived from an agent, and what came after it."""
        held = segment.held.pop(agent.name)
        if self._segments.get(segment.order.trial_id) is not segment:
            return
        here = absolute(saved, self._root)
        if not error and digest_of(Path(here.path)) != saved.digest:
            error = f"{saved.path} was damaged on its way from the node {agent.name}: the digests differ"
        if error:
            segment.verdict = segment.verdict or (Outcome.ERROR, f"a checkpoint was not received: {error}")
            self._end_parts(segment, *segment.verdict)
        else:
            self._sink.saved(segment.order.trial_id, segment.order.segment, here)
        for said in held:
            self._hear(self._sink, agent, segment, said)

    def _append(self, output: Output) -> None:
        """Adds to the log of a rank; on a full disk it is dropped, as on this host."""
        with contextlib.suppress(OSError):
            file = inside(self._root, output.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as stream:
                stream.write(output.data)

    def _watch(self, segment: RemoteSegment) -> None:
        """Sets or enforces the deadline of a segment whose ranks on some node have ended."""
        now, order = time.monotonic(), segment.order
        if not order.nodes and now - segment.ordered_at > self.provider.timeout_s:
            devices = counted(order.num_devices, "devices")
            text = f"the agents of nodes with {devices} did not join within {self.provider.timeout_s:g} s"
            raise TrialError(f"{text}. {self.provider.missing()}".rstrip(". "))
        if not segment.ends or segment.is_over:
            return
        if segment.deadline is None:
            is_clean = all(ended.outcome == Outcome.DONE for ended in segment.ends.values())
            segment.deadline = now + (_GRACE_S if is_clean else _ECHO_GRACE_S)
        if now >= segment.deadline:
            self._end_parts(segment, Outcome.LOST, _ELSEWHERE)

    # ------------------------------------------------------------------ close

    def close(self) -> None:
        """Ends everything on all nodes; waits until each agent has confirmed that, or must have done it by itself."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._send_away()
        finally:
            self._segments.clear()
            self.provider.close()
            if self._launcher is not None:
                self._launcher.stop()

    def _send_away(self) -> None:
        """Ends all agents, and waits for them."""
        leaving = set[RemoteAgent]()
        while self.provider.agents:
            for agent in self.provider.agents.values():
                if agent not in leaving:  # some may still arrive
                    leaving.add(agent)
                    agent.link.send(Goodbye())
            self._wait_for_news(BEAT_S)
            try:
                self.provider.look_at_launched()
            except TrialError as error:  # what started the agents has ended, and they with it
                for agent in self.provider.agents.values():
                    self.provider.lose(agent, str(error))
            self.provider.attend()
            for agent, message in self._messages():
                if isinstance(message, Left):
                    self.provider.lose(agent, "it left")
