"""The interface between a study and what starts the agents of its nodes, such as a cluster's own tools.

Without a launcher, the user starts the agents. Either way they arrive at the door and prove that they know the secret.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.door import KEY, KEY_FILE, KEY_NAME
from lightning_hwtune.engine.provider import NodeChange

__all__ = ["Invitation", "Launcher"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What an agent needs to join a session.

    Attributes:
        connect: address and port of the study, for other hosts.
        key: the secret.
        folder: the study's folder.
        pool: the devices of the study; each agent serves one of its nodes.
        say: prints a line for the user.
    """

    connect: str
    key: bytes = field(repr=False)
    folder: Path
    pool: Pool
    say: Callable[[str], None] = print

    def command(self, *options: str) -> list[str]:
        """Returns the command that starts an agent, with further options of `hwtune agent`."""
        return [sys.executable, "-m", "lightning_hwtune", "agent", "--connect", self.connect, *options]

    def environ(self) -> Mapping[str, str]:
        """Returns the environment variables that an agent needs in addition to those of the study."""
        if os.environ.get(KEY) or os.environ.get(KEY_FILE):
            return {}
        return {KEY_FILE: str(self.folder / KEY_NAME)}


@runtime_checkable
class Launcher(Protocol):
    """Starts the agents of one session, and ends them.

    Attributes:
        listen: where the study listens unless the environment says it: "HOST:PORT", port 0 for any free one.
        timeout_s: for how long the study waits for agents while nothing trains.
    """

    listen: str
    timeout_s: float

    def start(self, invitation: Invitation) -> None:
        """Begins to start the agents; returns soon. They join by themselves.

        Raises:
            HwTuneError: they cannot be started.
        """

    def poll(self) -> Sequence[NodeChange]:
        """Returns which agents, by the name that they gave, have ended for certain since the last call.

        An agent without a connection may still train: only what ends all its ranks, too, is reported here. What is not
        reported here is lost after the time without a heartbeat.

        Raises:
            TrialError: no agent can join any more.
        """

    def missing(self) -> str:
        """Returns, as a sentence, why agents have not joined yet; empty if nothing is known."""

    def stop(self) -> None:
        """Ends what was started, and waits for that. Idempotent; it also follows a `start` that failed."""
