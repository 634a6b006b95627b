"""Faults of files and clocks: lost and foreign logs, moved folders, clocks that jump, full and read-only disks."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import lightning_hwtune as hwt
from benchmarks.fault.bench import Bench, NotPossible
from benchmarks.fault.study import NAME

__all__ = ["FAULTS"]

_READING = (("status",), ("front",), ("best",), ("trials",), ("why", "0"))


def _lost_log(bench: Bench) -> None:
    bench.run()
    log = bench.study_dir / "study.db"
    log.rename(bench.folder / "kept.db")
    _refused(bench)
    shutil.copy(bench.folder / "kept.db", log)  # as the message advises
    bench.run()
    bench.count_losses()


def _empty_log(bench: Bench) -> None:
    bench.run()
    log = bench.study_dir / "study.db"
    log.rename(bench.folder / "kept.db")
    log.touch()
    _refused(bench)
    shutil.copy(bench.folder / "kept.db", log)
    bench.run()
    bench.count_losses()


def _other_storage(bench: Bench) -> None:
    bench.run()
    _refused(bench, storage=f"sqlite:///{bench.folder}/other.db")
    bench.run()
    bench.count_losses()


def _refused(bench: Bench, **options: str) -> None:
    """A run whose folder belongs to another log is refused, and deletes no checkpoint."""
    before = bench.checkpoints()
    bench.run(3, **options)
    bench.lost += len(before - bench.checkpoints())


def _renamed_folder(bench: Bench) -> None:
    bench.run()
    before = bench.checkpoints()
    bench.study_dir.rename(bench.folder / "renamed")
    bench.study_dir = bench.folder / "renamed"
    bench.run(name="renamed", trials=5)
    bench.lost += len(before - bench.checkpoints("renamed"))
    bench.count_losses(5, name="renamed")


def _moved_folder(bench: Bench) -> None:
    bench.run()
    (bench.folder / "elsewhere").mkdir()
    bench.study_dir.rename(bench.folder / "elsewhere" / NAME)
    bench.folder = bench.folder / "elsewhere"
    bench.study_dir = bench.folder / NAME
    bench.run(trials=5)
    bench.count_losses(5)


def _clock(bench: Bench, ahead_s: float) -> None:
    """The clock of a killed session was wrong: time and bill are the sums over the sessions' own clocks."""
    began = time.monotonic()
    process = bench.start(clock_ahead_s=ahead_s)
    bench.wait(lambda: bench.n_witnessed() >= 2, process)
    process.kill()
    process.wait()
    bench.run()
    state = hwt.Study.load(NAME, dir=bench.folder).state()
    bench.wrong += state.wall_s(time.time()) > time.monotonic() - began
    bench.count_losses()


def _read_only(bench: Bench) -> None:
    bench.run()
    with _mount(bench.folder / "read_only", "--bind", str(bench.folder)) as mount:
        subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
        folder, bench.folder = bench.folder, mount
        for command in _READING:
            bench.wrong += bench.command(*command).returncode != 0
        bench.folder = folder
    bench.count_losses()


def _damaged_event(bench: Bench, body: str) -> None:
    bench.run()
    shutil.copy(bench.study_dir / "study.db", bench.folder / "kept.db")
    with contextlib.closing(sqlite3.connect(bench.study_dir / "study.db")) as database, database:
        database.execute("UPDATE hwtune_events SET body = ? WHERE seq = 3", (body,))
    before = bench.checkpoints()
    for command in _READING:
        bench.wrong += bench.command(*command).returncode != 1
    bench.run(3)
    bench.lost += len(before - bench.checkpoints())
    shutil.copy(bench.folder / "kept.db", bench.study_dir / "study.db")
    bench.run()
    bench.count_losses()


def _no_room(bench: Bench, *options: str) -> None:
    """A file system is full for a while: nothing is lost, and the study continues when there is space again."""
    with _mount(bench.study_dir, "-t", "tmpfs", "-o", options[0], "tmpfs") as mount:
        bench.run(trials=1)
        _fill(mount)
        bench.finish(bench.start(trials=2), 3)
        for path in mount.glob("filler_*"):
            path.unlink()
        bench.run()
        bench.count_losses(retries=2)
        shutil.copytree(mount, bench.folder / "copy")


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (folder / f"filler_{number}").write_bytes(b"" if number else b"x" * 100)
    with contextlib.suppress(OSError), (folder / "filler_0").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@contextlib.contextmanager
def _mount(folder: Path, *arguments: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", *arguments, folder], capture_output=True).returncode:
        raise NotPossible("this user may not mount file systems")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


FAULTS: Mapping[str, Callable[[Bench], None]] = {
    "log_lost": _lost_log,
    "log_empty": _empty_log,
    "other_storage": _other_storage,
    "folder_renamed": _renamed_folder,
    "folder_moved": _moved_folder,
    "clock_6h_ahead_then_back": lambda bench: _clock(bench, 6 * 3600.0),
    "clock_3_days_back_then_right": lambda bench: _clock(bench, -3 * 86400.0),
    "read_only_mount": _read_only,
    "event_no_json": lambda bench: _damaged_event(bench, "{"),
    "event_list": lambda bench: _damaged_event(bench, "[]"),
    "event_unknown": lambda bench: _damaged_event(bench, '{"type": "Unknown", "at": 1.0}'),
    "disk_full": lambda bench: _no_room(bench, "size=2m"),
    "inodes_used_up": lambda bench: _no_room(bench, "size=64m,nr_inodes=60"),
}
