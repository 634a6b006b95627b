"""What a report of a running trial leads to: its measurement, and the verdict, with the rule and its numbers.

A report at a rung is judged by the scheduler's race. Before and after that, in this order: a violation that is final
ends the trial, a trial that was cleared continues, a finisher may need the trial's devices, the allocation policy may
give it other devices, and a limit of the study, or the end of the session, pauses it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.constraints import ADDED_UP, Violation, violation_text
from lightning_hwtune.core.decisions import Continue, Pause, Reason, Rule, Stop, Verdict
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.objective_kinds import Cost, DeviceSeconds, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.reference_count import CONVERTED, Basis, Conversion, conversion
from lightning_hwtune.core.replication import replicate_verdict
from lightning_hwtune.core.schedulers import Race
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.text import counted

__all__ = ["Judge", "Judgement"]


@final
@dataclass(frozen=True, slots=True)
class Judgement:
    """What a report leads to.

    Attributes:
        measurement: its values, as the log keeps them.
        used: how the seconds of its segment become seconds at the trial's reference count of devices.
        level: the rung that it decides; None between rungs.
        verdict: the answer to the trial.
        target: the resource up to which the trial may train from now on.
        devices: the devices to which the trial moves; None if it keeps its own.
    """

    measurement: Measurement
    used: Conversion
    level: int | None
    verdict: Verdict
    target: int
    devices: Allocation | None


@final
class Judge:
    """Judges the reports of one study, from its current state. It changes nothing.

    Attributes:
        interrupt: why the session is ending, once it is: each trial then pauses at its next report between epochs.
    """

    def __init__(self, state: StudyState, next_action: NextAction) -> None:
        self._state, self._next_action = state, next_action
        self.interrupt: Reason | None = None

    @property
    def _spec(self) -> StudySpec:
        return self._state.spec

    @property
    def _race(self) -> Race:
        return self._state.race

    def judge(
        self,
        segment: Segment,
        resource: int,
        metrics: Mapping[str, float],
        train_s: float,
        now: float,
        *,
        is_inside: bool,
        logged: Mapping[str, float],
    ) -> Judgement:
        """Returns what a report of a running segment leads to; the arguments are those of `Controller.report`.

        Raises:
            MetricError: an objective has no value.
        """
        trial, recorded = self._state.trials[segment.trial_id], self._spec.objectives.recorded
        if trial.refit:  # it may train without a validation, and no value of it is compared
            own = {name: value for name, value in logged.items() if name in recorded}
            metrics = {**dict.fromkeys(recorded, math.nan), **own, **metrics}
        is_decided = not trial.is_replicate and self._level(trial, resource) is not None
        used = conversion(self._state, segment, resource, train_s, is_decided=is_decided)
        measurement = self.measure(segment, resource, metrics, train_s, used)
        if trial.stopped_because and resource < self._race.max_resource:
            level, target = None, min(trial.target, resource)
            verdict: Verdict = Stop(Reason(Rule.ASKED, trial.stopped_because))
        elif trial.is_replicate:
            level, target = None, trial.target
            verdict = replicate_verdict(trial, resource, self._race.ladder)
        elif violations := self._final_violations(measurement, used):
            level, verdict, target = self._end_infeasible(trial, resource, violations)
        else:
            loss = self._loss(measurement, metrics)
            level, verdict, target = self.judge_rung(trial, measurement, loss, now, is_inside=is_inside)
            verdict = verdict if level is None else self._with_violations(verdict, measurement)
        devices = None
        if isinstance(verdict, Continue) and not is_inside:
            if level is not None:
                verdict, devices = self._with_devices(trial, measurement, verdict, target, now)
            limit = self._limit(segment, measurement, now)
            verdict = verdict if limit is None else Pause(limit)
        return Judgement(measurement, used, level, verdict, target, devices)

    # ------------------------------------------------------------------ the measurement

    def measure(
        self, segment: Segment, resource: int, metrics: Mapping[str, float], train_s: float, used: Conversion
    ) -> Measurement:
        """Returns the values of a report as the log keeps them, those that the study measures itself included.

        Raises:
            MetricError: an objective has no value.
        """
        trial, objectives = self._state.trials[segment.trial_id], self._spec.objectives
        device_s = used.device_seconds(segment, train_s)
        measured = {
            TrainSeconds.name: used.seconds(segment, train_s),
            DeviceSeconds.name: device_s,
            Cost.name: self._spec.usd_of(trial.config, device_s, segment.allocation.instance),
        }
        values = {**{key: float(value) for key, value in metrics.items()}, **measured}
        last = trial.last
        for metric in objectives.best_so_far:
            if last is not None and metric.name in values:
                values[metric.name] = metric.better(last.values[metric.name], values[metric.name])
        for name in objectives.measured_in_training:
            if name in values and name in ADDED_UP:
                values[name] = values[name] * used.per_device_second(segment)
                values[name] += self._state.value_at_begin(segment, name)
            elif last is not None and name in values and math.isfinite(last.values[name]):
                values[name] = max(values[name], last.values[name])  # over all segments
        objectives.require(values)  # before anything is written
        kept = {name: values[name] for name in objectives.recorded}
        return Measurement(resource, kept, *segment.used_s(train_s))

    def _loss(self, measurement: Measurement, metrics: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """Returns the losses to judge by: those of the best values so far, or NaN if the training has diverged."""
        loss = self._spec.objectives.loss(measurement.values)
        best = self._spec.objectives.best_so_far
        has_diverged = any(not math.isfinite(metrics[metric.name]) for metric in best if metric.name in metrics)
        return np.full_like(loss, np.nan) if has_diverged else loss

    # ------------------------------------------------------------------ the rung

    def judge_rung(
        self,
        trial: TrialRecord,
        measurement: Measurement,
        loss: npt.NDArray[np.float64],
        now: float,
        *,
        is_inside: bool,
    ) -> tuple[int | None, Verdict, int]:
        """Returns the level decided here (None if there is none), the verdict, and the resource it may train to."""
        if is_inside and self._spec.scheduler.pauses and measurement.resource < self._race.max_resource:
            text = "a trial cannot pause inside an epoch; rungs are decided at its end"
            return None, Continue(Reason(Rule.INSIDE_EPOCH, text)), trial.target
        level = self._level(trial, measurement.resource)
        if level is None and not self._race.is_wanted(trial.trial_id):
            text = "its stage has ended without it, because it took much longer than the others"
            return None, Pause(Reason(Rule.STAGES, text)), measurement.resource
        if level is None:
            return None, self._repeat(trial, measurement.resource), trial.target
        is_finite = bool(np.isfinite(loss).all())
        if trial.target > level and is_finite and not self._next_action.deadline.is_late(trial, measurement, now):
            is_first = trial.trial_id in self._state.to_end
            text = f"was promoted to {trial.target} before it reached {level}"
            if is_first:
                text = f"is one of the first trials, which train to {trial.target} without a pause"
            return level, Continue(Reason(Rule.CLEARED, text)), trial.target
        verdict = self._race.verdict(trial.trial_id, trial.bracket, level, loss)
        if isinstance(verdict, Continue):
            finish = self._next_action.must_yield(trial, measurement, now) if self._spec.scheduler.pauses else None
            if finish is not None:
                text = (
                    f"its devices are needed: trial {finish.trial.trial_id} must begin now to be fully trained in time"
                )
                return level, Pause(Reason(Rule.FINISHER, text)), level
            return level, verdict, self._race.next_target(trial.bracket, level)
        if trial.target > level and level < self._race.max_resource:
            verdict = _without_clearance(verdict, trial.target)
        return level, verdict, min(trial.target, level)

    def _level(self, trial: TrialRecord, resource: int) -> int | None:
        """Returns the deepest undecided level that this resource reaches; with epochs, a report matches it exactly."""
        floor = max(trial.decided, default=0)
        first = self._race.first_target(trial.bracket)
        return max((level for level in self._race.levels if max(floor + 1, first) <= level <= resource), default=None)

    def _repeat(self, trial: TrialRecord, resource: int) -> Verdict:
        """Returns the answer where nothing new is decided: between rungs, or where lost work is repeated."""
        if resource >= self._race.max_resource:
            return self._race.ladder.end()
        if resource in trial.decided:
            return Continue(Reason(Rule.REPEATED, f"rung {resource} was already decided: {trial.decided[resource]}"))
        return Continue(Reason(Rule.BETWEEN_RUNGS, f"next decision at {trial.target}"))

    # ------------------------------------------------------------------ violations

    def _final_violations(self, measurement: Measurement, used: Conversion) -> list[Violation]:
        """Returns the violations that end a trial before its full training. A guess of its seconds ends no trial."""
        if measurement.resource >= self._race.max_resource:
            return []
        found = self._spec.objectives.final_violations(measurement.values)
        return [one for one in found if used.basis is not Basis.GUESS or one.name not in CONVERTED]

    def _end_infeasible(
        self, trial: TrialRecord, resource: int, violations: Sequence[Violation]
    ) -> tuple[int | None, Verdict, int]:
        """Returns what `judge_rung` does, for a trial that can never be feasible.

        It does not count in a rung, as a trial that failed. Searchers learn from it at the next level.
        """
        floor = max(resource, max(trial.decided, default=0) + 1, self._race.first_target(trial.bracket))
        level = min((level for level in self._race.levels if level >= floor), default=None)
        text = f"{violation_text(violations)}; further training cannot change that"
        return level, Stop(Reason(Rule.CONSTRAINT, text)), resource

    def _with_violations(self, verdict: Verdict, measurement: Measurement) -> Verdict:
        """Returns the verdict of a rung with the violated bounds in its reason."""
        if not (text := self._spec.objectives.infeasible(measurement.values)):
            return verdict
        reason = dataclasses.replace(verdict.reason, text=f"{verdict.reason.text}; {text}")
        return dataclasses.replace(verdict, reason=reason)

    # ------------------------------------------------------------------ devices and limits

    def _with_devices(
        self, trial: TrialRecord, measurement: Measurement, verdict: Continue, target: int, now: float
    ) -> tuple[Verdict, Allocation | None]:
        """Returns the verdict of a rung once the policy was asked for devices, and those to which the trial moves."""
        reason = verdict.reason
        devices = self._next_action.next_allocation(trial, measurement, target, reason.rule, now)
        if devices is None:
            return verdict, None
        text = f"{reason.text}; it pauses to continue on {counted(devices.devices, 'devices')}"
        text += f" instead of {trial.num_devices}"
        return Pause(Reason(Rule.DEVICES, text, reason.standing)), devices

    def _limit(self, segment: Segment, measurement: Measurement, now: float) -> Reason | None:
        """Returns why a trial that may continue must pause; None if it need not."""
        trial_id, coming_s = segment.trial_id, measurement.train_s - segment.train_s
        limit = self.interrupt or self._next_action.limit(now, trial_id, coming_s)
        if limit is None and self._next_action.deadline.budget.must_pause(trial_id, now):
            return self._next_action.budget_reason(now)  # its next report may fit the budget, but not all that runs
        return limit


def _without_clearance(verdict: Pause | Stop, target: int) -> Pause | Stop:
    """Returns the verdict on a trial that was cleared to train to `target` and must not do so any more."""
    reason = verdict.reason
    text = f"{reason.text}; its earlier promotion to {target} is withdrawn"
    return dataclasses.replace(verdict, reason=dataclasses.replace(reason, text=text))
