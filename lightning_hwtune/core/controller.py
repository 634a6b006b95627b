"""The controller, which makes every decision of a study.

    ask(now, free)     -> Start | Resume | Wait | Done     what the free devices should do next; changes nothing
    reserve(answer)                                        records the candidate for which devices are drained
    report(...)        -> Continue | Pause | Stop          what a trial should do after a measurement
    begin, saved, tell                                     facts from the engine

Every change of a study is an event. An event is first passed to the sink, which makes it durable before it returns.
It is then applied to the state, which is a fold over events and nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.added_results import checked_result, is_same_result
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.budget import Budget
from lightning_hwtune.core.constraints import ADDED_UP, Violation, violation_text
from lightning_hwtune.core.decisions import (
    Answer,
    Continue,
    Pause,
    Reason,
    Reservation,
    Resume,
    Rule,
    Start,
    Stop,
    Verdict,
    VerdictKind,
)
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.placement import on_nodes
from lightning_hwtune.core.ladder_choice import ladder_choice
from lightning_hwtune.core.last_moment import last_moment_s, without_report
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.objective_kinds import Cost, DeviceSeconds, TrainSeconds
from lightning_hwtune.core.record import Measurement, Outcome, TrialRecord, TrialState
from lightning_hwtune.core.reference_count import CONVERTED, Basis, Conversion, conversion
from lightning_hwtune.core.replication import replicate_verdict
from lightning_hwtune.core.schedulers import Race
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError, IllegalMoveError
from lightning_hwtune.text import counted

__all__ = ["MOST_LOST_NODES", "Controller", "Sink"]

MOST_LOST_NODES = 4
"""How many nodes in a row one trial may lose without new work. It probably ends them, for example by their memory."""

Sink = Callable[[Sequence[ev.Event]], None]


@final
class Controller:
    """Makes the decisions of one study.

    Args:
        state: the state of a new study, or one rebuilt from a log.
        sink: receives events before they take effect; they must be durable when it returns. A list's `extend` will do.
        observe: receives the same events after they are applied. If it raises, log and state still agree.
        whole: returns a context manager for each write, so that no signal is handled between the log and the state.
    """

    def __init__(
        self,
        state: StudyState,
        sink: Sink,
        *,
        observe: Sink = lambda events: None,
        whole: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.state = state
        self._sink, self._observe, self._whole = sink, observe, whole
        self._next_action, self._policy = NextAction(state), state.spec.allocator
        self._interrupt: Reason | None = None

    @property
    def spec(self) -> StudySpec:
        """What the study is."""
        return self.state.spec

    @property
    def budget(self) -> Budget:
        """The guard of the study's budget."""
        return self._next_action.deadline.budget

    @property
    def race(self) -> Race:
        """The study's rungs."""
        return self.state.race

    def ask(self, now: float, free: int) -> Answer:
        """Returns what `free` devices should do next; see `NextAction.ask`."""
        return self._next_action.ask(now, free)

    def reserve(self, answer: Answer, now: float) -> None:
        """Records the candidate of an answer for which devices are drained; writes nothing if it is unchanged."""
        if answer.reservation != self.state.reserved:
            self._write(_reserved(answer.reservation, now))

    def pause_at_reports(self, why: str) -> None:
        """From now on, each trial pauses at its next report between epochs, as at a limit; the session is ending."""
        self._interrupt = Reason(Rule.INTERRUPTED, f"{why}; the trial continues from here")

    def create(self, now: float, study_id: str = "") -> None:
        """Writes the study's first event."""
        self._write(ev.StudyCreated(at=now, study=self.spec.name, spec=self.spec.to_dict(), study_id=study_id))

    def open(
        self, limits: Limits, now: float, host: str, pid: int, version: str, *, rents: bool = False, **facts: Any
    ) -> None:
        """Opens a session with these limits; segments left behind by a dead controller end as interrupted.

        Args:
            rents: whether nodes are rented in this session, so that it has none at its beginning.
            facts: the further fields of `events.SessionOpened`.
        """
        state, limits = self.state, limits.resolved(self.spec)
        # by the clock of the dead controller, its segments and its node lasted until its last event
        left = {trial_id: state.segment_s(segment, state.last_at) for trial_id, segment in state.running.items()}
        released = [dataclasses.replace(event, at=now) for event in self._releases(state.last_at)]
        opened = ev.SessionOpened(at=now, limits=limits.to_dict(), host=host, pid=pid, version=version, **facts)
        self._write(opened, *released, *([] if rents else self._launch(now)))
        for trial_id, wall_s in left.items():
            self.tell(
                trial_id, now, Outcome.INTERRUPTED, error="the process that ran the study has ended", wall_s=wall_s
            )

    def choose_ladder(self, now: float, start_up: float = 0.0, n_at_once: int | None = None) -> None:
        """Chooses the settings of the ladder that the user left open, unless the study has chosen or begun.

        Args:
            start_up: the seconds of a segment's start, as a check has measured them, in units of resource.
            n_at_once: how many trials can train at the same time; None: as many as the pool and the limits allow.
        """
        if self.spec.has_open_ladder and not self.state.trials:
            choice = ladder_choice(self.spec, self.state.limits, start_up, n_at_once)
            facts = dataclasses.asdict(choice.facts)
            self._write(
                ev.LadderChosen(
                    at=now, settings=choice.settings, n_to_end=choice.n_to_end, facts=facts, reason=choice.reason
                )
            )

    def plan_stage(self, now: float) -> None:
        """Asks the allocation policy for the plan of a stage, if it plans stages and one begins now."""
        if (planned := self._next_action.stage(now)) is not None:
            self._write(planned)

    def close(self, now: float, state: ev.SessionState, reason: str) -> None:
        """Closes the session, in which no segment is running any more."""
        closed = ev.SessionClosed(at=now, state=state, reason=reason, wall_s=self.state.session_s(now))
        self._write(*self._releases(now), closed)

    def _launch(self, now: float) -> list[ev.Event]:
        """Returns the events of a pool with an instance type: it is one node, up from the opening of the session."""
        instance, number = self.spec.pool.instance, len(self.state.nodes)
        if instance is None:
            return []
        requested = ev.NodeRequested(at=now, node=number, instance=instance.to_dict(), is_spot=self.spec.pool.spot)
        return [requested, ev.NodeReady(at=now, node=number)]

    def _releases(self, now: float) -> list[ev.NodeReleased]:
        """Returns the events that release every node that is up."""
        clock_s = self.state.clock.at(max(now, self.state.last_at))  # a clock that was set back shortens no bill
        return [
            ev.NodeReleased(at=now, node=number, up_s=node.up_s(clock_s), billed_usd=node.usd(clock_s))
            for number, node in self.state.nodes_up.items()
        ]

    def rent(self, rented_as: str, instance: InstanceType, now: float, *, is_spot: bool) -> int:
        """Records that a provider launched a node, under its id; returns the number of the node."""
        number = len(self.state.nodes)
        kind = instance.to_dict()
        self._write(ev.NodeRequested(at=now, node=number, instance=kind, is_spot=is_spot, rented_as=rented_as))
        return number

    def node_ready(self, number: int, now: float) -> None:
        """Records that segments can start on a node."""
        self._write(ev.NodeReady(at=now, node=number))

    def node_released(self, number: int, now: float) -> None:
        """Records that a node was given back. The segments on it are still to be ended."""
        self._write(*(event for event in self._releases(now) if event.node == number))

    def node_lost(self, number: int, reason: str, now: float) -> None:
        """Records that a node was taken away, or failed. The segments on it are still to be ended."""
        node, clock_s = self.state.nodes_up[number], self.state.clock.at(max(now, self.state.last_at))
        usd = node.usd(clock_s, is_lost=True)
        self._write(ev.NodeLost(at=now, node=number, up_s=node.up_s(clock_s), billed_usd=usd, reason=reason))

    def demand(self, now: float) -> int:
        """Returns the number of devices that the work takes which would begin now if they were free."""
        return self._next_action.demand(now)

    def enqueue(self, config: Mapping[str, Any], now: float) -> None:
        """Adds a configuration to be tried before the searcher's.

        Raises:
            ArgumentError: the configuration is not in the search space.
        """
        self._write(ev.ConfigEnqueued(at=now, config=self.spec.space.validate(config)))

    def add_result(self, config: Mapping[str, Any], values: Mapping[str, float], resource: int, now: float) -> None:
        """Adds a result from elsewhere, unless the study has it.

        Raises:
            ArgumentError: the configuration, a value or the resource is not one that this study could have.
        """
        added = checked_result(self.spec, config, values, resource, now)
        if not any(is_same_result(known, added) for known in self.state.added):
            self._write(added)

    def stop(self, trial_id: int, reason: str, now: float) -> None:
        """Ends a trial for good because the user asks for it; does nothing if it has ended already.

        A trial that is running is stopped at its next report, or when the caller ends its segment.

        Raises:
            ArgumentError: there is no such trial.
        """
        trials = self.state.trials
        if not 0 <= trial_id < len(trials):
            allowed = f"a trial from 0 to {len(trials) - 1}" if trials else "none yet"
            raise ArgumentError("trial", trial_id, allowed)
        if not trials[trial_id].state.is_final and not trials[trial_id].stopped_because:
            self._write(ev.TrialStopped(at=now, trial_id=trial_id, reason=reason))

    def note(self, trial_id: int | None, text: str, now: float) -> None:
        """Writes a note about one trial, or about the whole study if `trial_id` is None."""
        self._write(ev.Noted(at=now, trial_id=trial_id, text=text))

    def note_once(self, text: str, topic: str, now: float) -> None:
        """Writes a note about the whole study, unless the study already has one with this topic (or text)."""
        if (topic or text) not in self.state.topics:
            self._write(ev.Noted(at=now, trial_id=None, text=text, topic=topic))

    def note_value(self, trial_id: int, key: str, value: Any, now: float) -> None:
        """Writes a value that a training has noted, unless its key has this value already."""
        noted = self.state.trials[trial_id].noted
        if key not in noted or (type(noted[key]), noted[key]) != (type(value), value):
            self._write(ev.ValueNoted(at=now, trial_id=trial_id, key=key, value=value))

    def tested(self, trial_id: int, values: Mapping[str, float], error: str, digest: str, now: float) -> None:
        """Writes the results of a test of a trial's checkpoint, or the error that it ended with."""
        self._write(ev.Tested(at=now, trial_id=trial_id, values=dict(values), error=error, digest=digest))

    def begin(self, decision: Start | Resume, slots: Sequence[int], now: float) -> Segment:
        """Carries out a decision of `ask` on these device slots; returns the new segment."""
        events: list[ev.Event] = []
        if isinstance(decision, Start):
            events.append(
                ev.TrialCreated(
                    at=now,
                    trial_id=decision.trial_id,
                    config=dict(decision.config),
                    seed=decision.seed,
                    bracket=decision.bracket,
                    target=self._first_target(decision),
                    source=decision.source,
                    draw=decision.draw,
                    reason=decision.reason.text,
                    allocation=decision.allocation,
                    replicate_of=decision.replicate_of,
                    refit=decision.refit,
                )
            )
            number, checkpoint, promoted_from = 1, None, None
        else:
            trial = self.state.trials[decision.trial_id]
            trial.check_move(TrialState.RUNNING)  # before it is written to the log, which is append-only
            number, checkpoint, promoted_from = trial.segment + 1, trial.checkpoint, decision.promoted_from
            if checkpoint is None and trial.measurements:
                again = self.race.unit.span(0, trial.resource)
                text = f"the trial has no checkpoint, so it starts from scratch and trains {again} again"
                events.append(ev.Noted(at=now, trial_id=trial.trial_id, text=text))
        events.append(
            ev.SegmentStarted(
                at=now,
                trial_id=decision.trial_id,
                segment=number,
                allocation=dataclasses.replace(
                    on_nodes(decision.allocation, self.spec.pool), per_device=self.state.per_device
                ),
                slots=list(slots),
                checkpoint=checkpoint.path if checkpoint else None,
                resource=checkpoint.resource if checkpoint else 0,
                target=decision.target,
                promoted_from=promoted_from,
                rule=str(decision.reason.rule),
                reason=decision.reason.text,
            )
        )
        self._write(*events)
        return self.state.running[decision.trial_id]

    def _first_target(self, decision: Start) -> int:
        """Returns the resource up to which a new trial may train when it is created; a promotion raises it."""
        return decision.target if decision.replicate_of is not None else self.race.first_target(decision.bracket)

    def report(
        self,
        trial_id: int,
        resource: int,
        metrics: Mapping[str, float],
        train_s: float,
        now: float,
        *,
        is_inside: bool = False,
        logged: Mapping[str, float] | None = None,
    ) -> Verdict:
        """Takes a measurement of a running trial and returns the verdict, which is then in the log.

        After a pause or stop at a rung the segment is over: later reports are not recorded and get the same verdict.

        Args:
            resource: the total resource that the trial has used.
            metrics: a value for each `Metric` objective.
            train_s: the training seconds of this segment so far.
            is_inside: whether the report comes from inside an epoch, where the trial can stop but cannot pause.
            logged: other numbers that the training has logged; those of rungs and of the end are kept.

        Raises:
            IllegalMoveError: the trial has no running segment.
            MetricError: an objective has no value.
        """
        segment, trial = self._running(trial_id), self.state.trials[trial_id]
        if self.state.is_over(segment):
            reason = Reason(Rule.OVER, f"the verdict for this segment was {segment.verdict} at {segment.reached}")
            return Pause(reason) if segment.verdict == VerdictKind.PAUSE else Stop(reason)
        if trial.refit:  # it may train without a validation, and no value of it is compared
            own = {name: value for name, value in (logged or {}).items() if name in self.spec.objectives.recorded}
            metrics = {**dict.fromkeys(self.spec.objectives.recorded, math.nan), **own, **metrics}
        is_decided = not trial.is_replicate and self._level(trial, resource) is not None
        used = conversion(self.state, segment, resource, train_s, is_decided=is_decided)
        measurement = self._measure(segment, resource, metrics, train_s, used)
        if trial.stopped_because and resource < self.race.max_resource:
            level, target = None, min(trial.target, resource)
            verdict: Verdict = Stop(Reason(Rule.ASKED, trial.stopped_because))
        elif trial.is_replicate:
            level, target = None, trial.target
            verdict = replicate_verdict(trial, resource, self.race.ladder)
        elif violations := self._final_violations(measurement, used):
            level, verdict, target = self._end_infeasible(trial, resource, violations)
        else:
            loss = self._loss(measurement, metrics)
            level, verdict, target = self._judge(trial, measurement, loss, now, is_inside=is_inside)
            verdict = verdict if level is None else self._with_violations(verdict, measurement)
        next_allocation = None
        if isinstance(verdict, Continue) and not is_inside:
            if level is not None:
                verdict, next_allocation = self._with_devices(trial, measurement, verdict, target, now)
            coming_s = measurement.train_s - segment.train_s
            limit = self._interrupt or self._next_action.limit(now, trial_id, coming_s) or self._unpaid(trial_id, now)
            verdict = verdict if limit is None else Pause(limit)
        self._write(
            ev.Reported(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                resource=resource,
                values=dict(measurement.values),
                train_s=measurement.train_s,
                device_s=measurement.device_s,
                level=level,
                verdict=verdict.kind.value,
                target=target,
                rule=str(verdict.reason.rule),
                reason=verdict.reason.text,
                reference_factor=used.factor,
                reference_basis=used.basis,
                next_allocation=next_allocation,
                logged=self._kept(logged or {}) if level is not None or resource >= target else {},
            )
        )
        return verdict

    def _kept(self, logged: Mapping[str, float]) -> dict[str, float]:
        """Returns the numbers that a report adds to those of objectives and constraints."""
        names = [name for name in logged if name not in self.spec.objectives.recorded]
        if len(names) > _MOST_LOGGED:
            left_out = counted(len(names) - _MOST_LOGGED, "numbers")
            text = f"a report keeps {_MOST_LOGGED} logged numbers as columns; {left_out} of this training are left out"
            self.note_once(text, "logged numbers", self.state.last_at)
        return {name: float(logged[name]) for name in names[:_MOST_LOGGED]}

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

    def _unpaid(self, trial_id: int, now: float) -> Reason | None:
        """Returns why a running trial must pause although its next report may fit the budget; None if it need not."""
        return self._next_action.budget_reason(now) if self.budget.must_pause(trial_id, now) else None

    def end_unpaid(self, now: float) -> list[tuple[int, str]]:
        """Returns the running trials whose segments must be ended now, each with the reason; see `core.budget`."""
        named = self.budget.to_end(now)
        for trial_id in named:
            self.budget.ends(trial_id, now)
        return [(trial_id, self._next_action.budget_reason(now).text) for trial_id in named]

    def late_s(self, now: float) -> float:
        """Returns the seconds until `end_late` names segments; infinity if it never does in the present state."""
        return last_moment_s(self.state, now)

    def end_late(self, now: float) -> list[tuple[int, str]]:
        """Returns the running trials whose segments a limit of time ends now, each with the reason."""
        if self.late_s(now) > 0.0:
            return []
        used = f"{self.state.wall_s(now):.0f} s of {self.state.limits.max_time_s:.0f} s are used"
        text = f"{used}, and this segment has not reported since it began; it loses its unfinished epoch"
        return [(trial_id, text) for trial_id in without_report(self.state)]

    def _running(self, trial_id: int) -> Segment:
        if trial_id not in self.state.running:
            raise IllegalMoveError(f"trial {trial_id} has no running segment")
        return self.state.running[trial_id]

    def _measure(
        self, segment: Segment, resource: int, metrics: Mapping[str, float], train_s: float, used: Conversion
    ) -> Measurement:
        device_s = used.device_seconds(segment, train_s)
        measured = {
            TrainSeconds.name: used.seconds(segment, train_s),
            DeviceSeconds.name: device_s,
            Cost.name: self.spec.usd_of(self.state.trials[segment.trial_id].config, device_s),
        }
        values = {**{key: float(value) for key, value in metrics.items()}, **measured}
        last = self.state.trials[segment.trial_id].last
        for metric in self.spec.objectives.best_so_far:
            if last is not None and metric.name in values:
                values[metric.name] = metric.better(last.values[metric.name], values[metric.name])
        for name in self.spec.objectives.measured_in_training:
            if name in values and name in ADDED_UP:
                values[name] = values[name] * used.per_device_second(segment) + self.state.value_at_begin(segment, name)
            elif last is not None and name in values and math.isfinite(last.values[name]):
                values[name] = max(values[name], last.values[name])  # over all segments
        self.spec.objectives.require(values)  # before anything is written
        kept = {name: values[name] for name in self.spec.objectives.recorded}
        return Measurement(resource, kept, *_really_used(segment, train_s))

    def _loss(self, measurement: Measurement, metrics: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """Returns the losses to judge by: those of the best values so far, or NaN if the training has diverged."""
        loss = self.spec.objectives.loss(measurement.values)
        best = self.spec.objectives.best_so_far
        has_diverged = any(not math.isfinite(metrics[metric.name]) for metric in best if metric.name in metrics)
        return np.full_like(loss, np.nan) if has_diverged else loss

    def _judge(
        self,
        trial: TrialRecord,
        measurement: Measurement,
        loss: npt.NDArray[np.float64],
        now: float,
        *,
        is_inside: bool,
    ) -> tuple[int | None, Verdict, int]:
        """Returns the level decided here (None if there is none), the verdict, and the resource it may train to."""
        if is_inside and self.spec.scheduler.pauses and measurement.resource < self.race.max_resource:
            text = "a trial cannot pause inside an epoch; rungs are decided at its end"
            return None, Continue(Reason(Rule.INSIDE_EPOCH, text)), trial.target
        level = self._level(trial, measurement.resource)
        if level is None and not self.race.is_wanted(trial.trial_id):
            text = "its stage has ended without it, because it took much longer than the others"
            return None, Pause(Reason(Rule.STAGES, text)), measurement.resource
        if level is None:
            return None, self._repeat(trial, measurement.resource), trial.target
        is_finite = bool(np.isfinite(loss).all())
        if trial.target > level and is_finite and not self._next_action.deadline.is_late(trial, measurement, now):
            is_first = trial.trial_id in self.state.to_end
            text = f"was promoted to {trial.target} before it reached {level}"
            if is_first:
                text = f"is one of the first trials, which train to {trial.target} without a pause"
            return level, Continue(Reason(Rule.CLEARED, text)), trial.target
        verdict = self.race.verdict(trial.trial_id, trial.bracket, level, loss)
        if isinstance(verdict, Continue):
            finish = self._next_action.must_yield(trial, measurement, now) if self.spec.scheduler.pauses else None
            if finish is not None:
                text = (
                    f"its devices are needed: trial {finish.trial.trial_id} must begin now to be fully trained in time"
                )
                return level, Pause(Reason(Rule.FINISHER, text)), level
            return level, verdict, self.race.next_target(trial.bracket, level)
        if trial.target > level and level < self.race.max_resource:
            verdict = _without_clearance(verdict, trial.target)
        return level, verdict, min(trial.target, level)

    def _final_violations(self, measurement: Measurement, used: Conversion) -> list[Violation]:
        """Returns the violations that end a trial before its full training. A guess of its seconds ends no trial."""
        if measurement.resource >= self.race.max_resource:
            return []
        found = self.spec.objectives.final_violations(measurement.values)
        return [one for one in found if used.basis is not Basis.GUESS or one.name not in CONVERTED]

    def _end_infeasible(
        self, trial: TrialRecord, resource: int, violations: Sequence[Violation]
    ) -> tuple[int | None, Verdict, int]:
        """Returns what `_judge` does, for a trial that can never be feasible.

        It does not count in a rung, as a trial that failed. Searchers learn from it at the next level.
        """
        floor = max(resource, max(trial.decided, default=0) + 1, self.race.first_target(trial.bracket))
        level = min((level for level in self.race.levels if level >= floor), default=None)
        text = f"{violation_text(violations)}; further training cannot change that"
        return level, Stop(Reason(Rule.CONSTRAINT, text)), resource

    def _with_violations(self, verdict: Verdict, measurement: Measurement) -> Verdict:
        """Returns the verdict of a rung with the violated bounds in its reason."""
        if not (text := self.spec.objectives.infeasible(measurement.values)):
            return verdict
        reason = dataclasses.replace(verdict.reason, text=f"{verdict.reason.text}; {text}")
        return dataclasses.replace(verdict, reason=reason)

    def _level(self, trial: TrialRecord, resource: int) -> int | None:
        """Returns the deepest undecided level that this resource reaches; with epochs, a report matches it exactly."""
        floor = max(trial.decided, default=0)
        first = self.race.first_target(trial.bracket)
        return max((level for level in self.race.levels if max(floor + 1, first) <= level <= resource), default=None)

    def _repeat(self, trial: TrialRecord, resource: int) -> Verdict:
        """Returns the answer where nothing new is decided: between rungs, or where lost work is repeated."""
        if resource >= self.race.max_resource:
            return self.race.ladder.end()
        if resource in trial.decided:
            return Continue(Reason(Rule.REPEATED, f"rung {resource} was already decided: {trial.decided[resource]}"))
        return Continue(Reason(Rule.BETWEEN_RUNGS, f"next decision at {trial.target}"))

    def saved(
        self,
        trial_id: int,
        path: str,
        digest: str,
        n_bytes: int,
        resource: int,
        train_s: float,
        now: float,
        *,
        is_inside: bool = False,
        is_end: bool = False,
    ) -> None:
        """Records a complete checkpoint of a running trial under this relative path; see `events.CheckpointSaved`."""
        segment = self._running(trial_id)
        used, (total_s, device_s) = conversion(self.state, segment, resource, train_s), _really_used(segment, train_s)
        at_reference = used.seconds(segment, train_s), used.device_seconds(segment, train_s)
        reference_s, reference_device_s = at_reference if at_reference != (total_s, device_s) else (None, None)
        self._write(
            ev.CheckpointSaved(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                path=path,
                digest=digest,
                n_bytes=n_bytes,
                resource=resource,
                train_s=total_s,
                device_s=device_s,
                is_inside=is_inside,
                is_end=is_end,
                reference_s=reference_s,
                reference_device_s=reference_device_s,
            )
        )

    def removed(self, trial_id: int, path: str, reason: str, now: float) -> None:
        """Records that a checkpoint file is about to be deleted, so that nothing relies on it from now on."""
        self._write(ev.CheckpointRemoved(at=now, trial_id=trial_id, path=path, reason=reason))

    def tell(
        self,
        trial_id: int,
        now: float,
        outcome: Outcome,
        *,
        error: str = "",
        wall_s: float | None = None,
        world_size: int = 0,
        reached_end: bool = False,
    ) -> TrialState:
        """Records the end of a segment and returns the trial's new state. See `Outcome`.

        Args:
            wall_s: seconds from the start request to the release of the devices; by default measured up to `now`.
            reached_end: whether the training ended by itself, in which case a pause at its end has no effect.
        """
        segment, trial = self._running(trial_id), self.state.trials[trial_id]
        wall_s = self.state.segment_s(segment, now) if wall_s is None else wall_s
        if segment.has_ended_itself and outcome in (Outcome.LOST, Outcome.NODE_LOST, Outcome.INTERRUPTED):
            outcome, reached_end = Outcome.DONE, True  # nothing is left to train
        elif outcome in (Outcome.LOST, Outcome.NODE_LOST) and _is_settled(trial, segment, self.race.max_resource):
            outcome = Outcome.DONE  # the process died only after its work was done
        is_paused = segment.verdict == VerdictKind.PAUSE and not reached_end
        state, error, allocation = self._outcome(trial, segment, outcome, error, is_paused=is_paused)
        device_s = wall_s * segment.share
        self._write(
            ev.SegmentEnded(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                outcome=outcome,
                state=state,
                error=error,
                wall_s=wall_s,
                device_s=device_s,
                billed_usd=self.spec.usd_of(trial.config, device_s),
                world_size=world_size,
                next_allocation=allocation,
            )
        )
        return state

    def _outcome(
        self, trial: TrialRecord, segment: Segment, outcome: Outcome, error: str, *, is_paused: bool
    ) -> tuple[TrialState, str, Allocation]:
        """Returns the trial's next state, the error to keep, and the allocation of its next segment."""
        allocation, back = trial.allocation, TrialState.PAUSED if trial.checkpoint else TrialState.WAITING
        allocation = segment.moves_to or allocation
        is_full = trial.resource >= self.race.max_resource
        saved_at = trial.checkpoint.resource if trial.checkpoint is not None else 0
        if trial.refit and min(trial.resource, saved_at) >= trial.target:
            return TrialState.COMPLETED, error, allocation
        if segment.verdict == VerdictKind.STOP and not is_full:
            return TrialState.STOPPED, error, allocation
        if trial.stopped_because and (outcome != Outcome.DONE or not is_full):
            return TrialState.STOPPED, error, allocation
        if outcome == Outcome.INTERRUPTED or (outcome == Outcome.DONE and is_paused):
            return back, error, allocation
        if outcome == Outcome.NODE_LOST:
            n_lost = trial.n_lost_nodes + 1
            if n_lost < MOST_LOST_NODES:
                return back, error, allocation
            text = f"{counted(n_lost, 'nodes')} in a row were lost while they trained this trial, without new work"
            return TrialState.FAILED, f"{text}: {error}", allocation
        if outcome == Outcome.DONE:
            if is_full or segment.reached > segment.resource:
                return TrialState.COMPLETED, error, allocation
            wanted = ", ".join(self.spec.objectives.metrics) or "an epoch"
            return TrialState.FAILED, error or f"the training ended without reporting {wanted}", allocation
        if outcome == Outcome.OUT_OF_MEMORY and segment.allocation.per_device > 1:
            fewer = min(self.state.per_device, segment.allocation.per_device - 1)
            return back, error, dataclasses.replace(allocation, per_device=fewer)
        if outcome == Outcome.OUT_OF_MEMORY:
            larger = self._policy.larger(trial.config, trial.allocation)
            if larger is not None and allocation.devices > larger.devices:
                larger = allocation
            if larger is None or larger.devices > self.spec.pool.size:
                return TrialState.OUT_OF_MEMORY, error, allocation
            return back, error, larger
        return (back if trial.n_retries < self.spec.max_retries else TrialState.FAILED), error, allocation

    def _write(self, *events: ev.Event) -> None:
        self._next_action.changed()
        with self._whole():
            self._sink(events)
            for event in events:
                self.state.apply(event)
            self._observe(events)


_MOST_LOGGED = 100  # of one report; each is a column of the tables


def _really_used(segment: Segment, train_s: float) -> tuple[float, float]:
    """Returns the trial's seconds and device-seconds after `train_s` seconds of this segment."""
    return segment.base_train_s + train_s, segment.base_device_s + train_s * segment.share


def _without_clearance(verdict: Pause | Stop, target: int) -> Pause | Stop:
    """Returns the verdict on a trial that was cleared to train to `target` and must not do so any more."""
    reason = verdict.reason
    text = f"{reason.text}; its earlier promotion to {target} is withdrawn"
    return dataclasses.replace(verdict, reason=dataclasses.replace(reason, text=text))


def _is_settled(trial: TrialRecord, segment: Segment, max_resource: int) -> bool:
    """Returns whether a segment did its work: it saved where it had to pause, or the training is complete."""
    if trial.checkpoint is None:
        return False
    if trial.resource >= max_resource:
        return trial.checkpoint.resource >= trial.resource
    return segment.verdict == VerdictKind.PAUSE and segment.saved and trial.checkpoint.resource >= segment.reached


def _reserved(reservation: Reservation | None, now: float) -> ev.DevicesReserved:
    """Returns the event that records a reservation, or the end of one if it is None."""
    if reservation is None:
        return ev.DevicesReserved(
            at=now, trial_id=None, draw=None, allocation=None, target=0, promoted_from=None, rule="", reason=""
        )
    fields = dataclasses.fields(reservation)
    values = {field.name: getattr(reservation, field.name) for field in fields}
    return ev.DevicesReserved(at=now, **{**values, "rule": str(reservation.rule)})
