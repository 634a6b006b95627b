"""A proxy before a PostgreSQL server that loses connections at the worst moments."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Literal, Self

from postgres_server import PostgresServer

__all__ = ["PostgresProxy"]


class PostgresProxy:
    """Forwards connections to the server. `url` is like that of the server, but through the proxy.

    Attributes:
        swallow: what happens at the next COMMIT. "answer": the server gets it, but the client never gets the answer,
            because both connections end. "request": the server does not get it either. None: it is forwarded.
        swallowed: how many commits this has happened to.
        is_cut: while True, no connection lives.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.swallow: Literal["answer", "request"] | None = None
        self.swallowed = 0
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._is_over = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def url(self, database: str = "postgres") -> str:
        return self._server.url(database, port=self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_error: object) -> None:
        self._is_over = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self.is_cut:
                return
            with socket.create_connection(("127.0.0.1", self._server.port)) as server:
                self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        while not (self.is_cut or self._is_over):
            readable, _, _ = select.select([client, server], [], [], 0.02)
            for source in readable:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is client and self.swallow is not None and b"COMMIT" in data:
                    swallow, self.swallow = self.swallow, None
                    if swallow == "answer":
                        server.sendall(data)
                        server.recv(1 << 16)
                    self.swallowed += 1
                    return
                (server if source is client else client).sendall(data)
