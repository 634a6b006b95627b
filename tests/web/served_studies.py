"""The real server of a folder's studies, in a process as a user starts it, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Served:
    """A running server."""

    port: int
    token: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        """The printed address."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, Mapping[str, str], str]:
        """Returns status, headers and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()

    def cookie(self) -> dict[str, str]:
        """Returns the header of a page that was opened with the token."""
        _, headers, _ = self.get(f"/?token={self.token}")
        return {"Cookie": headers["set-cookie"].split(";")[0]}


@contextlib.contextmanager
def served(folder: Path, state: Path, *words: str, port: int = 0) -> Iterator[Served]:
    """Starts `hwtune serve`, with its stored token below `state`; ends it at last."""
    command = [sys.executable, "-m", "lightning_hwtune", "serve", "--dir", str(folder), "--port", str(port), *words]
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r":(\d+)/\?token=(\S+)", line)
        assert found is not None, line + process.stdout.read()
        yield Served(int(found[1]), found[2], process)
    finally:
        process.terminate()
        process.wait(20)
