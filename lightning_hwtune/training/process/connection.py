"""The channel over a socket: the rank's end, and the conversion between messages and a stream of bytes.

A message is sent as its length in four bytes and a pickle. The engine never waits for the rest of a message. It passes
the bytes that have arrived to an `Inbox`, which returns only complete messages. What it sends is in an `Outbox` until
the socket accepts it.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, final

from lightning_hwtune.training.channel import Message, Report, VerdictMessage, storable_message

__all__ = ["MAX_MESSAGE_BYTES", "Inbox", "Outbox", "PipeChannel", "packed"]

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""The largest size of a message. Texts are much shorter (`text`), so a longer message is an error of its sender."""

_LENGTH = struct.Struct("!I")


def packed(message: object) -> bytes:
    """Returns a message as bytes for the stream.

    Raises:
        ValueError: the message is too long.
    """
    body = pickle.dumps(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a {type(message).__name__} of {len(body)} bytes; allowed: {MAX_MESSAGE_BYTES}")
    return _LENGTH.pack(len(body)) + body


@final
class Inbox:
    """Collects bytes that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Adds bytes; yields the messages that are complete now.

        Raises:
            ValueError: the stream announces a message that is too long.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length} bytes was announced; allowed: {MAX_MESSAGE_BYTES}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(body)


@final
class Outbox:
    """Messages on their way into a socket that does not block, as `packed` returns them. It is true while any waits."""

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self._left = deque(memoryview(message) for message in messages)

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, message: bytes) -> None:
        """Adds a message; `flush` writes it."""
        self._left.append(memoryview(message))

    def clear(self) -> None:
        """Drops what is not written yet."""
        self._left.clear()

    def flush(self, end: socket.socket) -> None:
        """Writes as much as the socket accepts.

        Raises:
            OSError: the other end is closed.
        """
        try:
            while self._left:
                n_sent = end.send(self._left[0])
                if n_sent == len(self._left[0]):
                    self._left.popleft()
                else:
                    self._left[0] = self._left[0][n_sent:]
        except BlockingIOError:
            return


@final
class PipeChannel:
    """A `Channel` over one end of a socket pair. Sending is safe from several threads; only one thread reports."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()

    def receive(self) -> Any:
        """Waits for the next message and returns it.

        Raises:
            ConnectionError: the engine is gone.
        """
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))

    def _exactly(self, n_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < n_bytes:
            piece = self._end.recv(min(n_bytes - len(data), 1 << 20))
            if not piece:
                raise ConnectionError("the process that runs the study has ended")
            data += piece
        return bytes(data)

    def report(self, report: Report) -> VerdictMessage:
        """Sends the report and waits for the answer.

        Raises:
            ConnectionError: the engine is gone.
        """
        self.send(report)
        answer = self.receive()
        if not isinstance(answer, VerdictMessage):
            raise ConnectionError(f"expected a verdict, received {answer!r}")
        return answer

    def send(self, message: Message) -> None:
        """Sends a message that needs no answer."""
        data = packed(storable_message(message))
        with self._lock:
            self._end.sendall(data)
