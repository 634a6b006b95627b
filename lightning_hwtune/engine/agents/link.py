"""An ordered stream of messages between a study and an agent, which survives a lost connection.

Each message has a number. A side keeps what it has sent until the other side confirms it, and sends it again over the
next connection. So every message arrives once and in order, whatever happens to connections. Heartbeats confirm.

A connection begins with a proof of both sides that they know the secret (`multiprocessing.connection`), and with one
JSON object in each direction. Nothing is unpickled before that proof. The stream is not encrypted.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, final

from lightning_hwtune.training.process.connection import Inbox, Outbox, packed

__all__ = ["Link", "proved_client", "proved_listener", "receive_json", "send_json"]

_PIECE_BYTES = 1 << 18
_PROOF_S = 20  # limit for each step of the proof and for each JSON object
_MAX_JSON_BYTES = 1 << 16


@final
class Link:
    """One end of a stream. Nothing blocks: messages are read and written as far as the connection allows.

    Attributes:
        received: the number of the newest message that arrived.
        heard_at: when anything last arrived, on the monotonic clock.
        known_at: the other side has heard of this one at this time or later; see `beat`.
        attached_at: when the present connection began.
        socket: the present connection; None between two connections.
    """

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.received, self.heard_at = 0, time.monotonic()
        self.known_at = self.attached_at = self.heard_at
        self._their_time = 0.0
        self._n_sent = 0
        self._unconfirmed: deque[tuple[int, bytes]] = deque()
        self._inbox, self._outbox = Inbox(), Outbox()

    def attach(self, connection: socket.socket, confirmed: int) -> None:
        """Continues over a new connection; the other side has received the messages up to number `confirmed`."""
        self.detach()
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # a rank waits for the answer to its report
        self.socket, self._inbox = connection, Inbox()
        self.heard_at = self.known_at = self.attached_at = time.monotonic()
        self._confirm(confirmed)
        self._outbox = Outbox(data for _, data in self._unconfirmed)
        self.flush()

    def detach(self) -> None:
        """Closes the connection; what is sent from now on waits for the next one."""
        connection, self.socket = self.socket, None
        self._outbox.clear()
        if connection is not None:
            connection.close()

    @property
    def is_writing(self) -> bool:
        """True while something waits to be written."""
        return bool(self._outbox)

    def send(self, message: object) -> None:
        """Sends a message, which is kept until it is confirmed."""
        self._n_sent += 1
        data = packed((self._n_sent, message))
        self._unconfirmed.append((self._n_sent, data))
        self._write(data)

    def beat(self) -> None:
        """Sends a heartbeat: what has arrived, the time, and the time in the newest heartbeat of the other side.

        So each side knows up to when the other has heard of it, also if only one direction of a connection is cut.
        """
        self._write(packed((0, (self.received, time.monotonic(), self._their_time))))

    def _write(self, data: bytes) -> None:
        if self.socket is not None:
            self._outbox.add(data)
            self.flush()

    def flush(self) -> None:
        """Writes as much as the connection accepts."""
        if self.socket is None:
            return
        try:
            self._outbox.flush(self.socket)
        except OSError:
            self.detach()

    def messages(self) -> Iterator[Any]:
        """Yields the messages that have arrived; detaches if the connection has ended."""
        while self.socket is not None:
            try:
                data = self.socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.detach()
                return
            self.heard_at = time.monotonic()
            for number, message in self._inbox.feed(data):
                if number == 0:
                    confirmed, self._their_time, known_at = message
                    self.known_at = max(self.known_at, known_at)
                    self._confirm(confirmed)
                elif number == self.received + 1:
                    self.received = number
                    yield message

    def _confirm(self, number: int) -> None:
        while self._unconfirmed and self._unconfirmed[0][0] <= number:
            self._unconfirmed.popleft()


def proved_listener(connection: socket.socket, key: bytes) -> None:
    """Returns once both sides have proved that they know the secret, on the side that listens.

    Raises:
        OSError, EOFError, AuthenticationError: the other side does not know it, or says nothing.
    """
    with _blocking(connection) as stream:
        deliver_challenge(stream, key)
        answer_challenge(stream, key)


def proved_client(connection: socket.socket, key: bytes) -> None:
    """Does the same on the side that connects."""
    with _blocking(connection) as stream:
        answer_challenge(stream, key)
        deliver_challenge(stream, key)


def send_json(connection: socket.socket, data: Mapping[str, Any]) -> None:
    """Sends one object at the beginning of a connection."""
    with _blocking(connection) as stream:
        stream.send_bytes(json.dumps(data).encode())


def receive_json(connection: socket.socket) -> dict[str, Any]:
    """Receives one object at the beginning of a connection.

    Raises:
        OSError, EOFError, ValueError: none arrives.
    """
    with _blocking(connection) as stream:
        found = json.loads(stream.recv_bytes(_MAX_JSON_BYTES))
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


@contextlib.contextmanager
def _blocking(connection: socket.socket) -> Iterator[Connection[Any, Any]]:
    """Yields the connection as one of `multiprocessing`, with limits of time."""
    connection.setblocking(True)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _PROOF_S, 0))
    stream: Connection[Any, Any] = Connection(os.dup(connection.fileno()))
    try:
        yield stream
    finally:
        stream.close()
