"""The agents of a study: who joins, who is connected, and who is lost. For the loop, it is a provider of nodes.

An agent that gives no heartbeat for `lost_after_s` is lost: its segments end, and their trials continue elsewhere.
The agent itself ends its ranks after two thirds of that time without a heartbeat of the study. So the ranks of a lost
agent have ended before their trials continue. A new session waits in the same way for the agents of a session that was
killed: their names are in the study's folder.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune import __version__
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.door import NOTE, Arrival, Door
from lightning_hwtune.engine.agents.exchange import Exchange
from lightning_hwtune.engine.agents.launcher import Launcher
from lightning_hwtune.engine.agents.link import Link, send_json
from lightning_hwtune.engine.agents.messages import Preload, Setup
from lightning_hwtune.engine.agents.node_kind import kind_of
from lightning_hwtune.engine.provider import NodeChange
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import write_whole

__all__ = ["BEAT_S", "LOST_AFTER", "LOST_AFTER_S", "RemoteAgent", "Roster", "lost_after_s", "software"]

LOST_AFTER = "HWTUNE_AGENTS_LOST_AFTER"
"""The environment variable with the seconds without a heartbeat after which an agent is lost."""

LOST_AFTER_S, _LEAST_LOST_AFTER_S = 30.0, 3.0

BEAT_S = 1.0
_TIMEOUT_S = 600.0


def software() -> dict[str, str]:
    """Returns the versions that a study and its agents must have in common."""
    return {"lightning_hwtune": __version__, "python": ".".join(platform.python_version_tuple()[:2])}


@final
@dataclass(eq=False, slots=True)
class RemoteAgent:
    """An agent, as the study sees it.

    Attributes:
        name: of the node, as in the log.
        incarnation: of its process, which a new start of the agent changes.
        kind: which of the pool's nodes it is.
        is_ready: whether segments can start. is_taken: whether the study has rented the node.
        is_apart: whether files must be sent, see `exchange`.
        lost: why it is lost; empty while it is not.
    """

    name: str
    incarnation: str
    exchange: Exchange
    link: Link
    kind: Nodes
    is_ready: bool = False
    is_taken: bool = False
    is_apart: bool = False
    lost: str = ""


@final
class Roster:
    """The agents of one session; see `engine.provider.Provider`.

    Args:
        door: where agents arrive.
        setup: what each of them gets first.
        pool: the devices of the study.
        folder: the study's folder, in which the names of the agents are kept.
        lost_after_s: see the module.
        launcher: starts the agents; None if the user does.
    """

    launch_s = 1.0
    idle_s = math.inf
    timeout_s = _TIMEOUT_S

    def __init__(
        self, door: Door, setup: Setup, pool: Pool, folder: Path, lost_after_s: float, launcher: Launcher | None = None
    ) -> None:
        self._launcher = launcher
        if launcher is not None:
            self.timeout_s = launcher.timeout_s
        self.door, self.agents = door, dict[str, RemoteAgent]()
        self._setup, self._pool, self._note, self._lost_after_s = setup, pool, folder / NOTE, lost_after_s
        self._session, self._news, self._beaten_at = secrets.token_hex(8), list[NodeChange](), 0.0
        self._preload = Preload(())
        self._earlier = _incarnations(self._note)
        self._earlier_until = time.monotonic() + lost_after_s
        self._write_note()

    # ------------------------------------------------------------------ provider

    def ready(self) -> list[RemoteAgent]:
        """Returns the agents on which segments can start; none while ranks of a killed session may still run."""
        if self._earlier and time.monotonic() < self._earlier_until:
            return []
        return [agent for agent in self.agents.values() if agent.is_ready]

    def is_available(self, kind: Nodes) -> bool:
        """Returns whether an agent of this kind has joined whose node is not rented yet."""
        return any(not agent.is_taken and agent.kind == kind for agent in self.ready())

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        """Rents the node of the first such agent; returns its name."""
        agent = next(agent for agent in self.ready() if not agent.is_taken and agent.kind == kind)
        agent.is_taken = True
        self._news.append(NodeChange(agent.name))
        return agent.name

    def release(self, rented_as: str) -> None:
        """Gives a node back; its agent stays."""
        if (agent := self.agents.get(rented_as)) is not None:
            agent.is_taken = False

    def poll(self) -> Sequence[NodeChange]:
        """Returns what has happened to rented nodes."""
        news, self._news = self._news, []
        return news

    def poll_s(self) -> float:
        """Returns 0 if there is news; otherwise infinity, since the executor wakes up when something arrives."""
        return 0.0 if self._news else math.inf

    # ------------------------------------------------------------------ agents

    def attend(self) -> list[RemoteAgent]:
        """Lets in the agents that have arrived, sends heartbeats, and returns the agents that were lost."""
        for arrival in self.door.arrivals():
            self._welcome(arrival)
        found, now = list[RemoteAgent](), time.monotonic()
        if now - self._beaten_at >= BEAT_S:
            self._beaten_at = now
            for agent in self.agents.values():
                agent.link.beat()
        for agent in list(self.agents.values()):
            agent.link.flush()
            if not agent.lost and now - agent.link.heard_at > self._lost_after_s:
                self.lose(agent, f"it gave no heartbeat for {self._lost_after_s:g} s")
            if agent.lost:
                found.append(agent)
        for agent in found:
            self._remove(agent)
        return found

    def preload(self, libraries: tuple[str, ...]) -> None:
        """Makes the nodes, those that join later included, import modules once."""
        self._preload = Preload(libraries)
        for agent in self.agents.values():
            agent.link.send(self._preload)

    def lose(self, agent: RemoteAgent, why: str) -> None:
        """Marks an agent as lost; `attend` returns it."""
        agent.lost = agent.lost or why

    def arrived(self, agent: RemoteAgent) -> None:
        """Records that nothing of an earlier session runs on an agent's host."""
        agent.is_ready = True
        self._earlier.discard(agent.incarnation)

    def missing(self) -> str:
        """Returns why nodes have not joined yet; empty if nothing is known."""
        return self._launcher.missing() if self._launcher is not None else ""

    def look_at_launched(self) -> None:
        """Loses the agents that have ended for certain.

        Raises:
            TrialError: no agent can join any more.
        """
        for change in self._launcher.poll() if self._launcher is not None else ():
            if (agent := self.agents.get(change.rented_as)) is not None:
                self.lose(agent, change.lost)

    def _remove(self, agent: RemoteAgent) -> None:
        agent.link.detach()
        agent.exchange.drop()
        if self.agents.get(agent.name) is agent:
            del self.agents[agent.name]
        if agent.is_taken:
            self._news.append(NodeChange(agent.name, agent.lost))
        self._write_note()

    def _welcome(self, arrival: Arrival) -> None:
        """Answers an agent: it continues, joins, or is refused."""
        hello, connection = arrival.hello, arrival.connection
        known = next((agent for agent in self.agents.values() if agent.incarnation == hello.get("incarnation")), None)
        is_resumed = known is not None and hello.get("session") == self._session
        kind, refused = self._kind_of(hello)
        agent = known if known is not None and is_resumed else self._new_agent(hello, kind)
        answer = {"session": self._session, "received": agent.link.received, "resumed": is_resumed, "refused": refused}
        try:
            send_json(connection, {**answer, "name": agent.name, "lost_after_s": self._lost_after_s})
        except (OSError, EOFError):
            connection.close()
            return
        if refused:
            connection.close()
            return
        if is_resumed:
            agent.link.attach(connection, int(hello["received"]))
            return
        self.agents[agent.name] = agent
        agent.link.attach(connection, 0)
        agent.link.send(dataclasses.replace(self._setup, n_ranks=min(self._setup.n_ranks, kind.n_devices)))
        if self._preload.libraries:
            agent.link.send(self._preload)
        self._write_note()
        if known is not None:
            self.lose(known, "it had lost the connection to the study for too long")

    def _new_agent(self, hello: Mapping[str, Any], kind: Nodes) -> RemoteAgent:
        link = Link()
        exchange = Exchange(self._note.parent, link.send)
        return RemoteAgent(self._free_name(hello), str(hello.get("incarnation")), exchange, link, kind)

    def _kind_of(self, hello: Mapping[str, Any]) -> tuple[Nodes, str]:
        """Returns which of the pool's nodes an agent is, and why it cannot train this study; empty if it can."""
        if hello.get("software") != software():
            text = f"the study runs with {software()}, but the agent with {hello.get('software')}"
            return self._pool.kinds[0], f"{text}: both need the same versions"
        return kind_of(self._pool, hello)

    def _free_name(self, hello: Mapping[str, Any]) -> str:
        name, number = str(hello.get("name")), 1
        while name in self.agents:
            number += 1
            name = f"{hello.get('name')}-{number}"
        return name

    # ------------------------------------------------------------------ the note in the study's folder

    def _write_note(self) -> None:
        agents = sorted({*self._earlier, *(agent.incarnation for agent in self.agents.values())})
        write_whole(
            self._note, json.dumps({"connect": self.door.reached_at, "session": self._session, "agents": agents})
        )

    def close(self) -> None:
        """Closes the port and every connection. No agent trains any more, so the next session waits for none."""
        for agent in self.agents.values():
            agent.link.detach()
        self.door.close()
        self._note.unlink(missing_ok=True)


def _incarnations(note: Path) -> set[str]:
    """Returns the agents of a session that was killed."""
    try:
        return set(json.loads(note.read_text())["agents"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def lost_after_s() -> float:
    """Returns after how many seconds without a heartbeat an agent is lost, as the environment says.

    Raises:
        ArgumentError: it is not a number of seconds, or too few.
    """
    text = os.environ.get(LOST_AFTER, "")
    try:
        seconds = float(text or LOST_AFTER_S)
    except ValueError:
        seconds = 0.0
    if not _LEAST_LOST_AFTER_S <= seconds <= 86400.0:
        raise ArgumentError(LOST_AFTER, text, f"a number of seconds, at least {_LEAST_LOST_AFTER_S:g}")
    return seconds
