"""The agent of one node as an actor of Ray: it runs in the actor's process, and ends with it."""

from __future__ import annotations

import socket

from lightning_hwtune.engine.agents.agent import Agent
from lightning_hwtune.errors import HwTuneError

__all__ = ["RayAgent"]

_GIVE_UP_S = 60.0  # without a connection to the study; Ray ends the actors of a program that has died sooner


class RayAgent:
    """What an actor does: first it says where it is, then it serves the study until its session ends."""

    def place(self) -> str:
        """Returns the name of this host."""
        return socket.gethostname()

    def serve(self, connect: tuple[str, int], key: bytes, number: int, devices: int, instance: str) -> tuple[str, str]:
        """Serves the study; returns the name of the agent, and why it failed. This is empty if the session has ended.

        Args:
            connect: address and port of the study.
            key: the secret of the study.
            number: of the actor, since several of them may be on one host.
            devices: the number of devices that the actor has.
            instance: the instance type of its node; empty if the pool of the study has only one.
        """
        name = f"{self.place()}-{number}"
        try:
            Agent(
                lambda: connect,
                lambda: key,
                name=name,
                give_up_s=_GIVE_UP_S,
                devices=devices,
                instance=instance,
                say=self._say,
            ).run()
        except HwTuneError as error:
            return name, str(error)
        return name, ""

    @staticmethod
    def _say(line: str) -> None:
        print(f"hwtune agent: {line}", flush=True)  # noqa: T201 - goes to the log of the actor
