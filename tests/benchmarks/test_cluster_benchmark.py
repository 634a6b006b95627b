"""The figures of the benchmark of clusters, on a log and on rounds whose times are known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import cluster
from lightning_hwtune.core import events as ev


def event(kind: type, **values: Any) -> Any:
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def test_times_come_from_the_log_and_from_first_batches() -> None:
    starts = [(0, 1, 10.0), (1, 1, 10.0), (0, 2, 20.0), (1, 2, 30.0), (2, 1, 40.0)]
    log = [event(ev.SessionOpened, at=5.0)]
    log += [event(ev.SegmentStarted, trial_id=trial, segment=segment, at=at) for trial, segment, at in starts]
    log += [event(ev.SegmentEnded, at=at) for at in (19.0, 50.0, 39.0)]
    first = {(0, 1): 14.0, (1, 1): 18.0, (0, 2): 20.5, (1, 2): 30.25, (2, 1): 41.0}
    assert cluster.measured(log, first) == {
        "segments": 5, "segment_s": 0.5, "first_segment_s": 8.0, "wall_s": 36.0, "engine_s": 9.0
    }  # fmt: skip


def test_ratios_are_taken_within_a_round() -> None:
    def row(segment_s: float, wall_s: float) -> dict[str, float]:
        return {"segment_s": segment_s, "wall_s": wall_s, "first_segment_s": 1.0, "engine_s": 2.0}

    rounds = [
        {"local": row(0.2, 10), "ray": row(0.3, 11)},
        {"local": row(0.4, 20), "ray": row(0.4, 30)},
        {"local": row(0.1, 10), "ray": row(0.3, 10)},
    ]
    found = SimpleNamespace(**cluster.figures(rounds))
    assert found.ray_segment_ratio == pytest.approx(1.5)
    assert found.ray_segment_more_s == pytest.approx(0.1)
    assert found.ray_wall_ratio == pytest.approx(1.1)
    assert (found.ray_wall_s, found.local_segment_s, found.ray_engine_s) == (11, 0.2, 2.0)
