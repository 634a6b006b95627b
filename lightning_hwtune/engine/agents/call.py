"""One try of an agent to reach its study."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from multiprocessing import AuthenticationError
from typing import Any, final

from lightning_hwtune.engine.agents.door import KEY, KEY_NAME
from lightning_hwtune.engine.agents.link import proved_client, receive_json, send_json

__all__ = ["Call"]

_CONNECT_S = 5.0


@final
class Call:
    """One try to connect, in a thread, because it may take long.

    Attributes:
        is_over: whether there is a result. connection, welcome: the result, if the study answered.
        failure: why trying again would not help.
        began_at: on the monotonic clock.
    """

    def __init__(self, connect: tuple[str, int], key: bytes, hello: Mapping[str, Any]) -> None:
        self.connection: socket.socket | None = None
        self.welcome: Mapping[str, Any] = {}
        self.failure, self.is_over, self.began_at = "", False, time.monotonic()
        threading.Thread(target=self._try, args=(connect, key, hello), name="hwtune-call", daemon=True).start()

    def _try(self, connect: tuple[str, int], key: bytes, hello: Mapping[str, Any]) -> None:
        connection: socket.socket | None = None
        try:
            connection = socket.create_connection(connect, timeout=_CONNECT_S)
            proved_client(connection, key)
            send_json(connection, hello)
            self.welcome = receive_json(connection)
            self.connection, connection = connection, None
        except AuthenticationError:
            self.failure = (
                f"the study at {connect[0]}:{connect[1]} has another secret than this agent. Give --key-file the file "
                f"{KEY_NAME} of the study's folder, or set {KEY} as for the study"
            )
        except (OSError, EOFError, ValueError):
            pass
        finally:
            if connection is not None:
                connection.close()
            self.is_over = True
