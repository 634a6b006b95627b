"""A study of four trials, written by hand, so that every number that is shown can be worked out on paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState

TRACEBACK = """rank 0:
Traceback (most recent call last):
  File "train.py", line 3, in train
    raise ValueError("boom")
ValueError: boom
with a second line"""


@dataclass
class Script:
    """Writes events into a log and applies them; 0.001 USD a device-second."""

    state: StudyState
    log: list[ev.Event] = field(default_factory=list)

    def add(self, event: ev.Event) -> None:
        self.log.append(event)
        self.state.apply(event)

    def create(self, at: float, trial_id: int, lr: float, devices: int) -> None:
        config = {"lr": lr, "devices": devices}
        self.add(
            ev.TrialCreated(
                at=at, trial_id=trial_id, config=config, seed=7, bracket=0, target=1, source="searcher",
                draw=trial_id, reason=f"draw {trial_id} of the random searcher", allocation=Allocation(devices),
            )
        )  # fmt: skip

    def start(self, at: float, trial_id: int, slots: list[int], **fields: Any) -> None:
        trial = self.state.trials[trial_id]
        start = trial.checkpoint
        event: dict[str, Any] = {
            "segment": trial.segment + 1, "allocation": Allocation(len(slots)), "slots": slots, "target": trial.target,
            "checkpoint": start.path if start else None, "resource": start.resource if start else 0,
            "promoted_from": None, "rule": "new:searcher", "reason": "the first",
        }  # fmt: skip
        self.add(ev.SegmentStarted(at=at, trial_id=trial_id, **(event | fields)))

    def report(self, at: float, trial_id: int, epoch: int, error: float, train_s: float, **fields: Any) -> None:
        trial = self.state.trials[trial_id]
        device_s = train_s * trial.num_devices
        event: dict[str, Any] = {
            "values": {"error": error, "train_s": train_s, "cost_usd": device_s * 0.001}, "level": None,
            "verdict": "continue", "target": trial.target, "rule": "between-rungs", "reason": "next decision at 9",
        }  # fmt: skip
        self.add(
            ev.Reported(
                at=at, trial_id=trial_id, segment=trial.segment, resource=epoch, train_s=train_s, device_s=device_s,
                **(event | fields),
            )
        )  # fmt: skip

    def save(self, at: float, trial_id: int, epoch: int, train_s: float) -> None:
        trial = self.state.trials[trial_id]
        self.add(
            ev.CheckpointSaved(
                at=at, trial_id=trial_id, segment=trial.segment, path=f"trials/{trial_id:03d}/{trial.segment}.ckpt",
                digest="00", n_bytes=2_000_000, resource=epoch, train_s=train_s, device_s=train_s * trial.num_devices,
            )
        )  # fmt: skip

    def end(self, at: float, trial_id: int, state: str, wall_s: float, outcome: str = "done", error: str = "") -> None:
        trial = self.state.trials[trial_id]
        device_s = wall_s * trial.num_devices
        self.add(
            ev.SegmentEnded(
                at=at, trial_id=trial_id, segment=trial.segment, outcome=outcome, state=state, error=error,
                wall_s=wall_s, device_s=device_s, billed_usd=device_s * 0.001, world_size=trial.num_devices,
                next_allocation=trial.allocation,
            )
        )  # fmt: skip


def make_spec(**changes: Any) -> StudySpec:
    parts: dict[str, Any] = {
        "name": "paper",
        "space": SearchSpace(lr=Float(1e-3, 1e-1, log=True), devices=NumDevices(1, 2)),
        "objectives": Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
        "scheduler": ASHA(max_epochs=9, first_rung=1),
        "searcher": Random(),
        "pool": Pool("cpu", 2, usd_per_device_hour=3.6),
    }
    return StudySpec(**(parts | changes))


def begin(spec: StudySpec, **limits: Any) -> Script:
    script = Script(StudyState(spec))
    script.add(ev.StudyCreated(at=0.0, study=spec.name, spec=spec.to_dict()))
    given = Limits(**{"max_trials": 4, "finishers": 2, **limits}).to_dict()
    script.add(ev.SessionOpened(at=0.0, limits=given, host="host", pid=1, version="0"))
    return script


_PAUSE = {"level": 1, "verdict": "pause", "rule": "promotion"}
_GO_ON = {"level": 3, "verdict": "continue", "target": 9, "rule": "promotion"}
_END = {"level": 9, "verdict": "stop", "rule": "max-resource", "reason": "trained to the full 9 epochs"}


def play() -> Script:
    """Trial 1 is promoted, fails once and completes; 0 completes as a finisher; 2 diverges; 3 fails for good."""
    s = begin(make_spec())
    s.create(0.0, 0, 0.01, 1)
    s.start(0.0, 0, [0])
    s.create(0.0, 1, 0.02, 1)
    s.start(0.0, 1, [1])
    s.report(1.0, 0, 1, 0.5, 1.0, reason="rank 1 of 1 at rung 1; none continues yet", **_PAUSE)
    s.save(1.1, 0, 1, 1.0)
    s.end(1.2, 0, "paused", 1.2)
    s.report(1.2, 1, 1, 0.4, 1.0, reason="rank 1 of 2 at rung 1; none continues yet", **_PAUSE)
    s.save(1.25, 1, 1, 1.0)
    s.end(1.3, 1, "paused", 1.3)
    s.create(2.0, 2, 0.03, 2)
    s.start(2.0, 2, [0, 1])
    s.report(2.8, 2, 1, math.nan, 0.8, reason="a loss is not finite", **_PAUSE)
    s.save(2.9, 2, 1, 0.8)
    s.end(3.0, 2, "paused", 1.0)
    s.start(
        3.0, 1, [0], target=3, promoted_from=1, rule="promotion", reason="rank 1 of 3 at rung 1; the first continues"
    )
    s.report(4.0, 1, 2, 0.35, 2.0)
    s.report(5.0, 1, 3, 0.3, 3.0, reason="rank 1 of 1 at rung 3; none continues yet", **_GO_ON)
    s.report(6.0, 1, 4, 0.28, 4.0)
    s.end(7.0, 1, "paused", 4.0, "error", TRACEBACK)
    s.start(7.0, 1, [0], rule="unfinished", reason="its training to epoch 9 was interrupted")
    s.start(
        7.0, 0, [1], target=9, promoted_from=1, rule="finisher",
        reason="first of the trials that rung 1 did not promote; number 1 of 2 to be trained to the end",
    )  # fmt: skip
    s.add(ev.Noted(at=7.1, trial_id=1, text="min_epochs=5 was lifted"))
    repeated = {"rule": "repeated", "reason": "rung 3 was already decided: continue"}
    cleared = _GO_ON | {"rule": "cleared", "reason": "was promoted to 9 before it reached 3"}
    for epoch in range(2, 9):
        error, done = round(0.4 - 0.02 * epoch, 2), (epoch - 1) / 2
        s.report(6.0 + epoch, 1, epoch, error, float(epoch), **(repeated if epoch == 3 else {}))
        s.report(7.0 + done, 0, epoch, round(error + 0.1, 2), 1 + done, **(cleared if epoch == 3 else {}))
    s.report(11.0, 0, 9, 0.25, 5.0, **_END)
    s.save(11.1, 0, 9, 5.0)
    s.add(ev.CheckpointRemoved(at=11.1, trial_id=0, path="trials/000/1.ckpt", reason="superseded"))
    s.end(11.2, 0, "completed", 4.2)
    s.report(15.0, 1, 9, 0.2, 9.0, **_END)
    s.save(15.2, 1, 9, 9.0)
    s.end(15.5, 1, "completed", 8.5)
    s.create(16.0, 3, 0.04, 2)
    s.start(16.0, 3, [0, 1])
    s.end(17.0, 3, "waiting", 1.0, "error", TRACEBACK)
    s.start(17.0, 3, [0, 1], rule="unfinished", reason="its training to epoch 1 was interrupted")
    s.end(18.0, 3, "failed", 1.0, "lost", "killed by signal 9")
    s.add(ev.SessionClosed(at=20.0, state="finished", reason="4 trials", wall_s=20.0))
    return s
