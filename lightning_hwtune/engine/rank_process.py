"""One rank's process, as the engine sees it: a channel and a status pipe.

Neither of them blocks: messages are read as far as they have arrived, and answers are written as far as they fit. So a
rank that stops in the middle of a message does not delay the others.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from typing import final

from lightning_hwtune.host.process_limit import why_no_process
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.training.channel import Ended, Message, RankTask, VerdictMessage
from lightning_hwtune.training.process.connection import Inbox, Outbox, packed
from lightning_hwtune.training.process.fork_server import STATUS

__all__ = ["Rank"]

_PIECE_BYTES = 1 << 18
_NOT_A_MESSAGE = (
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
        channel: the engine's end of the channel.
        status: the reading end of the status pipe.
        task: the first message to the rank.

    Attributes:
        pid: the process id; None until the server has forked the rank.
        is_open: whether the channel is open; a living rank may have closed its end.
        exit_code: None until the rank has ended; negative for a signal.
        is_gone: whether the rank and everything that it started have ended.
        is_abandoned: whether the fork server ended before it could report the rank's end.
        killed_at: when the engine first killed the rank, on the monotonic clock; None if it did not.
        ended: the rank's last message.
    """

    def __init__(self, channel: socket.socket, status: int, task: RankTask) -> None:
        channel.setblocking(False)
        os.set_blocking(status, False)
        self.channel, self.status = channel, status
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.is_open, self.is_gone, self.is_abandoned = True, False, False
        self.fault = ""  # why it could not be started, or why its messages cannot be read
        self.killed_at: float | None = None
        self.began_at = self.last_sign = self.progress_at = time.monotonic()
        self.progress, self.is_started, self.has_trained = 0, False, False
        self.ended: Ended | None = None
        self._inbox, self._outbox = Inbox(), Outbox([packed(task)])
        self._status = b""
        self.flush()

    # ------------------------------------------------------------------ messages

    def messages(self) -> Iterator[Message]:
        """Yields the complete messages: all of them if the rank is gone, otherwise those of one read at most."""
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
            except _NOT_A_MESSAGE as error:  # user code wrote into the channel
                self.fault, self.is_open = f"sent data that is not a message: {error}", False
                self.kill()
            if not self.is_gone:
                return

    def answer(self, verdict: VerdictMessage) -> None:
        """Sends an answer at once, or as soon as the rank reads."""
        self._outbox.add(packed(verdict))
        self.flush()

    @property
    def is_writing(self) -> bool:
        """True while something waits to be written."""
        return bool(self._outbox)

    def flush(self) -> None:
        """Writes as much as the channel accepts."""
        try:
            self._outbox.flush(self.channel)
        except OSError:  # the rank has ended; its status follows
            self._outbox.clear()

    # ------------------------------------------------------------------ life

    def look(self) -> None:
        """Reads the status pipe: the process id, then the exit code."""
        if self.is_gone:
            return
        try:
            data = os.read(self.status, 2 * STATUS.size)
        except BlockingIOError:
            return
        self._status += data
        numbers = [number for (number,) in STATUS.iter_unpack(self._status[: len(self._status) // 8 * 8])]
        if numbers and numbers[0] < 0:
            self.is_gone, self.fault = True, spelled(f"could not be started: {why_no_process(-numbers[0])}")
        elif numbers and self.pid is None:
            self.pid = numbers[0]
            if self.killed_at is not None:
                self.kill()
        if len(numbers) == 2:
            self.exit_code, self.is_gone = numbers[1], True
        elif not data:
            self.is_gone = self.is_abandoned = True
            if self.pid is not None:  # usually the guard ends everything; this is in case it was killed, too
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kills the process; the server then ends everything that it started."""
        if self.killed_at is None:
            self.killed_at = time.monotonic()
        if self.pid is not None and not self.is_gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)

    def is_overdue(self, limit_s: float) -> bool:
        """Return whether the engine killed the rank more than `limit_s` seconds ago."""
        return self.killed_at is not None and time.monotonic() - self.killed_at > limit_s

    def close(self) -> None:
        """Closes both descriptors."""
        self.channel.close()
        os.close(self.status)
