"""What the tests of the local executor share: a sink that records, and executors for functions in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.engine.payload import write_payload
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

HEARTBEAT_S = 3.0


class Recorder:
    """A sink that pauses at a given resource, and keeps what it receives."""

    def __init__(self, pause_at: int = 10**9, on_report: Callable[[int], None] = lambda trial_id: None) -> None:
        self.pause_at, self.on_report = pause_at, on_report
        self.reports: dict[int, list[int]] = {}
        self.saves: dict[int, Saved] = {}
        self.ends: dict[int, Ended] = {}
        self.notes: list[str] = []
        self.world_sizes: dict[int, int] = {}

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        self.reports.setdefault(trial_id, []).append(report.resource)
        self.on_report(trial_id)
        return VerdictMessage("pause" if report.resource >= self.pause_at else "continue", "as scripted")

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        self.saves[trial_id] = saved

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        self.notes.append(note.text)

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        self.ends[trial_id], self.world_sizes[trial_id] = ended, world_size


class Bench:
    """Starts executors for functions in one folder, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.executors = folder, []

    def executor(self, function: Any, **kwargs: Any) -> LocalExecutor:
        payload = write_payload(function, self.folder)
        self.executors.append(LocalExecutor(payload.path, heartbeat_s=HEARTBEAT_S, **kwargs))
        return self.executors[-1]

    def order(self, trial_id: int, devices: int = 1, max_resource: int = 3, **kwargs: Any) -> SegmentOrder:
        folder = self.folder / "trials" / f"{trial_id:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {
            "study": "test",
            "trial_id": trial_id,
            "segment": 1,
            "config": {},
            "seed": trial_id,
            "num_devices": devices,
            "slots": tuple(range(devices)),
            "accelerator": "cpu",
            "threads_per_device": 1,
            "trial_dir": str(folder),
            "resource": 0,
            "checkpoint": None,
            "unit": "epochs",
            "max_resource": max_resource,
            "levels": (1, max_resource),
            "metrics": ("error",),
        }
        return SegmentOrder(**{**settings, **kwargs})

    def run(self, executor: LocalExecutor, sink: Recorder, *orders: SegmentOrder, limit_s: float = 60.0) -> Recorder:
        for order in orders:
            executor.start(order)
        deadline = time.monotonic() + limit_s
        while len(sink.ends) < len(orders):
            executor.wait(sink, 0.5)
            assert time.monotonic() < deadline, f"not over after {limit_s} s: {sink.ends}"
        return sink
