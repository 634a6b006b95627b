"""Does a study on a PostgreSQL server survive the faults of its server, and how soon does it continue?

    python benchmarks/database.py --faults 12 --seed 0

Starts a PostgreSQL server in a temporary folder, and a proxy before it. Needs Debian's package `postgresql`. It has
three parts:

1. A real study (perceptrons on the digits, one or two ranks, ASHA) runs in its own process. At seeded random moments
   its server is restarted, killed with SIGKILL and started again, ends the connection, is cut off for five seconds, or
   the proxy swallows a COMMIT or the answer to it. Every rank writes each acknowledged report into its witness file.
2. One thread appends events one after the other, with the waits of a session, through the same faults. So it is known
   when the server is back and when the next event is acknowledged.
3. Three new studies begin in an empty database at the same moment, ten times; and holders of a lease whose clocks are
   an hour wrong meet another host.

Prints one JSON object and exits with 1 if a promise was broken. `figures`:

- lost_events: acknowledged reports and events that are missing in the log. repeated_events: those in it twice or more.
- false_locks: how often a process ended or was refused as if another process had written to its study, or took a lease
  from a living holder.
- ended: how often the study of part 1 ended because of its server.
- seconds_to_recover: the time of part 2 from the moment at which the server was back to the next event, for the worst
  kind of fault. By fault, each the median of three: `recover_s`.
- study_faults, swallowed, witnessed: how much could have been lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from postgres_proxy import PostgresProxy  # noqa: E402 - found from the repository's root
from postgres_server import PostgresServer  # noqa: E402

import lightning_hwtune as hwt  # noqa: E402
from benchmarks.crash import missing_and_repeated, run_study, witnessed  # noqa: E402
from lightning_hwtune.core.events import Noted  # noqa: E402
from lightning_hwtune.engine.outage import Outage, append_patiently  # noqa: E402
from lightning_hwtune.errors import HwTuneError, StorageError, StudyLockedError  # noqa: E402
from lightning_hwtune.store.files import StudyFiles  # noqa: E402
from lightning_hwtune.store.lease import Lease  # noqa: E402
from lightning_hwtune.store.log import EventLog  # noqa: E402

__all__ = ["appended", "first_uses", "main", "wrong_clocks"]

NAME = "crash"  # the study of `benchmarks.crash`
MOST_EVENTS = 12  # between two faults
LIFE_S = 600.0
CUTS_S = (5.0, 20.0)
FIRST_USES = 10
_EVENT_EVERY_S = 0.01


def main() -> None:
    """Runs the study, or the benchmark around it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", nargs=2, metavar=("FOLDER", "STORAGE"), help="run or continue this study only")
    arguments = parser.parse_args()
    if arguments.study is not None:
        folder, storage = arguments.study
        run_study(Path(folder), arguments.faults, arguments.seed, storage)
        return
    with (
        tempfile.TemporaryDirectory(prefix="hwtune-database-") as folder,
        PostgresServer() as server,
        PostgresProxy(server) as proxy,
    ):
        figures = _figures(Path(folder), server, proxy, arguments.faults, arguments.seed)
        (version,) = server.execute("SHOW server_version")[0]
    versions = {"python": platform.python_version(), "lightning_hwtune": hwt.__version__, "postgresql": version}
    machine = {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    print(json.dumps({"figures": figures, "machine": machine, "versions": versions, "seeds": [arguments.seed]}))
    broken = ("lost_events", "repeated_events", "false_locks", "ended")
    sys.exit(1 if any(figures[name] for name in broken) else 0)


def _figures(folder: Path, server: PostgresServer, proxy: PostgresProxy, n_faults: int, seed: int) -> dict[str, Any]:
    study = _study_under_faults(folder, server, proxy, n_faults, seed)
    events = appended(folder / "appended", server, proxy)
    n_refused = first_uses(folder / "first", server, FIRST_USES)
    n_taken = wrong_clocks(folder / "clocks", server)
    return {
        "lost_events": study["lost"] + events["lost"],
        "repeated_events": study["repeated"] + events["repeated"],
        "false_locks": study["false_locks"] + events["false_locks"] + n_refused + n_taken,
        "ended": study["ended"],
        "seconds_to_recover": max(events["recover_s"].values()),
        "recover_s": events["recover_s"],
        "study_faults": study["faults"],
        "swallowed": proxy.swallowed,
        "witnessed": study["witnessed"],
        "appended": events["appended"],
    }


# ---------------------------------------------------------------------- faults

Fault = Callable[[], object]
"""Returns when the server can be reached again; a swallowed commit is only prepared."""


def _faults(server: PostgresServer, proxy: PostgresProxy) -> dict[str, Fault]:
    def swallow(what: Any) -> None:
        proxy.swallow = what

    def cut(seconds: float) -> None:
        proxy.is_cut = True
        time.sleep(seconds)
        proxy.is_cut = False

    def kill() -> None:
        server.kill()
        server.start()

    faults: dict[str, Fault] = {
        "answer swallowed": lambda: swallow("answer"),
        "restarted": server.restart,
        "commit swallowed": lambda: swallow("request"),
        "connection ended": server.terminate_clients,
        "killed": kill,
    }
    return faults | {f"cut off for {seconds:g} s": lambda seconds=seconds: cut(seconds) for seconds in CUTS_S}


def _behind(proxy: PostgresProxy, server: PostgresServer) -> str:
    return server.fresh_schema().replace(f":{server.port}/", f":{proxy.port}/")


# ---------------------------------------------------------------------- a real study


def _study_under_faults(
    folder: Path, server: PostgresServer, proxy: PostgresProxy, n_faults: int, seed: int
) -> Counter[str]:
    rng, faults = random.Random(seed), _faults(server, proxy)
    storage = _behind(proxy, server)
    direct = storage.replace(f":{proxy.port}/", f":{server.port}/")
    found: Counter[str] = Counter(faults=0, ended=0, false_locks=0)
    process = _started(folder, storage, n_faults, seed)
    kinds = [name for name in faults if not name.startswith("cut") or name.endswith(" 5 s")]
    while True:
        target, deadline = _count(folder, direct) + rng.randrange(1, MOST_EVENTS), time.monotonic() + LIFE_S
        while process.poll() is None and (found["faults"] >= n_faults or _count(folder, direct) < target):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the study stood still:\n{_output(folder)}")
            time.sleep(0.05)
        if process.poll() is None:
            kind = kinds[found["faults"] % len(kinds)]
            _say(f"{_count(folder, direct)} events, then: {kind}")
            faults[kind]()
            found["faults"] += 1
        elif process.returncode == 0:
            break
        else:
            _say(_output(folder))
            found["ended"] += 1
            found["false_locks"] += "StudyLockedError" in _output(folder)
            if found["ended"] > n_faults:
                raise RuntimeError(f"the study does not finish:\n{_output(folder)}")
            process = _started(folder, storage, n_faults, seed)
    lines = witnessed(folder)
    found["lost"], found["repeated"] = missing_and_repeated(
        lines, hwt.Study.load(NAME, folder, storage=direct).events()
    )
    found["witnessed"] = len(lines)
    return found


def _started(folder: Path, storage: str, n_faults: int, seed: int) -> subprocess.Popen[bytes]:
    options = ["--faults", str(n_faults), "--seed", str(seed), "--study", str(folder), storage]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, __file__, *options],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _count(folder: Path, storage: str) -> int:
    """Returns how many events the log has; 0 before it exists, or while the server is away."""
    try:
        with EventLog.open(StudyFiles(folder, NAME), storage=storage, create=False) as log:
            return log.count()
    except (hwt.StudyNotFoundError, StorageError):
        return 0


def _output(folder: Path) -> str:
    return (folder / "output.txt").read_text(errors="replace")[-4000:]


# ---------------------------------------------------------------------- one event after the other


def appended(folder: Path, server: PostgresServer, proxy: PostgresProxy, n_rounds: int = 3) -> dict[str, Any]:
    """Appends events through every fault, several times; returns what was lost, and how soon it continued."""
    files, acknowledged, is_over = StudyFiles(folder, "appended"), list[tuple[float, str]](), threading.Event()
    n_false_locks, waits = 0, dict[str, list[float]]()
    storage = _behind(proxy, server)

    def append() -> None:
        nonlocal n_false_locks
        outage, number = Outage(_say), 0
        with EventLog.open(files, storage=storage, create=True) as log:
            while not is_over.is_set():
                text = str(number)
                try:
                    append_patiently(log, [Noted(at=0.0, trial_id=None, text=text)], outage)
                except StudyLockedError as error:
                    _say(error)
                    n_false_locks += 1
                    list(log.read())
                    continue
                acknowledged.append((time.monotonic(), text))
                number += 1
                time.sleep(_EVENT_EVERY_S)

    writer = threading.Thread(target=append)
    writer.start()
    for _ in range(n_rounds):
        for name, fault in _faults(server, proxy).items():
            _grown(acknowledged, 5)
            fault()
            back_at = time.monotonic()
            _grown(acknowledged, 2)
            first = next(at for at, _ in acknowledged if at >= back_at)
            waits.setdefault(name, []).append(first - back_at)
    is_over.set()
    writer.join()
    direct = storage.replace(f":{proxy.port}/", f":{server.port}/")
    with EventLog.open(files, storage=direct, create=False) as log:
        stored = Counter(event.text for _, event in log.read() if isinstance(event, Noted))
    lost, repeated = lost_and_repeated([text for _, text in acknowledged], stored)
    recover_s = {name: round(statistics.median(seconds), 3) for name, seconds in waits.items()}
    return {
        "lost": lost,
        "repeated": repeated,
        "false_locks": n_false_locks,
        "recover_s": recover_s,
        "appended": len(acknowledged),
    }


def lost_and_repeated(acknowledged: Sequence[str], stored: Counter[str]) -> tuple[int, int]:
    """Returns how many acknowledged events the log does not have, and how many of any it has more than once."""
    return sum(stored[text] == 0 for text in acknowledged), sum(count > 1 for count in stored.values())


def _grown(items: Sequence[object], more: int) -> None:
    """Waits until there are more items."""
    target, deadline = len(items) + more, time.monotonic() + LIFE_S
    while len(items) < target:
        if time.monotonic() > deadline:
            raise RuntimeError("no event was acknowledged any more")
        time.sleep(0.001)


# ---------------------------------------------------------------------- locks that are not there


def first_uses(folder: Path, server: PostgresServer, n_times: int) -> int:
    """Begins three studies in an empty database at once, several times; returns how many were refused."""
    n_refused = 0

    def begin(name: str, storage: str, barrier: threading.Barrier) -> None:
        nonlocal n_refused
        barrier.wait()
        try:
            with EventLog.open(StudyFiles(folder, name), storage=storage, create=True) as log, Lease(log).acquire(0.0):
                log.append([Noted(at=0.0, trial_id=None, text=name)])
        except HwTuneError as error:
            _say(error)
            n_refused += 1

    for _ in range(n_times):
        storage, barrier = server.fresh_schema(), threading.Barrier(3)
        threads = [threading.Thread(target=begin, args=[name, storage, barrier]) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return n_refused


def wrong_clocks(folder: Path, server: PostgresServer) -> int:
    """Returns how often a living holder on another host lost its lease because a clock is an hour wrong."""
    n_taken = 0
    for holder_s in (-3600.0, 3600.0):
        for other_s in (-3600.0, 0.0, 3600.0):
            storage = server.fresh_schema()
            with EventLog.open(StudyFiles(folder, "clocks"), storage=storage, create=True) as log:
                holder = Lease(log).acquire(time.time() + holder_s)
                with log.database.writing() as connection:  # as seen from another host
                    connection.exec_driver_sql("UPDATE hwtune_leases SET birth = 'elsewhere/pid/1'")
                try:
                    Lease(log).acquire(time.time() + other_s)
                    n_taken += 1
                except StudyLockedError:
                    holder.renew(time.time() + holder_s)
    return n_taken


def _say(line: object) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
