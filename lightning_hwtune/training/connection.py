"""The channel over a pipe: what a rank holds, and how the ranks of a group find each other.

Both travel to the rank process as arguments. Only the rank itself uses them; the engine keeps the other ends.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, final

from lightning_hwtune.training.channel import Message, Report, VerdictMessage

__all__ = ["PipeChannel", "PipeRendezvous"]


@final
class PipeChannel:
    """A `Channel` over one duplex pipe. Sending is safe from several threads; only one thread reports."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return PipeChannel, (self._connection,)

    def report(self, report: Report) -> VerdictMessage:
        """Sends the report and waits for the answer.

        Raises:
            ConnectionError: the engine is gone.
        """
        self.send(report)
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise ConnectionError("the study's controller is gone") from error
        if not isinstance(answer, VerdictMessage):
            raise ConnectionError(f"expected a verdict, received {answer!r}")
        return answer

    def send(self, message: Message) -> None:
        """Sends a message that needs no answer."""
        with self._lock:
            self._connection.send(message)


@final
class PipeRendezvous:
    """Carries rank 0's port to its peers: rank 0 holds the writing ends, every other rank one reading end."""

    def __init__(self, writers: Sequence[Connection] = (), reader: Connection | None = None) -> None:
        self._writers, self._reader = list(writers), reader

    def publish(self, port: int) -> None:
        """Tells every other rank the port of rank 0's store."""
        for writer in self._writers:
            writer.send(port)

    def get(self, timeout_s: float = 120.0) -> int:
        """Returns the port of rank 0's store.

        Raises:
            ConnectionError: rank 0 died or took too long.
        """
        if self._reader is None or not self._reader.poll(timeout_s):
            raise ConnectionError(f"rank 0 told no port within {timeout_s:.0f} s")
        try:
            return int(self._reader.recv())
        except EOFError as error:
            raise ConnectionError("rank 0 died before it told its port") from error
