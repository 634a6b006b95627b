"""One segment of a check: the study's executor trains it, a plan answers its reports, and it ends if it hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import Executor, pids_of
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["AUTO_STILL_S", "CheckSegment", "Plan", "train_segment"]

AUTO_STILL_S = 600.0
_LOOK_S = 2.0
_NOT_ITS_FAULT = (Outcome.INTERRUPTED, Outcome.NODE_LOST)
_BEATS_BYTES = 1 << 16  # more than the heartbeats of a rank write in that time

Plan = Callable[[Report], bool]
"""A function that returns whether the segment pauses at this report."""


@final
@dataclass(slots=True)
class CheckSegment:
    """A sink that records what a segment of a check did.

    Attributes:
        reports: the reports, in order.
        saved_as: the newest checkpoint.
        end: how the segment ended.
        values: what the training has noted with `trial.note`.
        first_s: seconds from the order to the first report.
        wall_s: seconds from the order to the end.
        paused_at: the resource at which the plan paused it.
    """

    plan: Plan
    began: float = field(default_factory=time.monotonic)
    reports: list[Report] = field(default_factory=list)
    saved_as: Saved | None = None
    end: Ended | None = None
    notes: list[Note] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    first_s: float = 0.0
    wall_s: float = 0.0
    paused_at: int | None = None

    @property
    def has_paused(self) -> bool:
        """True if it was paused and has saved. How its process ends after that does not matter."""
        return self.paused_at is not None and self.saved_as is not None and self.saved_as.resource >= self.paused_at

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """Pauses the segment where the plan says so, so that it saves a checkpoint."""
        self.reports.append(report)
        self.first_s = self.first_s or time.monotonic() - self.began
        if not self.plan(report):
            return VerdictMessage(VerdictKind.CONTINUE, "this is a check")
        self.paused_at = report.resource
        return VerdictMessage(VerdictKind.PAUSE, "this is a check")

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """Keeps the checkpoint."""
        self.saved_as = saved

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """Keeps the line, or the value."""
        if note.key:
            self.values[note.key] = note.value
        else:
            self.notes.append(note)

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """Keeps how it ended."""
        self.end, self.wall_s = ended, time.monotonic() - self.began


def train_segment(
    executor: Executor, order: SegmentOrder, plan: Plan, tick: Callable[[], None], still_s: float | None
) -> CheckSegment:
    """Trains one segment to its end.

    Args:
        tick: called about once per second.
        still_s: end the segment when its processes have not reported, printed, read or written anything for this many
            seconds. That happens in a deadlock, but not during a download. None means no limit.
    """
    found, watch = CheckSegment(plan), _Stillness(Path(order.trial_dir))
    executor.start(order)
    while found.end is None:
        executor.wait(found, 1.0)
        tick()
        if found.end is not None and found.end.outcome in _NOT_ITS_FAULT:  # the fork server or a node ended: retry
            found = CheckSegment(plan)
            executor.start(order)
        still = watch.seconds(len(found.reports), pids_of(executor))
        if found.end is None and still_s is not None and still > still_s:
            why = spelled(
                f"no progress for {still:.0f} s: the training did not report, print, read or write anything. Possible "
                "causes: a strategy that starts its own processes, or ranks that wait for each other. `hang_timeout` "
                "sets another limit in seconds; with `hang_timeout=None` there is no limit"
            )
            executor.end(order.trial_id, Outcome.LOST, why)
            still_s = None
    return found


@final
class _Stillness:
    """Measures how long the processes of a segment have shown no sign of work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[object, ...] = ()
        self._n_bytes: Mapping[int, int] = {}
        self._moved_at = self._looked_at = time.monotonic()

    def seconds(self, n_reports: int, pids: list[int]) -> float:
        """Returns the seconds since the last sign of work."""
        now = time.monotonic()
        if not pids:  # the fork server has not started them yet
            self._moved_at = now
        if now - self._looked_at >= _LOOK_S or not self._seen:
            self._looked_at = now
            seen = (n_reports, _bytes_below(self._folder))
            n_bytes = {pid: _bytes_moved(pid) for pid in _sessions(pids)}
            known = self._n_bytes
            has_moved = any(count - known.get(pid, 0) > _BEATS_BYTES for pid, count in n_bytes.items())
            if seen != self._seen or has_moved or n_bytes.keys() != known.keys():
                self._seen, self._n_bytes, self._moved_at = seen, n_bytes, now
        return now - self._moved_at


def _bytes_below(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def _sessions(leaders: list[int]) -> list[int]:
    """Returns the processes in the sessions of these leaders; the leaders alone on systems without /proc."""
    try:
        entries = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return leaders
    found = []
    for pid in entries:
        try:
            if os.getsid(pid) in leaders:
                found.append(pid)
        except OSError:
            continue
    return found


def _bytes_moved(pid: int) -> int:
    """Returns how many bytes a process has read and written so far; 0 if the system does not provide the number."""
    try:
        with open(f"/proc/{pid}/io") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(("rchar", "wchar")))
    except (OSError, ValueError):
        return 0
