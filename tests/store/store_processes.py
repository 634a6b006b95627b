"""What the tests have other processes do to a store. Run as a script: `store_processes.py ROLE FOLDER [ARGUMENT]`."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from lightning_hwtune.core.events import Noted
from lightning_hwtune.errors import HwTuneError, StorageError, StudyLockedError
from lightning_hwtune.store.database import Database
from lightning_hwtune.store.database_url import database_url
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog

_REPOSITORY = Path(__file__).parents[2]
_STORAGE = "HWTUNE_TEST_STORAGE"


def note(text: str) -> Noted:
    return Noted(at=0.0, trial_id=None, text=text)


def files(folder: Path) -> StudyFiles:
    return StudyFiles(folder, "study")


def execute(folder: Path, storage: str | None, *statements: str) -> list[tuple[object, ...]]:
    """Executes SQL in the database of a log, behind the back of its writer; returns the rows of all statements."""
    rows: list[tuple[object, ...]] = []
    with Database(database_url(storage, files(folder).database_path), is_writable=True) as database:
        for statement in statements:
            with database.writing() as connection:
                result = connection.exec_driver_sql(statement)
                rows += [tuple(row) for row in result] if result.returns_rows else []
    return rows


def opened(folder: Path) -> EventLog:
    return EventLog.open(files(folder), storage=os.environ.get(_STORAGE), create=True)


def start(role: str, folder: Path, argument: str = "", storage: str | None = None) -> subprocess.Popen[str]:
    """Starts a process in a role; its standard output is a pipe."""
    return subprocess.Popen(
        [sys.executable, __file__, role, str(folder), argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)} | ({} if storage is None else {_STORAGE: storage}),
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest_of(process: subprocess.Popen[str]) -> str:
    """Waits for the end of a process; returns the output that was not read before."""
    assert process.stdout is not None
    rest = process.stdout.read()
    process.communicate()
    return rest


def tell(process: subprocess.Popen[str], text: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def say(text: object) -> None:
    os.write(1, f"{text}\n".encode())  # in the pipe when this returns, whatever happens to this process next


def append_for_ever(folder: Path, argument: str) -> None:
    """Takes the lease and appends notes "<argument>:<n>" in batches of 1 to 3; says each one after its append."""
    with opened(folder) as log, Lease(log).acquire(time.time()):
        list(log.read())
        n = 0
        while True:
            batch = [f"{argument}:{n + i}" for i in range(n % 3 + 1)]
            log.append([note(text) for text in batch])
            n += len(batch)
            say(" ".join(batch))


def hold_lease(folder: Path, argument: str) -> None:
    """Takes the lease, says so, and keeps it until a line arrives."""
    with opened(folder) as log, Lease(log).acquire(time.time()):
        say("held")
        sys.stdin.readline()
    say("released")


def race(folder: Path, argument: str) -> None:
    """At each line (folder, storage), opens the store and tries for the lease; lets go of it at the next line."""
    say("ready")
    for line in sys.stdin:
        name, _, storage = line.strip().partition(" ")
        with EventLog.open(files(folder / name), storage=storage or None, create=True) as log:
            try:
                with Lease(log).acquire(time.time()):
                    say("won")
                    sys.stdin.readline()
                    say("done")
            except StudyLockedError as error:
                say(f"lost: {error}")
                sys.stdin.readline()
                say("done")


def begin(folder: Path, argument: str) -> None:
    """At each line with a storage, opens a study called `argument` there and appends an event; says how that ended."""
    say("ready")
    for line in sys.stdin:
        try:
            with EventLog.open(StudyFiles(folder, argument), storage=line.strip(), create=True) as log:
                log.append([note(argument)])
            say("begun")
        except HwTuneError as error:
            say(f"failed: {error}")


def append_interrupted(folder: Path, argument: str) -> None:
    """Appends pairs of notes while Ctrl-C may come at any moment; says the numbers of those without one."""
    is_armed = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    say("ready")
    kept = []
    with opened(folder) as log:
        for n in range(int(argument)):
            try:
                is_armed = True
                log.append([note(f"{n}:a"), note(f"{n}:b")])
                is_armed = False
                kept.append(n)
            except KeyboardInterrupt:
                pass
        is_armed = False
        log.append([note("end")])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the interpreter lets go of our handler as it ends
    say("\n".join(map(str, kept)))


def fill_the_disk(folder: Path, argument: str) -> None:
    """Appends under a limit on the size of files until the disk refuses, then lifts it and appends once more."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(folder) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(argument), hard))
        n = 0
        try:
            while True:
                log.append([note(f"{n}:{'x' * 2000}")])
                n += 1
        except StorageError as error:
            say(f"{n} {error}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.append([note("after")])
        say("after")


if __name__ == "__main__":
    roles = {
        "append": append_for_ever,
        "hold": hold_lease,
        "race": race,
        "begin": begin,
        "interrupt": append_interrupted,
        "fill": fill_the_disk,
    }
    roles[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
