"""A PostgreSQL server of its own for tests and benchmarks: Debian's programs, on a free port, in a temporary folder.

The server refuses to run as root, so as root its programs run as `nobody`.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from local_server import free_port

__all__ = ["PASSWORD", "USER", "PostgresServer", "postgres_programs"]

USER, PASSWORD = "hw", "correct horse"
_START_S = 60.0


def postgres_programs() -> Path | None:
    """Return the folder with `initdb` and `pg_ctl`; None if there is none."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += [Path(name).parent for name in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    return next((folder for folder in found if (folder / "pg_ctl").exists()), None)


class PostgresServer:
    """A running server, which ends with the block. `url` names a database in it; clients need a password."""

    def __init__(self) -> None:
        programs = postgres_programs()
        assert programs is not None, "there is no initdb"
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="hwtune-postgres-"))
        self._data = self._folder / "data"
        self._numbers = itertools.count()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody", "nogroup")
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self.port = free_port()

    def __enter__(self) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            password = Path(folder, "password")
            password.write_text(PASSWORD)
            os.chmod(folder, 0o755)
            options = ["--no-sync", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password}"]
            self._call("initdb", *options, "--encoding=UTF8", "--locale=C", "--no-instructions", "-D", str(self._data))
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n"
                "fsync=off\nshared_buffers=16MB\nmax_connections=50\n"
            )
        self.start()
        return self

    def __exit__(self, *of_error: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self._folder)

    def _call(self, program: str, *arguments: str) -> None:
        # the server keeps the standard streams open, so they must not be pipes
        subprocess.run(
            [self._programs / program, *arguments],
            check=True,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "errors").open("ab"),
            env={**os.environ, "LC_ALL": "C"},
            **self._as,
        )

    def _control(self, *arguments: str) -> None:
        self._call("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", *arguments)

    # ------------------------------------------------------------------ faults

    def start(self) -> None:
        """Start the server; after a kill, wait until the last of its old processes has ended."""
        end = time.monotonic() + _START_S
        while True:
            try:
                return self._control("start")
            except subprocess.CalledProcessError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self, mode: str = "fast") -> None:
        self._control("-m", mode, "stop")

    def restart(self) -> None:
        self._control("-m", "fast", "restart")

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def terminate_clients(self) -> int:
        """End the server's side of every other connection; return how many there were."""
        rows = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return len(rows)

    # ------------------------------------------------------------------ databases

    def url(
        self, database: str = "postgres", *, user: str = USER, password: str | None = PASSWORD, port: int = 0
    ) -> str:
        who = user if password is None else f"{user}:{password.replace(' ', '%20')}"
        return f"postgresql://{who}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            result = connection.execute(sql)
            return result.fetchall() if result.description else []

    def fresh_database(self) -> str:
        """Return the name of a new, empty database."""
        name = f"db{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def fresh_schema(self) -> str:
        """Return the URL of a new, empty schema, which to a client is like a database but is made in milliseconds."""
        name = f"s{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url()}?options=-csearch_path%3D{name}"
