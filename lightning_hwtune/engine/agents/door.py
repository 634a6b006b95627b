"""Where agents join a study: its port, its secret, and the files that say where both are.

The port is opened only with a secret. By default it is on the loopback, and the secret is a random one in a file that
only its owner can read. Agents on other hosts come through SSH, or the study listens in a trusted network.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any, Self, final

from lightning_hwtune.engine.agents.link import proved_listener, receive_json
from lightning_hwtune.errors import ArgumentError, TrialError

__all__ = ["KEY", "KEY_FILE", "KEY_NAME", "LISTEN", "NOTE", "Arrival", "Door", "address_of", "key_of", "noted_address"]

LISTEN, KEY, KEY_FILE = "HWTUNE_AGENTS_LISTEN", "HWTUNE_AGENTS_KEY", "HWTUNE_AGENTS_KEY_FILE"
"""The environment variables that say where a study listens, and its secret or the file with it."""

NOTE = "agents.json"
"""The file in the study's folder that says where the study listens, while a session is open or after it was killed."""

KEY_NAME = "agents.key"
"""The file in the study's folder with the secret that was made for it."""

_LEAST_KEY = 16  # characters
_MOST_PROOFS = 64  # connections that prove themselves at the same time; further ones are closed


@final
@dataclass(frozen=True, slots=True)
class Arrival:
    """An agent that has proved itself. `hello`: what it said about itself."""

    connection: socket.socket
    hello: Mapping[str, Any]


@final
class Door:
    """A port at which agents arrive; each proves itself in its own thread, so that a silent one delays no other.

    Args:
        listen: address and port; port 0 for any free one.
        key: the secret.

    Attributes:
        address: address and port.
        key: the secret.
        bell: becomes readable when an agent has arrived.

    Raises:
        TrialError: the port cannot be opened.
    """

    def __init__(self, listen: tuple[str, int], key: bytes) -> None:
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        try:
            self._listener = socket.create_server(listen, family=family, backlog=256)
        except OSError as error:
            raise TrialError(f"the study cannot listen for agents at {listen[0]}:{listen[1]}: {error}") from error
        self.key, self._arrivals = key, queue.SimpleQueue[Arrival]()
        self._proofs = threading.BoundedSemaphore(_MOST_PROOFS)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.bell, self._ringer = socket.socketpair()
        self.bell.setblocking(False)
        threading.Thread(target=self._accept, name="hwtune-agents", daemon=True).start()

    @property
    def reached_at(self) -> str:
        """The address for agents on other hosts."""
        host, port = self.address
        host = socket.gethostname() if host in ("0.0.0.0", "::") else host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the door is closed
                return
            if not self._proofs.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._prove, args=(connection,), name="hwtune-agent-proof", daemon=True).start()

    def _prove(self, connection: socket.socket) -> None:
        try:
            proved_listener(connection, self.key)
            self._arrivals.put(Arrival(connection, receive_json(connection)))
            self._ringer.send(b"!")
        except (OSError, EOFError, ValueError, AuthenticationError):
            connection.close()
        finally:
            self._proofs.release()

    def arrivals(self) -> list[Arrival]:
        """Returns the agents that have arrived since the last call."""
        with contextlib.suppress(OSError):
            self.bell.recv(4096)
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._arrivals.get_nowait())
        return found

    def close(self) -> None:
        """Closes the port, and the connections of those who arrived meanwhile."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait of the thread
        self._listener.close()
        for arrival in self.arrivals():
            arrival.connection.close()

    @classmethod
    def of_environment(cls, folder: Path, listen: str = "127.0.0.1:0") -> Self:
        """Opens the port that the environment names; without a secret, one is written to the study's folder.

        Without a port, it is that of a session that was killed, so that its agents come back, or else any free one.
        `listen` is used if the environment names no port.
        """
        text = os.environ.get(LISTEN) or listen
        if os.environ.get(KEY) or os.environ.get(KEY_FILE):
            return cls._opened(folder, text, key_of(None))
        path = folder / KEY_NAME
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
        return cls._opened(folder, text, key_of(path))

    @classmethod
    def _opened(cls, folder: Path, text: str, key: bytes) -> Self:
        host, port = address_of(LISTEN, text)
        known = noted_address(folder)
        if port == 0 and known is not None:
            with contextlib.suppress(TrialError):
                return cls((host, known[1]), key)
        return cls((host, port), key)


def address_of(argument: str, text: str) -> tuple[str, int]:
    """Returns address and port of "HOST:PORT".

    Raises:
        ArgumentError: the text has another form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ArgumentError(argument, text, "an address such as 127.0.0.1:7077, or host:7077")
    return host.strip("[]"), int(port)


def noted_address(folder: Path) -> tuple[str, int] | None:
    """Returns where the study in this folder listens, or listened until it was killed; None if that is not noted."""
    try:
        return address_of(NOTE, str(json.loads((folder / NOTE).read_text())["connect"]))
    except (OSError, ValueError, KeyError, TypeError, ArgumentError):
        return None


def key_of(path: Path | None) -> bytes:
    """Returns the secret: that of the environment, or else of a file.

    Raises:
        ArgumentError: there is none, it is too short, or others can read the file.
    """
    hint = f"Set {KEY} or {KEY_FILE}, or give --key-file. A study writes such a file, agents.key, to its folder."
    if text := os.environ.get(KEY):
        return _checked(KEY, text, hint)
    if path is None and (named := os.environ.get(KEY_FILE)):
        path = Path(named)
    if path is None:
        raise ArgumentError("--key-file", None, "the file with the secret of the study", hint=hint)
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError("--key-file", str(path), f"a file that can be read ({error})", hint=hint) from None
    if mode & 0o077:
        raise ArgumentError(
            "--key-file", str(path), "a file that only its owner can read", hint=f"Run chmod 600 {path}."
        )
    return _checked("--key-file", text, hint)


def _checked(argument: str, text: str, hint: str) -> bytes:
    if len(text) < _LEAST_KEY:
        received = f"a secret of {len(text)} characters"
        raise ArgumentError(argument, received, f"at least {_LEAST_KEY} characters", hint=hint)
    return text.encode()
