"""One rank's process, seen from the engine: a channel and a status pipe.

Neither is ever waited for: messages are read as far as they have arrived, answers are written as far as they fit. So a
rank that stops in the middle of a message delays nobody else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import final

from lightning_hwtune.training.channel import Ended, Message, RankTask, VerdictMessage
from lightning_hwtune.training.connection import Inbox, packed
from lightning_hwtune.training.server import STATUS

__all__ = ["Rank"]

_PIECE_BYTES = 1 << 18
_NO_MESSAGE = (
    ValueError,
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
)


@final
class Rank:
    """One rank's process.

    Args:
        channel: the engine's end. status: the reading end of its status pipe. task: the first message to it.

    Attributes:
        pid: process id; None until the server has forked it.
        is_open: the channel is; a rank that lives may have closed its end.
        exit_code: None until it has ended; negative for a signal.
        is_gone: it has ended, and so has whatever it had started.
        is_abandoned: the fork server ended before it could report the rank's end.
        killed_at: since when the engine wants it to end.
        ended: its last message.
    """

    def __init__(self, channel: socket.socket, status: int, task: RankTask) -> None:
        channel.setblocking(False)
        os.set_blocking(status, False)
        self.channel, self.status = channel, status
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.is_open, self.is_gone, self.is_abandoned = True, False, False
        self.fault = ""  # why it could not be started, or cannot be understood
        self.killed_at: float | None = None
        self.began_at = self.last_sign = self.progress_at = time.monotonic()
        self.progress, self.is_started, self.has_trained = 0, False, False
        self.ended: Ended | None = None
        self._inbox, self._outbox = Inbox(), deque([memoryview(packed(task))])
        self._status = b""
        self.flush()

    # ------------------------------------------------------------------ words

    def messages(self) -> Iterator[Message]:
        """Yields what has arrived whole: of a rank that is gone everything, else no more than one piece at a time."""
        while self.is_open:
            try:
                data = self.channel.recv(_PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.is_open = bool(data)
            try:
                for message in self._inbox.feed(data):
                    self.last_sign, self.is_started = time.monotonic(), True
                    yield message
            except _NO_MESSAGE as error:  # user code wrote into the channel
                self.fault, self.is_open = f"sent what is no message: {error}", False
                self.kill()
            if not self.is_gone:
                return

    def answer(self, verdict: VerdictMessage) -> None:
        """Sends an answer, now or as soon as the rank reads."""
        self._outbox.append(memoryview(packed(verdict)))
        self.flush()

    @property
    def is_writing(self) -> bool:
        """True while something waits to be written."""
        return bool(self._outbox)

    def flush(self) -> None:
        """Writes what fits."""
        try:
            while self._outbox:
                n_sent = self.channel.send(self._outbox[0])
                if n_sent == len(self._outbox[0]):
                    self._outbox.popleft()
                else:
                    self._outbox[0] = self._outbox[0][n_sent:]
        except BlockingIOError:
            return
        except OSError:  # it has ended: its status will tell
            self._outbox.clear()

    # ------------------------------------------------------------------ life

    def look(self) -> None:
        """Takes what the status pipe has."""
        if self.is_gone:
            return
        try:
            data = os.read(self.status, 2 * STATUS.size)
        except BlockingIOError:
            return
        self._status += data
        numbers = [number for (number,) in STATUS.iter_unpack(self._status[: len(self._status) // 8 * 8])]
        if numbers and numbers[0] < 0:
            self.is_gone, self.fault = True, f"could not be started: {os.strerror(-numbers[0])}"
        elif numbers and self.pid is None:
            self.pid = numbers[0]
            if self.killed_at is not None:
                self.kill()
        if len(numbers) == 2:
            self.exit_code, self.is_gone = numbers[1], True
        elif not data:
            self.is_gone = self.is_abandoned = True
            if self.pid is not None:  # its guard ends all the rest; this is for the day when that was killed, too
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the process; the server then ends what it has started."""
        if self.killed_at is None:
            self.killed_at = time.monotonic()
        if self.pid is not None and not self.is_gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)

    def is_overdue(self, limit_s: float) -> bool:
        """Return whether its end was wanted so long ago and is not reported yet."""
        return self.killed_at is not None and time.monotonic() - self.killed_at > limit_s

    def close(self) -> None:
        """Closes both descriptors."""
        self.channel.close()
        os.close(self.status)
