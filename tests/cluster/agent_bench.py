"""What the tests of agents share: a study and its agents as real processes, and a network that can be cut."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lightning_hwtune.host.process_family import children_of

HERE = Path(__file__).parent
LOST_AFTER_S = 18  # agents end their ranks after two thirds of it
_LIMIT_S = 90.0

STUDY = """
    import sys
    sys.path[:0] = [{here!r}]
    import lightning_hwtune as hwt
    import cluster_functions

    study = hwt.Study(
        "digits",
        {{"lr": hwt.Float(1e-3, 1e-1, log=True), "devices": hwt.NumDevices(1, 2)}},
        [hwt.Metric("error", "min")],
        scheduler=hwt.RunToEnd(max_epochs=3),
        searcher=hwt.Random(),
        pool={pool},
        max_retries=0,
        dir={folder!r},
    )
    for lr, devices in ((0.01, 1), (0.02, 1), (0.03, 2)):
        study.enqueue({{"lr": lr, "devices": devices}})
    study.run(cluster_functions.digits, max_trials=3, executor="agents", save_every=1)
"""


POOL = 'hwt.Pool("cpu", devices=1, nodes=2)'
"""The pool of that study: two equal nodes."""


def study_text(folder: Path, pool: str = POOL) -> str:
    """Returns the script of the study in a folder."""
    return textwrap.dedent(STUDY.format(here=str(HERE), folder=str(folder), pool=pool))


def until(condition: Callable[[], object], what: str, limit_s: float = _LIMIT_S) -> None:
    """Waits for something that must happen."""
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)


class Cluster:
    """Processes of one study, with their output in files of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()

    def start(self, name: str, *arguments: str, before: Sequence[str] = (), **environ: str) -> subprocess.Popen[bytes]:
        """Start a process of Python; `before` is what its command begins with."""
        with (self.folder / f"{name}.txt").open("ab") as out:
            more = {"HWTUNE_AGENTS_LOST_AFTER": str(LOST_AFTER_S), "OMP_NUM_THREADS": "1", **environ}
            command = [*before, sys.executable, *arguments]
            process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self.folder, env={**os.environ, **more}, stdin=subprocess.DEVNULL
            )
        self.processes.append(process)
        return process

    def said(self, name: str) -> str:
        path = self.folder / f"{name}.txt"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


class Network:
    """Passes the bytes of connections to a port on.

    `cut` ends all connections, and refuses new ones for a while. Between `stop` and `flow` nothing arrives, in either
    direction, and no side learns of it.
    """

    def __init__(self, target: Callable[[], int | None]) -> None:
        self._target, self._is_cut, self._pairs = target, False, list[socket.socket]()
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._flows.wait()
                port = self._target()
                try:
                    assert port is not None
                    assert not self._is_cut
                    far = socket.create_connection(("127.0.0.1", port))
                except (OSError, AssertionError):
                    near.close()
                    continue
                self._pairs += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(*ends, self._flows), daemon=True).start()

    def cut(self, seconds: float) -> None:
        self._is_cut = True
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()
        time.sleep(seconds)
        self._is_cut = False

    def stop(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._listener.close()
        self.flow()
        self.cut(0)


def _pump(source: socket.socket, target: socket.socket, flows: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            flows.wait()
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def epochs(folder: Path, trial: int) -> Iterator[tuple[int, ...]]:
    """Yields segment, epoch, rank, node and process of each epoch that a trial has begun."""
    path = folder / "trials" / f"{trial:03d}" / "epochs"
    for line in path.read_text().splitlines() if path.exists() else ():
        yield tuple(map(int, line.split()[:5]))


def descendants(pid: int) -> set[int]:
    """Return a process and everything that it has started, directly or not."""
    found = {pid}
    for child in children_of(pid):
        found |= descendants(child)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


_AHEAD = """
import time
time.time, now = lambda: now() + 3600, time.time
"""


def hour_ahead(folder: Path) -> dict[str, str]:
    """Return the environment of a host whose clock is an hour ahead, as all of its programs in Python see it."""
    (folder / "ahead").mkdir()
    (folder / "ahead" / "sitecustomize.py").write_text(_AHEAD)
    return {"PYTHONPATH": os.pathsep.join([str(folder / "ahead"), os.environ.get("PYTHONPATH", "")])}


def started_earlier() -> list[str]:
    """Return what begins the command of a process on a host that was started a week earlier; [] if that is refused."""
    command = ["unshare", "--time", "--fork", "--kill-child", "--monotonic", "604800"]
    return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []
