"""The accounting of a replay: what a simulated study has found, when, and at what cost.

Points. Each report is a point (error, time, money, ...) of its configuration at its resource. The values come from the
curves, whichever objectives the study itself uses. "partial" counts every report. "full" counts only the last report of
fully trained configurations.

Hypervolume. Losses are scaled to [0, 1] by the smallest and the largest finite value over all configurations and
resources of the task. Seconds and US dollars are scaled in their logarithm. An objective with only one value becomes 0.
The reference point is 1 in every objective. A share is the hypervolume divided by that of the reference front. The
reference front consists of the non-dominated points of *all* configurations: at all resources for "partial", at the
last one for "full".

Money. Every second of a segment, including start-up and lost work, is paid at the price of its configuration's devices.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.allocator import Allocator
from lightning_hwtune.core.hardware.policies import allocation_for
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.anytime import hypervolume_curve
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.curves import Curves
from lightning_hwtune.simulation.executor import Failures, simulate

__all__ = ["Replay", "Yardstick", "point", "replay_study"]

Floats = npt.NDArray[np.float64]

_LOG_UNITS = ("s", "USD")


def point(curves: Curves, config: Mapping[str, Any], resource: int, num_devices: int) -> dict[str, float]:
    """Returns all values of a configuration at a resource: its metrics, `train_s`, `device_s` and `usd`."""
    seconds = curves.elapsed_s(config, resource, num_devices)
    usd = seconds * curves.usd_per_s(config, num_devices)
    return {"train_s": seconds, "device_s": seconds * num_devices, "usd": usd, **curves.values(config, resource)}


@final
@dataclass(frozen=True, slots=True)
class Yardstick:
    """The scale on which the hypervolumes of one task are measured; see the module.

    Attributes:
        objectives: the objectives of the task.
        log_mask: which objectives are scaled in their logarithm, shape `(n_objectives,)`.
        low: the smallest loss (its logarithm where `log_mask` is true), shape `(n_objectives,)`.
        high: the largest loss, in the same form.
        partial: hypervolume of the reference front at all resources.
        full: hypervolume of the reference front at the last resource.
    """

    objectives: Objectives
    log_mask: npt.NDArray[np.bool_]
    low: Floats
    high: Floats
    partial: float
    full: float

    @classmethod
    def of(cls, objectives: Objectives, losses: Floats) -> Self:
        """Returns the yardstick of a task.

        Args:
            losses: the losses of all configurations, minimised, shape `(n_configs, n_resources, n_objectives)`. NaN
                means that the training diverged.
        """
        log_mask = np.array([objective.unit in _LOG_UNITS for objective in objectives])
        scaled = _logged(losses, log_mask)
        low, high = np.nanmin(scaled, axis=(0, 1)), np.nanmax(scaled, axis=(0, 1))
        objectives = objectives.exact
        blank = cls(objectives, log_mask, low, high, 0.0, 0.0)
        unit, corner = blank.unit(losses), np.ones(len(objectives))
        partial = hypervolume(unit.reshape(-1, len(objectives)), corner)
        return cls(objectives, log_mask, low, high, partial, hypervolume(unit[:, -1], corner))

    @classmethod
    def sampled(
        cls, objectives: Objectives, curves: Curves, space: SearchSpace, configs: Sequence[Mapping[str, Any]]
    ) -> Self:
        """Returns the yardstick of a task with these configurations of a space."""
        objectives = objectives.exact
        resources, pool = range(1, curves.max_resource + 1), Pool(devices=max(space.device_counts, default=1))
        devices = Allocator(allocation_for(space), space, pool)
        values = [[point(curves, config, r, devices.first(config).devices) for r in resources] for config in configs]
        return cls.of(objectives, np.array([[objectives.loss(value) for value in row] for row in values]))

    def unit(self, losses: Floats) -> Floats:
        """Returns losses on the scale of the yardstick; the last axis has one entry per objective."""
        span = np.where(self.high > self.low, self.high - self.low, np.inf)
        scaled: Floats = (_logged(losses, self.log_mask) - self.low) / span
        return scaled


def _logged(losses: Floats, log_mask: npt.NDArray[np.bool_]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        logged = np.log10(losses)
    return np.where(log_mask, np.where(np.isfinite(logged), logged, np.nan), losses)


@final
@dataclass(frozen=True, slots=True)
class Replay:
    """The measurements of one simulated study. Arrays have one row per report, ordered by the virtual clock.

    Attributes:
        state: the final state of the study.
        at_s: virtual time of the report.
        usd: money spent up to that time.
        trial_ids: the trial that reported.
        resources: the resource of the report.
        losses: the losses, minimised, shape `(n, n_objectives)`.
        partial: hypervolume of all reports up to that time, as a share of the reference front's.
        full: the same for fully trained configurations.
        decisions_per_s: answers and verdicts per second of real time, which includes the simulation's own work.
    """

    state: StudyState
    at_s: Floats
    usd: Floats
    trial_ids: npt.NDArray[np.int64]
    resources: npt.NDArray[np.int64]
    losses: Floats
    partial: Floats
    full: Floats
    decisions_per_s: float

    def first(self, share: float, *, kind: str = "partial", by: str = "at_s") -> float:
        """Returns the time ("at_s") or money ("usd") at which a hypervolume first reaches a share; NaN if never."""
        reached = np.flatnonzero(getattr(self, kind) >= share)
        return float(getattr(self, by)[reached[0]]) if len(reached) else float("nan")

    def at(self, seconds: float, *, kind: str = "partial") -> float:
        """Returns the share that a hypervolume has at this virtual time."""
        index = int(np.searchsorted(self.at_s, seconds, side="right"))
        return float(getattr(self, kind)[index - 1]) if index else 0.0

    @property
    def front(self) -> npt.NDArray[np.int64]:
        """Indices of the reports of fully trained trials that are not dominated by another one."""
        full = np.flatnonzero(self._is_full() & np.isfinite(self.losses).all(axis=1))
        return full[np.asarray(front_ranks(self.losses[full])) == 0] if len(full) else full

    def _is_full(self) -> npt.NDArray[np.bool_]:
        return self.resources >= self.state.ladder.top


class _Recorder:
    """A sink that records time, trial and resource of each report, and counts the decisions."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, int, int]] = []
        self.n_decisions = 0

    def __call__(self, events: Sequence[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.Reported):
                self.reports.append((event.at, event.trial_id, event.resource))
            self.n_decisions += isinstance(event, ev.Reported | ev.SegmentStarted)


def replay_study(
    spec: StudySpec,
    curves: Curves,
    limits: Limits,
    yardstick: Yardstick,
    *,
    start_s: float = 0.0,
    restore_s: float = 0.0,
    failures: Failures | None = None,
) -> Replay:
    """Simulates a study and measures it; the other arguments are those of `simulate`."""
    recorder, begun = _Recorder(), time.perf_counter()
    state = simulate(spec, curves, limits, start_s=start_s, restore_s=restore_s, failures=failures, sink=recorder)
    real_s = time.perf_counter() - begun
    return _measured(state, curves, yardstick, recorder, real_s)


def _measured(state: StudyState, curves: Curves, yardstick: Yardstick, recorder: _Recorder, real_s: float) -> Replay:
    at_s = np.array([at for at, _, _ in recorder.reports])
    trial_ids = np.array([trial_id for _, trial_id, _ in recorder.reports], dtype=np.int64)
    resources = np.array([resource for _, _, resource in recorder.reports], dtype=np.int64)
    rows = [
        yardstick.objectives.loss(point(curves, trial.config, resource, trial.num_devices))
        for _, trial_id, resource in recorder.reports
        for trial in [state.trials[trial_id]]
    ]
    losses = np.array(rows).reshape(-1, len(yardstick.objectives))
    unit, corner = yardstick.unit(losses), np.ones(len(yardstick.objectives))
    is_full = (resources >= state.ladder.top)[:, None]
    return Replay(
        state=state,
        at_s=at_s,
        usd=_spent(state, curves, at_s),
        trial_ids=trial_ids,
        resources=resources,
        losses=losses,
        partial=_share(hypervolume_curve(unit, corner), yardstick.partial),
        full=_share(hypervolume_curve(np.where(is_full, unit, np.nan), corner), yardstick.full),
        decisions_per_s=recorder.n_decisions / real_s,
    )


def _share(values: Floats, reference: float) -> Floats:
    return values / reference if reference > 0 else np.zeros_like(values)


def _spent(state: StudyState, curves: Curves, at_s: Floats) -> Floats:
    """Returns the total cost of all segments up to each time."""
    rates = np.array([curves.usd_per_s(state.trials[s.trial_id].config, s.num_devices) for s in state.segments])
    begins = np.array([segment.started_at for segment in state.segments])
    ends = np.array([state.last_at if s.ended_at is None else s.ended_at for s in state.segments])
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    slopes = np.cumsum(np.concatenate([rates, -rates])[order])
    money = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(times[order]))])
    spent: Floats = np.interp(at_s, times[order], money)
    return spent
