from __future__ import annotations

from typing import Any

import pytest

from benchmarks.device_time import device_times, idle_with_work_s, training_device_s
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState


def study(scheduler: Scheduler) -> StudySpec:
    space, objectives = SearchSpace(lr=Float(0.0, 1.0)), Objectives([Metric("error", "min")])
    return StudySpec("test", space, objectives, scheduler, Random(), Pool("cpu", 2), 0, "global", 1, 3)


class Session:
    """A controller with a log, driven by hand at times of the test's choosing."""

    def __init__(self, spec: StudySpec, max_trials: int) -> None:
        self.log: list[ev.Event] = []
        self.controller = Controller(StudyState(spec), self.log.extend)
        self.controller.create(1.0)
        self.controller.open(Limits(max_trials=max_trials, finishers=0), 1.0, "host", 1, "0")

    def begin(self, at: float) -> int:
        decision = self.controller.ask(at, 1)
        assert isinstance(decision, Start | Resume)
        return self.controller.begin(decision, [0], at).trial_id

    def train(self, trial_id: int, *, resource: int, error: float, train_s: float, at: float) -> str:
        verdict = self.controller.report(trial_id, resource, {"error": error}, train_s, at).kind
        path = f"trials/{trial_id:03d}/checkpoints/{resource}.ckpt"
        self.controller.saved(trial_id, path, "0" * 64, 10, resource, train_s, at)
        return verdict

    def end(self, trial_id: int, at: float) -> None:
        self.controller.tell(trial_id, at, "done")


def test_where_the_time_of_two_trials_went() -> None:
    spec = study(RunToEnd(1))
    session = Session(spec, max_trials=2)
    assert session.begin(at=10.0) == 0
    assert session.begin(at=12.0) == 1  # it might have begun at 10
    session.train(0, resource=1, error=0.5, train_s=3.0, at=13.5)
    session.end(0, at=14.0)  # its device is free from here on, and nothing is left to do with it
    session.train(1, resource=1, error=0.4, train_s=6.0, at=19.0)
    session.end(1, at=20.0)
    session.controller.close(25.0, "finished", "")

    times = device_times(spec, session.log, began_at=4.0)

    assert times.startup_s == 6.0
    assert times.span_s == 20.0
    assert times.segments_s == 4.0 + 8.0
    assert times.training_s == 9.0
    assert times.idle_with_work_s == 2.0
    assert times.n_segments == 2
    assert times.overhead_share == pytest.approx(1 / 3)
    assert times.to_dict()["idle_with_work_share"] == pytest.approx(0.1)


def test_a_promotion_that_waits_is_idle_time_and_one_that_is_not_due_is_none() -> None:
    spec = study(ASHA(3, first_rung=1, eta=2))
    session = Session(spec, max_trials=2)
    session.begin(at=10.0)
    session.begin(at=10.0)
    assert session.train(0, resource=1, error=0.1, train_s=1.0, at=11.0) == "pause"
    session.end(0, at=12.0)  # one of one trial: no trial is promoted, so the free device has no work
    assert session.train(1, resource=1, error=0.9, train_s=8.0, at=18.0) == "pause"
    session.end(1, at=19.0)  # trial 0 has been promotable since 18, on the device that was free
    assert session.begin(at=21.0) == 0
    assert idle_with_work_s(spec, session.log) == 3.0


def test_training_of_a_resumed_segment_counts_from_its_checkpoint() -> None:
    def segment(number: int, checkpoint: str | None) -> ev.Event:
        return ev.SegmentStarted(
            at=0.0, trial_id=0, segment=number, allocation=Allocation(1), slots=[0], checkpoint=checkpoint, resource=0,
            target=3, promoted_from=None, rule="", reason="",
        )  # fmt: skip

    def reported(number: int, device_s: float) -> ev.Event:
        return ev.Reported(
            at=0.0, trial_id=0, segment=number, resource=1, values={}, train_s=device_s, device_s=device_s, level=None,
            verdict="continue", target=3, rule="", reason="",
        )  # fmt: skip

    def saved(device_s: float) -> ev.Event:
        facts: dict[str, Any] = {"path": "a", "digest": "", "n_bytes": 1, "resource": 1, "train_s": device_s}
        return ev.CheckpointSaved(at=0.0, trial_id=0, segment=1, device_s=device_s, **facts)

    first = [segment(1, None), reported(1, 2.0), reported(1, 4.0), saved(4.0)]
    assert training_device_s(first) == 4.0
    assert training_device_s([*first, segment(2, "a"), reported(2, 5.5)]) == 5.5
    assert training_device_s([*first, segment(2, None), reported(2, 2.5)]) == 6.5
