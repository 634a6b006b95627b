"""One folder per trial for those loggers of Lightning that write to folders: `TensorBoardLogger` and `CSVLogger`.

Without a version these loggers would number their folders. In a segment they get the trial's version instead, such as
`trial_009`, which is the same in all segments (see `lightning_classes`). If another study in the same folder already
uses that name, the version is `trial_009_2`.

A logger has a number as its version if it was created before its Trainer, or if the user chose the number. Such a
logger has opened its folder before any callback is called. The content of that folder is moved into the folder of the
trial's first segment, and the logger continues there. A version that the user gives as a string is not changed.

Two trials that choose a number in a shared folder at the same moment can get the same one. So each trial puts a mark
into its folder. A trial that finds another trial's mark takes the next number.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import Any

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.loggers.csv_rows import continue_metrics, point_to
from lightning_hwtune.training.loggers.stored_runs import load_runs

__all__ = ["continue_folder", "mark_restart", "trial_version"]

_MARK = ".hwtune"
_TRIAL = re.compile(r"trial_\d{3,}(_\d+)?$")


def trial_version(logger: Any, segment: ActiveSegment) -> str:
    """Return the version for a logger that has none: the trial's name, numbered if another study uses that name."""
    order = segment.order
    for number in itertools.count(1):
        version = f"trial_{order.trial_id:03d}" + (f"_{number}" if number > 1 else "")
        if segment.rank != 0 or "://" in str(logger.root_dir) or _is_seen(logger, version, order.trial_dir):
            return version  # other ranks get the version of rank 0 later
        if _mark(_folder(logger, version), order.trial_dir):
            return version
    raise RuntimeError("unreachable")


def continue_folder(logger: Any, seen: dict[str, Any], held: Path | None, segment: ActiveSegment) -> None:
    """Makes a logger continue in the folder of the trial's earlier segments; stores the folder of a first segment.

    Args:
        seen: what is stored of this logger, which is updated: its `version`, and its `folder` relative to the trial's.
        held: the file in which a CSV logger's rows are kept; None for other loggers.
    """
    if "://" in str(logger.log_dir):  # not a folder on a disk of this host
        return
    home = segment.order.trial_dir
    if _can_return(logger, seen, home):
        _move_to(logger, seen["version"], held, home)
    elif held is not None and seen.get("folder") == _place(logger, home):
        continue_metrics(logger, held, Path(logger.log_dir))
    elif not _mark(Path(logger.log_dir), home):
        if isinstance(logger.version, int):
            _use_next_version(logger, held)
            _mark(Path(logger.log_dir), home)
        else:
            text = f"{type(logger).__name__} writes to {logger.log_dir}, which already has the logs of another trial"
            segment.note(text, once_per="study")
    seen["version"], seen["folder"] = logger.version, _place(logger, home)


def mark_restart(logger: Any, step: int) -> None:
    """Makes TensorBoard drop its values from `step` on, because they are logged again."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    except ImportError:  # tensorboardX is in use: the repeated steps are shown twice
        return
    start = SessionLog(status=SessionLog.START)
    logger.experiment.file_writer.add_event(Event(session_log=start), step)


def _can_return(logger: Any, seen: dict[str, Any], home: str) -> bool:
    """Return whether the logger uses another folder than the trial's earlier segments, and their folder exists."""
    earlier, version = seen.get("version"), logger.version
    if earlier == version or not isinstance(earlier, int) or not (isinstance(version, int) or _TRIAL.match(version)):
        return False
    return _folder(logger, earlier).is_dir() and _is_seen(logger, earlier, home)


def _is_seen(logger: Any, version: int | str, home: str) -> bool:
    """Return whether an earlier segment of the trial has logged there, even if trial and logs have been moved."""
    folder = os.path.relpath(_folder(logger, version), home)
    seen = [entry for entry in load_runs(home).values() if isinstance(entry, dict)]
    return any(entry.get("version") == version and entry.get("folder") == folder for entry in seen)


def _place(logger: Any, home: str) -> str:
    """Returns the logger's folder relative to the trial's, which does not change if both are moved together."""
    version = logger.version
    folder = _folder(logger, version) if isinstance(version, int) or _TRIAL.match(version) else logger.log_dir
    return os.path.relpath(folder, home)


def _folder(logger: Any, version: int | str) -> Path:
    name = version if isinstance(version, str) else f"version_{version}"
    return Path(os.path.expanduser(os.path.expandvars(os.path.join(logger.root_dir, name))))


def _move_to(logger: Any, version: int, held: Path | None, home: str) -> None:
    """Moves a logger and the files that it has opened to the folder of another version."""
    fresh, kept = _folder(logger, logger.version), _folder(logger, version)
    is_ours = _mark(fresh, home)
    if held is None:
        _close(logger)
    else:
        continue_metrics(logger, held, kept)
    logger._version = version
    if not is_ours:
        return
    for path in sorted(fresh.rglob("*"), reverse=True):  # the content of a folder comes before the folder
        if path.is_dir():
            _remove_empty(path)
        elif _is_own(path):
            target = kept / path.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    _remove_empty(fresh)


def _use_next_version(logger: Any, held: Path | None) -> None:
    """Gives a logger the next version whose folder does not exist."""
    version = logger.version
    while True:
        version += 1
        try:
            _folder(logger, version).mkdir(parents=True)
        except FileExistsError:
            continue
        break
    if held is None:
        _close(logger)
    else:
        point_to(logger, _folder(logger, version))
    logger._version = version


def _close(logger: Any) -> None:
    """Closes a TensorBoard writer; the logger later opens another one in its current folder."""
    logger.experiment.close()
    logger._experiment = None


def _is_own(path: Path) -> bool:
    """Return whether a file may be moved; an event file of another process in the same folder may not."""
    return "tfevents" not in path.name or f".{os.getpid()}." in path.name


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _mark(folder: Path, home: str) -> bool:
    """Marks a folder as this trial's; returns False if another trial has marked it."""
    mark = folder / _MARK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with mark.open("x") as file:
                file.write(home)
        except FileExistsError:
            return mark.read_text() == home
        except FileNotFoundError:  # a trial that used this folder briefly has just removed it
            continue
        return True
