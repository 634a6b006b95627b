"""A small substitute for the engine: trains segments by a formula, on its own simulated clock.

It starts no process and reads no real clock, so a whole study takes milliseconds and every run gives the same result.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, cast

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Resume, Start, VerdictKind, Wait
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.devices import Slots

__all__ = ["Curve", "Driver", "rebuilt_state", "snapshot"]

Curve = Callable[[dict[str, Any], int], float]


def default_curve(config: dict[str, Any], epoch: int) -> float:
    return float(abs(config["lr"] - 0.01) * 5 + 1.0 / (epoch + 1))


class Driver:
    """Drives a controller like the engine's loop, one epoch of one trial at a time, in the order of their clocks."""

    def __init__(
        self,
        study: StudySpec,
        limits: Limits,
        curve: Curve = default_curve,
        log: list[ev.Event] | None = None,
        stride: Callable[[int], int] = lambda trial_id: 1,  # resource from one report to the next
    ) -> None:
        self.log: list[ev.Event] = log if log is not None else []
        self.curve, self.limits, self.stride = curve, limits, stride
        self.now = self.log[-1].at if self.log else 0.0
        state = rebuilt_state(study, self.log)
        self.controller = Controller(state, self.log.extend)
        if not self.log:
            self.controller.create(self.now)
        self.controller.open(limits, self.now, "host", 1, "0")
        self.due: dict[int, float] = {}

    @property
    def state(self) -> StudyState:
        return self.controller.state

    @property
    def free(self) -> int:
        return self._slots().n_free(self.state.per_device)

    def _slots(self) -> Slots:
        slots = Slots(self.controller.spec.pool.size)
        for segment in self.state.running.values():
            slots.hold(segment.slots, segment.allocation.per_device)
        return slots

    def fill(self) -> Wait | Done:
        while True:
            self.controller.plan_stage(self.now)
            answer = self.controller.ask(self.now, self.free)
            self.controller.reserve(answer, self.now)
            if not isinstance(answer, Start | Resume):
                return answer
            self.begin(answer)

    def begin(self, decision: Start | Resume) -> None:
        slots = self._slots().take(decision.allocation, self.state.per_device)
        segment = self.controller.begin(decision, slots, self.now)
        self.due[decision.trial_id] = self.now + self.epoch_s(segment.num_devices)

    def epoch_s(self, devices: int) -> float:
        return float(1.0 / devices**0.5)

    def step(self) -> int:
        """Makes the next running trial finish an epoch; returns its id."""
        trial_id = min(self.due, key=lambda i: (self.due[i], i))
        self.now = max(self.now, self.due[trial_id])
        self.epoch(trial_id)
        return trial_id

    def epoch(self, trial_id: int) -> None:
        segment, trial = self.state.running[trial_id], self.state.trials[trial_id]
        resource = min(segment.reached + self.stride(trial_id), self.controller.race.max_resource)
        train_s = (resource - segment.resource) * self.epoch_s(segment.num_devices)
        metrics = self.metrics(dict(trial.config), resource)
        verdict = self.controller.report(trial_id, resource, metrics, train_s, self.now)
        if verdict.kind == VerdictKind.CONTINUE:
            self.due[trial_id] = self.now + self.epoch_s(segment.num_devices)
            return
        if verdict.kind == VerdictKind.PAUSE or resource >= self.controller.race.max_resource:
            self.save(trial_id, resource, train_s)
        self.end(trial_id, Outcome.DONE)

    def metrics(self, config: dict[str, Any], resource: int) -> dict[str, float]:
        """Returns the values that a report contains."""
        objectives = self.controller.spec.objectives
        names = (*objectives.metrics, *objectives.measured_in_training)
        return {name: self.curve(config, resource + i) for i, name in enumerate(names)}

    def save(self, trial_id: int, resource: int, train_s: float, *, is_end: bool = False) -> None:
        path = f"trials/{trial_id:03d}/checkpoints/{self.state.running[trial_id].number}.ckpt"
        self.controller.saved(trial_id, path, "00", 10, resource, train_s, self.now, is_end=is_end)

    def end(self, trial_id: int, outcome: Outcome, error: str = "") -> None:
        self.due.pop(trial_id, None)
        self.controller.tell(trial_id, self.now, outcome, error=error, world_size=1)

    def run(self, max_reports: int = 1_000_000) -> Done:
        """Runs the study to its end, which must come after at most `max_reports` reports."""
        for _ in range(max_reports):
            answer = self.fill()
            if isinstance(answer, Done):
                return answer
            self.step()
        raise AssertionError(f"Every study ends.\n  After {max_reports} reports, this one was still running.")

    def close(self) -> None:
        self.controller.close(self.now, ev.SessionState.FINISHED, "")


def rebuilt_state(study: StudySpec, log: list[ev.Event]) -> StudyState:
    """Returns the state that a log describes, read through JSON, as the store would."""
    state = StudyState(study)
    for event in log:
        state.apply(ev.from_dict(json.loads(json.dumps(ev.to_dict(event)))))
    return state


def snapshot(state: StudyState) -> dict[str, Any]:
    """Returns everything that a reader can see, as plain data."""
    plain = json.loads(
        json.dumps(
            {
                "trials": [dataclasses.asdict(trial) for trial in state.trials],
                "segments": [dataclasses.asdict(segment) for segment in state.segments],
                "running": sorted(state.running),
                "waiting": sorted(state.waiting),
                "enqueued": list(state.enqueued),
                "next_draw": state.next_draw,
                "skipped": sorted(state.skipped),
                "n_failed": state.n_failed,
                "n_full": state.n_full,
                "wall_s": state.wall_s(state.last_at),
                "billed_usd": state.billed_usd(state.last_at),
                "finishers": [list(pair) for pair in state.race.finishers()],
            }
        )
    )
    return cast("dict[str, Any]", plain)
