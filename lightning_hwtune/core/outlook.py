"""How long a study will still take: its own decisions, run forward on a copy of its state.

Nothing is trained: a segment takes its start-up and its epochs at a measured pace, and shows values drawn from the
range of those seen so far. Rungs, promotions, reservations, finishers and limits come from the controller itself, so a
forecast needs no formula for any of them. The cost is about a millisecond per trial.
"""

from __future__ import annotations

import copy
import dataclasses
import heapq
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Continue, Resume, Start
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.state import Segment, StudyState

__all__ = ["Outlook", "Pace", "outlook"]

_CHEAP_SEARCHERS = ("random", "sobol", "grid")
_SPREAD = 0.4  # of the logarithm of paces of different configurations
_MAX_STEPS = 100_000


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """What a study's work takes.

    Attributes:
        epoch_s: of one epoch (or step, or sample) of a new trial. startup_s: of a segment beside its training.
        warm_up_s: what the first epoch of a trial takes longer.
    """

    epoch_s: float
    startup_s: float
    warm_up_s: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Outlook:
    """What is still to come.

    Attributes:
        left_s: seconds until the study ends, or stops at a limit.
        starting_device_s, device_s: device-seconds of start-ups, and in all.
    """

    left_s: float
    starting_device_s: float
    device_s: float


def outlook(state: StudyState, now: float, pace: Pace, *, n_runs: int = 3) -> Outlook:
    """Returns the median of several runs forward. Changes nothing."""
    runs = sorted((_Run(state, now, pace, seed).run() for seed in range(n_runs)), key=lambda run: run.left_s)
    return runs[len(runs) // 2]


@final
class _Run:
    """One run forward."""

    def __init__(self, state: StudyState, now: float, pace: Pace, seed: int) -> None:
        self._state = copy.deepcopy(state, {id(state.spec): state.spec})
        if state.spec.searcher.name not in _CHEAP_SEARCHERS:  # which configuration it is does not matter here
            self._state.spec = dataclasses.replace(state.spec, searcher=Random())
        self._controller = Controller(self._state, lambda events: None)
        self._now, self._begun, self._pace = now, now, pace
        self._rng = np.random.default_rng(seed)
        self._range = {name: _seen_range(state, name) for name in state.spec.objectives.metrics}
        self._epoch_s: dict[int, float] = {}
        self._values: dict[int, Mapping[str, float]] = {}
        self._free = state.spec.pool.size
        self._coming: list[tuple[float, int, int]] = []  # time, trial, resource of its next report
        self._starting_s = self._device_s = 0.0

    def run(self) -> Outlook:
        for segment in list(self._state.running.values()):
            self._free -= segment.num_devices
            self._continue(segment)
        for _ in range(_MAX_STEPS):
            self._fill()
            if not self._coming:
                break
            self._step()
        return Outlook(self._now - self._begun, self._starting_s, self._device_s)

    def _fill(self) -> None:
        """Starts what the controller says, as long as devices are free."""
        while isinstance(answer := self._controller.ask(self._now, self._free), Start | Resume):
            segment = self._controller.begin(answer, tuple(range(answer.num_devices)), self._now)
            self._free -= segment.num_devices
            self._starting_s += self._pace.startup_s * segment.num_devices
            first_s = self._pace.warm_up_s if segment.number == 1 else 0.0
            self._schedule(segment, self._now + self._pace.startup_s + first_s)

    def _continue(self, segment: Segment) -> None:
        """Schedules the next report of a segment that runs already."""
        has_reported = segment.reached > segment.resource
        ready_at = segment.reported_at + (0.0 if has_reported else self._pace.startup_s)
        self._schedule(segment, min(ready_at, self._now))

    def _schedule(self, segment: Segment, ready_at: float) -> None:
        """Schedules the report at the next level: those between levels decide nothing."""
        levels = self._state.race.levels
        resource = next((level for level in levels if level > segment.reached), levels[-1])
        at = ready_at + max(resource - segment.reached, 0) * self._trial_epoch_s(segment.trial_id)
        heapq.heappush(self._coming, (max(at, self._now), segment.trial_id, resource))

    def _step(self) -> None:
        self._now, trial_id, resource = heapq.heappop(self._coming)
        segment = self._state.running[trial_id]
        train_s = (resource - segment.resource) * self._trial_epoch_s(trial_id)
        verdict = self._controller.report(trial_id, resource, self._trial_values(trial_id), train_s, self._now)
        if isinstance(verdict, Continue):
            self._schedule(segment, self._now)
            return
        if verdict.kind == "pause":
            self._controller.saved(trial_id, f"{trial_id}-{segment.number}", "", 0, resource, train_s, self._now)
        self._controller.tell(trial_id, self._now, "done")
        self._free += segment.num_devices
        self._device_s += (self._now - max(segment.started_at, self._begun)) * segment.num_devices

    def _trial_epoch_s(self, trial_id: int) -> float:
        """Returns a trial's own pace; for a new one the study's, spread as those of configurations are."""
        if trial_id not in self._epoch_s:
            last = self._state.trials[trial_id].last
            spread = math.exp(_SPREAD * float(self._rng.standard_normal()) - _SPREAD**2 / 2)
            own_s = last.train_s / last.resource if last is not None and last.resource > 0 else 0.0
            self._epoch_s[trial_id] = own_s or self._pace.epoch_s * spread
        return self._epoch_s[trial_id]

    def _trial_values(self, trial_id: int) -> Mapping[str, float]:
        """Returns a trial's newest values; for a new one values from the range of those seen."""
        if trial_id not in self._values:
            last, drawn = self._state.trials[trial_id].last, self._rng.random(len(self._range))
            self._values[trial_id] = {
                name: low + (high - low) * float(share) if last is None else last.values[name]
                for share, (name, (low, high)) in zip(drawn, self._range.items(), strict=True)
            }
        return self._values[trial_id]


def _seen_range(state: StudyState, name: str) -> tuple[float, float]:
    """Returns least and greatest finite value seen of a metric; 0 and 1 before there are two."""
    last = (trial.last for trial in state.trials)
    values = [found.values[name] for found in last if found is not None and math.isfinite(found.values[name])]
    return (min(values), max(values)) if len(values) > 1 else (statistics.fmean(values or [0.0]), 1.0)
