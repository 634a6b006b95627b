"""The controller, which makes every decision of a study.

    ask(now, free)     -> Start | Resume | Wait | Done     what the free devices should do next; changes nothing
    reserve(answer)                                        records the candidate for which devices are drained
    report(...)        -> Continue | Pause | Stop          what a trial should do after a measurement
    begin, saved, tell                                     facts from the engine

`NextAction` answers `ask`, `Judge` answers `report`, and `segment_outcome` says what becomes of a trial at `tell`. They
only read the state. The controller turns their answers into events: every change of a study is one. An event is first
passed to the sink, which makes it durable before it returns. It is then applied to the state, which is a fold over
events and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.added_results import checked_result, is_same_result
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.budget import Budget
from lightning_hwtune.core.decisions import (
    Answer,
    Demand,
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
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.packing import packing
from lightning_hwtune.core.judge import Judge
from lightning_hwtune.core.ladder_choice import ladder_choice
from lightning_hwtune.core.last_moment import last_moment_s, without_report
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.reference_count import conversion
from lightning_hwtune.core.schedulers import Race
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.segment_outcome import segment_outcome
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import IllegalMoveError
from lightning_hwtune.text import counted

__all__ = ["Controller", "Sink"]

Sink = Callable[[Sequence[ev.Event]], None]

_MOST_LOGGED = 100  # of one report; each is a column of the tables


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
        self._next_action = NextAction(state)
        self._judge = Judge(state, self._next_action)

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

    def ask(self, now: float, free: int, *, lacks_nodes: bool = False) -> Answer:
        """Returns what `free` devices should do next; see `NextAction.ask`."""
        return self._next_action.ask(now, free, lacks_nodes=lacks_nodes)

    def reserve(self, answer: Answer, now: float) -> None:
        """Records the candidate of an answer for which devices are drained; writes nothing if it is unchanged."""
        if answer.reservation != self.state.reserved:
            self._write(_reserved(answer.reservation, now))

    def pause_at_reports(self, why: str) -> None:
        """From now on, each trial pauses at its next report between epochs, as at a limit; the session is ending."""
        self._judge.interrupt = Reason(Rule.INTERRUPTED, f"{why}; the trial continues from here")

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

    def choose_packing(self, now: float, peak_bytes: int = 0, total_bytes: int = 0) -> None:
        """Chooses how many trials share a GPU, if the study leaves that open, unless it has chosen.

        Args:
            peak_bytes, total_bytes: see `core.hardware.packing`; 0 if nothing was measured.
        """
        if self.spec.pool.is_packed_by_memory and self.state.most_per_device is None:
            found = packing(self.spec.pool, peak_bytes, total_bytes)
            self._write(
                ev.PackingChosen(
                    at=now, per_device=found.per_device, peak_bytes=peak_bytes, total_bytes=total_bytes,
                    reason=found.reason,
                )
            )  # fmt: skip

    def plan_stage(self, now: float) -> None:
        """Asks the allocation policy for the plan of a stage, if it plans stages and one begins now."""
        if (planned := self._next_action.stage(now)) is not None:
            self._write(planned)

    def close(self, now: float, state: ev.SessionState, reason: str, rule: str = "") -> None:
        """Closes the session, in which no segment is running any more."""
        closed = ev.SessionClosed(at=now, state=state, reason=reason, wall_s=self.state.session_s(now), rule=rule)
        self._write(*self._releases(now), closed)

    def _launch(self, now: float) -> list[ev.Event]:
        """Returns the events of a pool with an instance type: it is one node, up from the opening of the session."""
        instance, number = self.spec.pool.instance, len(self.state.nodes)
        if instance is None:  # the nodes of several kinds are rented
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

    def rent(self, rented_as: str, kind: Nodes, now: float, *, is_spot: bool) -> int:
        """Records that a provider launched a node of a kind, under its id; returns the number of the node."""
        number, devices = len(self.state.nodes), kind.n_devices if self.spec.pool.has_several_kinds else 0
        instance = kind.type.to_dict()
        self._write(
            ev.NodeRequested(
                at=now, node=number, instance=instance, is_spot=is_spot, rented_as=rented_as, devices=devices
            )
        )
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

    def demand(self, now: float) -> Demand:
        """Returns the devices of the work that would begin now if they were free."""
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
        trial = self.state.require_trial(trial_id)
        if not trial.state.is_final and not trial.stopped_because:
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

    def tested(self, trial_id: int, values: Mapping[str, float], now: float, **facts: str) -> None:
        """Writes the results of a test of a trial's checkpoint; `facts` are the other fields of `events.Tested`."""
        self._write(ev.Tested(at=now, trial_id=trial_id, values=dict(values), **facts))

    def _on_nodes(self, allocation: Allocation, slots: Sequence[int]) -> Allocation:
        """Returns an allocation with the nodes of its slots, and their instance type."""
        pool, placement = self.spec.pool, self.state.placement
        if pool.n_nodes == 1 or not pool.kinds:
            return allocation
        places = {slot // placement.stride for slot in slots}
        shape = next((self.state.shapes[place] for place in places if place in self.state.shapes), None)
        instance = shape[0] if shape is not None else pool.kinds[0].type.name
        return Allocation(allocation.devices, nodes=max(len(places), 1), instance=instance)

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
                    self._on_nodes(decision.allocation, slots), per_device=self.state.per_device
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
        segment = self._running(trial_id)
        if self.state.is_over(segment):
            reason = Reason(Rule.OVER, f"the verdict for this segment was {segment.verdict} at {segment.reached}")
            return Pause(reason) if segment.verdict == VerdictKind.PAUSE else Stop(reason)
        logged = logged or {}
        judged = self._judge.judge(segment, resource, metrics, train_s, now, is_inside=is_inside, logged=logged)
        measurement, verdict = judged.measurement, judged.verdict
        self._write(
            ev.Reported(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                resource=resource,
                values=dict(measurement.values),
                train_s=measurement.train_s,
                device_s=measurement.device_s,
                level=judged.level,
                verdict=verdict.kind.value,
                target=judged.target,
                rule=str(verdict.reason.rule),
                reason=verdict.reason.text,
                reference_factor=judged.used.factor,
                reference_basis=judged.used.basis,
                next_allocation=judged.devices,
                logged=self._kept(logged) if judged.level is not None or resource >= judged.target else {},
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
        used, (total_s, device_s) = conversion(self.state, segment, resource, train_s), segment.used_s(train_s)
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
        global_batch: int = 0,
    ) -> TrialState:
        """Records the end of a segment and returns the trial's new state. See `Outcome`.

        Args:
            wall_s: seconds from the start request to the release of the devices; by default measured up to `now`.
            reached_end: whether the training ended by itself, in which case a pause at its end has no effect.
            global_batch: the batch that the training can divide further after running out of memory; 0 if it cannot.
        """
        segment = self._running(trial_id)
        wall_s = self.state.segment_s(segment, now) if wall_s is None else wall_s
        after = segment_outcome(self.state, segment, outcome, error, reached_end=reached_end, global_batch=global_batch)
        device_s = wall_s * segment.share
        self._write(
            ev.SegmentEnded(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                outcome=after.outcome,
                state=after.state,
                error=after.error,
                wall_s=wall_s,
                device_s=device_s,
                billed_usd=self.spec.usd_of(self.state.trials[trial_id].config, device_s, segment.allocation.instance),
                world_size=world_size,
                next_allocation=after.allocation,
                max_per_device_batch=after.max_per_device_batch,
            )
        )
        return after.state

    def _write(self, *events: ev.Event) -> None:
        self._next_action.changed()
        with self._whole():
            self._sink(events)
            for event in events:
                self.state.apply(event)
            self._observe(events)


def _reserved(reservation: Reservation | None, now: float) -> ev.DevicesReserved:
    """Returns the event that records a reservation, or the end of one if it is None."""
    if reservation is None:
        return ev.DevicesReserved(
            at=now, trial_id=None, draw=None, allocation=None, target=0, promoted_from=None, rule="", reason=""
        )
    fields = dataclasses.fields(reservation)
    values = {field.name: getattr(reservation, field.name) for field in fields}
    return ev.DevicesReserved(at=now, **{**values, "rule": str(reservation.rule)})
