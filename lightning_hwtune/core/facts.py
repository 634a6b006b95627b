"""The facts about a study: a fold over the events of its log, with simple questions about them.

`StudyFacts.apply` applies facts and decides nothing. So replaying a log gives the facts that its writer had, even if
the code that decides has changed since. Tables, figures and exports need no more; what a controller needs to decide is
in `core.state`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.added_results import added_record, judged_at
from lightning_hwtune.core.allocation import LOCAL, Allocation
from lightning_hwtune.core.decisions import Reservation, Rule, VerdictKind
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.nodes import NodeRecord
from lightning_hwtune.core.hardware.placement import NodeShape, Placement, free_place
from lightning_hwtune.core.record import FIRST_ERROR, Checkpoint, Measurement, Outcome, TrialRecord, TrialState
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.searchers.new_configs import config_key
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.study_clock import StudyClock
from lightning_hwtune.errors import ArgumentError

__all__ = ["StudyFacts"]

_LOST = (TrialState.FAILED, TrialState.OUT_OF_MEMORY)
_OF_NODES = (ev.NodeRequested, ev.NodeReady, ev.NodeReleased, ev.NodeLost)
_MOVES = (ev.SegmentStarted, ev.SegmentEnded, *_OF_NODES)
"""The events that change which devices of rented nodes are free."""


class StudyFacts:
    """The content of one study's log.

    Attributes:
        trials: by trial id. searched: those of the search. replicates: those that repeat one of them with another seed.
        refits: those that repeat one of them with another training function.
        segments: in order of their start. running: those that have not ended, by trial id.
        waiting: trials of the search that may continue but have no segment.
        reserved: the candidate for which devices are drained; None if there is none.
        added: results from elsewhere, which searchers see; none of them is a trial of this study.
        enqueued: the user's configurations that have no trial yet. next_draw: the number of the searcher's next draw.
        skipped: draws before it that were overtaken and are still to come.
        notes: in the order of the log. topics: of the notes about the whole study, see `events.Noted`.
        limits: of the newest session. search_limits: of the newest one that searched.
        closed: how the newest session ended; None while it is open or if it was killed.
        full: ids of the trials that are fully trained, with finite losses. to_end: of those that trained to the end
            without a pause from the beginning.
        chosen: how the ladder was chosen; None if the user gave it, and until it is chosen.
        stages: the plans of stages, in order; empty if the policy plans none. stage_clock_s: the study's own clock at
            the newest one.
        has_knee_first: whether the knee of a rung is its first finisher; studies of earlier versions do without.
        has_reference_count: whether measured objectives are given at a trial's first number of devices; in studies of
            earlier versions, they are those of the devices that it had.
        has_guard: whether a guard keeps the bill within the limit of money; studies of earlier versions do without.
        most_per_device: how many segments may share a device, since the study has chosen it or one of them ran out of
            memory; None for as many as the pool says.
        slowest_s: the longest time that one unit of resource has taken so far, in seconds.
        slowest_report_s: the longest time between two reports.
        n_repeated: the number of reports of work that was repeated.
        study_id: the permanent id of the study; "" for one of version 0.1.0. session: the number of the newest session;
            None before the first.
        nodes: the machines that were paid for, in order. nodes_up: those that are up, by number.
        is_renting: whether the newest session rents nodes, so that its capacity is that of the nodes that are ready.
        clock: how long the study has been running. ended_usd: the bill of all nodes, and of all segments outside a
            node, that have ended.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.limits = self.search_limits = Limits().resolved(spec)
        self.trials: list[TrialRecord] = []
        self.searched: list[TrialRecord] = []
        self.replicates: list[TrialRecord] = []
        self.refits: list[TrialRecord] = []
        self.segments: list[Segment] = []
        self.running: dict[int, Segment] = {}
        self.waiting: set[int] = set()
        self.reserved: Reservation | None = None
        self.added: list[TrialRecord] = []
        self.enqueued: list[Mapping[str, Any]] = []
        self.notes: list[ev.Noted] = []
        self.topics: set[str] = set()
        self.next_draw = 0
        self.skipped: set[int] = set()
        self.n_failed = 0
        self.full: set[int] = set()
        self.has_knee_first = self.has_guard = False
        self.has_reference_count = False
        self.to_end: set[int] = set()
        self.chosen: ev.LadderChosen | None = None
        self.stages: list[ev.StagePlanned] = []
        self.stage_clock_s = 0.0
        self.most_per_device: int | None = None
        self.slowest_s = 0.0
        self.slowest_report_s = 0.0
        self.n_repeated = 0
        self.clock = StudyClock()
        self.closed: ev.SessionClosed | None = None
        self.study_id = ""
        self.session: ev.SessionOpened | None = None
        self.ended_usd = 0.0
        self.nodes: list[NodeRecord] = []
        self.nodes_up: dict[int, NodeRecord] = {}
        self.is_renting = False
        self.placement = Placement(spec.pool)
        self._free: Mapping[int, tuple[int, ...]] | None = None  # see `free_slots`; None after it may have changed
        self._shapes: Mapping[int, NodeShape] | None = None  # see `shapes`; the same

    @property
    def per_device(self) -> int:
        """How many segments share a device from now on: as in the pool, or fewer after one ran out of memory."""
        pool = self.spec.pool
        return min(pool.most_per_device, self.most_per_device or pool.first_per_device)

    @property
    def places(self) -> int:
        """How many segments of one device the pool has room for."""
        return self.spec.pool.size * self.per_device

    @property
    def ladder(self) -> Ladder:
        """The levels at which trials are judged, their unit and the full training."""
        return self.spec.scheduler.ladder

    @property
    def default_limits(self) -> Mapping[str, Any]:
        """The limits that apply where the user gives none: the defaults with which the study began."""
        return self.session.defaults if self.session is not None else {}

    @property
    def is_replicating(self) -> bool:
        """Whether the newest session trains replicates; it does not search."""
        return self.session is not None and bool(self.session.replication)

    @property
    def n_full(self) -> int:
        """The number of fully trained trials, without replicates."""
        return len(self.full)

    @property
    def n_feasible(self) -> int:
        """The number of fully trained trials that violate no constraint."""
        if not self.spec.objectives.is_constrained:
            return len(self.full)
        return sum(not self.violation(self.trials[trial_id]) for trial_id in self.full)

    def violation(self, trial: TrialRecord) -> float:
        """Returns by how much the last values of a trial violate bounds; 0 if it is feasible, or has no values yet."""
        return self.spec.objectives.violation(trial.last.values) if trial.last is not None else 0.0

    @property
    def last_at(self) -> float:
        """The latest time of an event of the newest session, by that session's clock."""
        return self.clock.last_at

    @property
    def n_to_end(self) -> int:
        """How many of the first trials train to the end without a pause, as chosen when the study began."""
        return self.chosen.n_to_end if self.chosen is not None else 0

    @property
    def n_first_due(self) -> int:
        """How many more new trials train to the end without a pause; one that cannot reach the end is replaced.

        Under a limit of time or money there are none.
        """
        return 0 if self.limits.is_timed else max(self.n_to_end - self._n_first, 0)

    @property
    def n_first_planned(self) -> int:
        """How many trials the study will have trained to the end without a pause, or is training so."""
        return self._n_first + self.n_first_due

    @property
    def _n_first(self) -> int:
        first = (self.trials[trial_id] for trial_id in self.to_end)
        return sum(trial.target >= self.ladder.top and trial.state not in _LOST for trial in first)

    def session_s(self, now: float) -> float:
        """Seconds since the current session began; 0 if none is open."""
        return self.clock.session_s(now)

    def wall_s(self, now: float) -> float:
        """Seconds during which some process ran the study, up to now."""
        return self.clock.driven_s(now)

    def segment_s(self, segment: Segment, now: float) -> float:
        """Seconds that a segment took, up to now if it still runs."""
        running_s = max(self.clock.at(now) - segment.started_clock_s, 0.0)
        return running_s if segment.ended_at is None else segment.wall_s

    def value_at_begin(self, segment: Segment, name: str) -> float:
        """Returns the value of the trial's newest report up to where a segment began; 0 if there is none."""
        reports = self.trials[segment.trial_id].measurements
        before = [report.values[name] for report in reports if report.resource <= segment.resource]
        return before[-1] if before else 0.0

    def billed_usd(self, now: float) -> float:
        """The total bill: of nodes, and of segments outside a node; with what those still up have cost so far."""
        alone = [segment for segment in self.running.values() if segment.node is None]
        up_usd = sum(node.usd(self.clock.at(now)) for node in self.nodes_up.values())
        return self.ended_usd + self.running_usd(alone, now) + up_usd

    def running_usd(self, segments: Sequence[Segment], now: float) -> float:
        """Returns what running segments have cost so far, by their device-seconds."""
        device_s = [self.segment_s(segment, now) * segment.share for segment in segments]
        if not self.spec.has_prices:
            return usd_of(self.spec.pool, sum(device_s))
        configs = [self.trials[segment.trial_id].config for segment in segments]
        return sum(map(self.spec.usd_of, configs, device_s, [segment.allocation.instance for segment in segments]))

    def nodes_of(self, slots: Sequence[int]) -> list[NodeRecord]:
        """Returns the ready nodes with these slots; without rented nodes, the machine of the session, if it is paid."""
        ready = [node for node in self.nodes_up.values() if node.is_ready]
        if not self.is_renting:
            return ready[:1]
        places = {slot // self.placement.stride for slot in slots}
        return [node for node in ready if node.place in places]

    @property
    def stage(self) -> ev.StagePlanned | None:
        """The newest plan of a stage; None if the policy plans none."""
        return self.stages[-1] if self.stages else None

    @property
    def most_nodes(self) -> int:
        """How many nodes may be up: as many as the pool has, or fewer if the plan of the stage says so."""
        planned = self.stage.nodes if self.stage is not None else 0
        return min(planned or self.spec.pool.n_nodes, self.spec.pool.n_nodes)

    @property
    def waits_for_nodes(self) -> bool:
        """True if nothing trains because too few of the nodes, which come and go, are ready."""
        if self.session is None or self.closed is not None or not self.is_renting:
            return False
        if not any(node.is_ready for node in self.nodes_up.values()):
            return True
        return not self.running and self.reserved is not None and not self.has_places([self.reserved.allocation])

    @property
    def capacity(self) -> int:
        """The `places` of the pool or, if nodes are rented, of those that are up, launching ones included."""
        up = sum(node.devices for node in self.nodes_up.values()) if self.is_renting else 0
        return up or self.places

    def on_node(self, node: NodeRecord) -> list[Segment]:
        """Returns the running segments on a node that is up."""
        if not self.is_renting:
            return list(self.running.values()) if node in self.nodes_of(()) else []
        own = self.placement.slots(node.place, node.shape)
        return [s for s in self.running.values() if node.is_ready and not set(own).isdisjoint(s.slots)]

    def is_idle(self, node: NodeRecord) -> bool:
        """Returns whether no segment runs on a rented node that is ready."""
        return len(self.free_slots()[node.place]) == node.devices

    def free_slots(self) -> Mapping[int, tuple[int, ...]]:
        """Returns the free slots of each rented node that is ready, by its place."""
        if self._free is None:
            taken = {slot for s in self.running.values() for slot in s.slots}
            self._free = {
                place: tuple(slot for slot in self.placement.slots(place, shape) if slot not in taken)
                for place, shape in self.shapes.items()
            }
        return self._free

    @property
    def shapes(self) -> Mapping[int, NodeShape]:
        """What each rented node that is ready has, by its place."""
        if self._shapes is None:
            ready = [node for node in self.nodes_up.values() if node.is_ready]
            self._shapes = {node.place: node.shape for node in sorted(ready, key=lambda node: node.place)}
        return self._shapes

    def place_for(self, allocation: Allocation) -> tuple[int, ...] | None:
        """Returns the slots on rented nodes for a segment; None if it fits nowhere."""
        return self.placement.placed(allocation, self.free_slots(), self.shapes)

    def has_place(self, allocation: Allocation, n_free: int) -> bool:
        """Returns whether a segment fits into `n_free` free devices, on rented nodes inside one or on complete ones."""
        return allocation.devices <= n_free and (not self.is_renting or self.place_for(allocation) is not None)

    def free_of_type(self, allocation: Allocation, trial_id: int) -> int:
        """Returns the number of devices that a trial can have without waiting, its present ones included.

        In a pool of several instance types, these are devices of its own type, as far as it has one.
        """
        if not self.is_renting or allocation.instance not in self.placement.types:
            return self.capacity - sum(s.num_devices for i, s in self.running.items() if i != trial_id)
        own, free = self.running.get(trial_id), self.free_slots()
        n_free = sum(len(slots) for place, slots in free.items() if self.shapes[place][0] == allocation.instance)
        return n_free + (own.num_devices if own is not None else 0)

    def is_apart(self, allocation: Allocation, other: Allocation) -> bool:
        """Returns whether a segment would get devices of a node that has no place for another segment."""
        if not self.spec.pool.has_several_kinds or not self.is_renting:
            return False
        slots, homes = self.place_for(allocation) or (), self.placement.homes(other.devices, other.instance)
        return bool(slots) and self.shapes[slots[0] // self.placement.stride] not in homes

    def has_places(self, allocations: Sequence[Allocation]) -> bool:
        """Returns whether segments on these devices can run side by side when nothing else runs."""
        if sum(item.devices for item in allocations) > self.capacity:
            return False
        if not self.is_renting:
            return True
        up = [node.shape for node in self.nodes_up.values()] or list(self.placement.most.elements())
        return self.placement.side_by_side(allocations, up)

    def known_checkpoints(self) -> set[str]:
        """Returns the relative paths of all checkpoints that the log has as valid."""
        return {checkpoint.path for trial in self.trials for checkpoint in trial.checkpoints}

    def require_trial(self, trial_id: int) -> TrialRecord:
        """Returns the trial with this number.

        Raises:
            ArgumentError: there is no such trial.
        """
        n = len(self.trials)
        if not 0 <= trial_id < n:
            known = "0, the only trial" if n == 1 else f"a trial from 0 to {n - 1}"
            raise ArgumentError("trial", trial_id, known if n else "none, because the study has no trials yet")
        return self.trials[trial_id]

    def knows(self, config: Mapping[str, Any]) -> bool:
        """Returns whether a configuration is enqueued or has a trial that did not fail, so need not be enqueued."""
        tried = (trial.config for trial in self.searched if trial.state is not TrialState.FAILED)
        key = config_key(config)  # True and 1 are equal in Python, but not the same option
        return any(config_key(other) == key for other in (*self.enqueued, *tried))

    def apply(self, event: ev.Event) -> None:
        """Applies one fact. Nothing else changes the facts."""
        if isinstance(event, ev.SessionOpened):
            self.clock.opened(event.at)
        else:
            self.clock.seen(event.at)
        _FOLD[type(event)](self, event)
        if isinstance(event, _MOVES):
            self._free = None
        if isinstance(event, _OF_NODES):
            self._shapes = None

    def _study_created(self, event: ev.StudyCreated) -> None:
        self.study_id = event.study_id  # the spec is already known
        self.has_knee_first = event.spec.get("first_finisher") == "knee"
        self.has_guard = event.spec.get("budget") == "guard"
        self.has_reference_count = event.spec.get("seconds_at") == "first-devices"

    def _session_opened(self, event: ev.SessionOpened) -> None:
        self.closed, self.session, self.is_renting = None, event, False
        self.limits = Limits(**event.limits).resolved(self.spec)
        if not event.replication:
            self.search_limits = self.limits
        self.study_id = event.study_id or self.study_id

    def _session_closed(self, event: ev.SessionClosed) -> None:
        self.clock.closed()
        self.closed = event

    def _config_enqueued(self, event: ev.ConfigEnqueued) -> None:
        self.enqueued.append(event.config)

    def _result_added(self, event: ev.ResultAdded) -> None:
        self.spec.objectives.loss(event.values)  # values of constraints may be missing
        self.added.append(added_record(event, self.ladder.levels))

    def _ladder_chosen(self, event: ev.LadderChosen) -> None:
        if self.trials:
            raise ValueError("the ladder was chosen after the first trial")
        self.spec, self.chosen = self.spec.completed(event.settings), event
        for result in self.added:
            result.decided = judged_at(result.target, self.ladder.levels)

    def _packing_chosen(self, event: ev.PackingChosen) -> None:
        self.most_per_device = event.per_device

    def _stage_planned(self, event: ev.StagePlanned) -> None:
        if event.reached and event.reached not in self.ladder.levels[:-1]:
            raise ValueError(f"a stage was planned from {event.reached}, which is not one of the rungs")
        self.stages.append(event)
        self.stage_clock_s = self.clock.reached()

    def _node_requested(self, event: ev.NodeRequested) -> None:
        if event.node != len(self.nodes):
            raise ValueError(f"node {event.node} was requested, but the next number is {len(self.nodes)}")
        instance = InstanceType(**event.instance)
        node = NodeRecord(event.node, instance, event.is_spot, launched_clock_s=self.clock.reached())
        node.rented_as, node.place = event.rented_as, free_place([up.place for up in self.nodes_up.values()])
        node.devices = event.devices or self.spec.pool.node_size
        self.is_renting = self.is_renting or bool(event.rented_as)
        self.nodes.append(node)
        self.nodes_up[event.node] = node

    def _node_ready(self, event: ev.NodeReady) -> None:
        node = self.nodes_up[event.node]
        node.is_ready, node.idle_clock_s = True, self.clock.reached()
        node.launch_s = node.idle_clock_s - node.launched_clock_s

    def _node_ended(self, event: ev.NodeReleased | ev.NodeLost) -> None:
        node = self.nodes_up.pop(event.node)
        node.ended_s, node.billed_usd, node.is_lost = event.up_s, event.billed_usd, isinstance(event, ev.NodeLost)
        self.ended_usd += event.billed_usd

    def _trial_created(self, event: ev.TrialCreated) -> None:
        if event.trial_id != len(self.trials):
            raise ValueError(f"trial {event.trial_id} was created, but the next number is {len(self.trials)}")
        if set(event.config) != set(self.spec.space.active(event.config)):
            raise ValueError(
                f"the parameters {sorted(event.config)} of trial {event.trial_id} are not those of the space"
            )
        trial = TrialRecord(event.trial_id, event.config, event.seed, event.bracket, event.target, event.at)
        trial.allocation, trial.first_target = event.allocation, event.target
        if event.allocation.devices == 0:  # see `upcasts`
            count = int(event.config.get(self.spec.space.devices_key or "", 1))
            trial.allocation = dataclasses.replace(event.allocation, devices=count)
        trial.note, trial.draw = event.reason, event.draw
        trial.best_of = next((metric.name for metric in self.spec.objectives.best_so_far), "")
        self.trials.append(trial)
        if event.replicate_of is not None:
            self._replicated(trial, event.replicate_of, event.refit)
            return
        self.searched.append(trial)
        self.waiting.add(trial.trial_id)
        self._served(None, event.draw)
        if event.draw is None:
            key = config_key(event.config)
            self.enqueued.pop(next((i for i, other in enumerate(self.enqueued) if config_key(other) == key), 0))
        else:
            self.skipped |= set(range(self.next_draw, event.draw))
            self.skipped.discard(event.draw)
            self.next_draw = max(self.next_draw, event.draw + 1)

    def _replicated(self, trial: TrialRecord, origin: int, refit: str) -> None:
        if not 0 <= origin < trial.trial_id or self.trials[origin].is_replicate:
            raise ValueError(f"trial {trial.trial_id} repeats trial {origin}, which is not one of the search")
        trial.replicate_of, trial.refit = origin, refit
        if refit:
            trial.best_of = ""  # it may train without a validation
        (self.refits if refit else self.replicates).append(trial)

    def _trial_stopped(self, event: ev.TrialStopped) -> None:
        trial = self.trials[event.trial_id]
        trial.stopped_because = event.reason
        if event.trial_id not in self.running:
            trial.move(TrialState.STOPPED)
            self.waiting.discard(event.trial_id)

    def _devices_reserved(self, event: ev.DevicesReserved) -> None:
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(Reservation)}
        self.reserved = None if event.allocation is None else Reservation(**fields)

    def _served(self, trial_id: int | None, draw: int | None) -> None:
        """Ends the reservation if its candidate, for which devices were drained, begins."""
        reserved = self.reserved
        if reserved is not None and (reserved.trial_id, reserved.draw) == (trial_id, draw):
            self.reserved = None

    def _segment_started(self, event: ev.SegmentStarted) -> None:
        trial = self.trials[event.trial_id]
        self._served(event.trial_id, None)
        trial.move(TrialState.RUNNING)
        self.clock.began_segment()
        if event.segment == 1 and event.target > trial.first_target:
            self.to_end.add(trial.trial_id)
        trial.segment, trial.target, trial.allocation = event.segment, event.target, event.allocation
        if self.spec.pool.n_nodes > 1:  # the next segment may be on other nodes, but of the same instance type
            instance = event.allocation.instance if event.allocation.instance in self.placement.types else LOCAL
            trial.allocation = Allocation(event.allocation.devices, instance=instance)
        trial.segment_devices = event.allocation.devices
        reference = self.spec.allocator.policy.reference
        trial.reference_devices = trial.reference_devices or reference or event.allocation.devices
        if trial.best_of:  # a best value whose training was lost does not count for the trial
            trial.measurements = [m for m in trial.measurements if m.resource <= event.resource]
            if trial.best_checkpoint is not None and trial.best_checkpoint.resource > event.resource:
                trial.best_checkpoint = None
        start, last = trial.checkpoint, trial.last
        segment = Segment(
            trial_id=event.trial_id,
            number=event.segment,
            allocation=event.allocation,
            slots=tuple(event.slots),
            resource=event.resource,
            started_at=event.at,
            started_clock_s=self.clock.reached(),
            base_train_s=start.train_s if start else 0.0,
            base_device_s=start.device_s if start else 0.0,
            base_reference_s=start.reference_s if start else 0.0,
            base_reference_device_s=start.reference_device_s if start else 0.0,
            reached=event.resource,
            epoch_s=last.train_s / last.resource if last else self.slowest_s,
            report_s=trial.report_s or self.slowest_report_s,
            reported_at=event.at,
            seen_at=event.at,
            train_s=start.train_s if start else 0.0,
            rule=event.rule,
            promoted_from=event.promoted_from,
            node=next((node.number for node in self.nodes_of(event.slots)), None),
        )
        for node in self.nodes_of(event.slots):
            node.has_trained = True
        self.segments.append(segment)
        self.running[event.trial_id] = segment
        self.waiting.discard(event.trial_id)

    def _reported(self, event: ev.Reported) -> None:
        trial, segment = self.trials[event.trial_id], self.running[event.trial_id]
        self.spec.objectives.require(event.values)
        self.n_repeated += event.resource <= trial.resource
        trial.n_lost_nodes = trial.n_lost_nodes if event.resource <= trial.resource else 0
        trial.add(Measurement(event.resource, event.values, event.train_s, event.device_s))
        if segment.start_s is None:
            segment.start_s = max(event.at - segment.started_at - (event.train_s - segment.base_train_s), 0.0)
        segment.seen_at = event.at
        segment.reached, segment.verdict = max(segment.reached, event.resource), event.verdict
        segment.epoch_s = (event.train_s - segment.base_train_s) / max(segment.epochs, 1)
        segment.report_s, segment.train_s = event.train_s - segment.train_s, event.train_s
        segment.reported_at, trial.target = event.at, event.target
        segment.next_allocation = event.next_allocation
        segment.reference_factor, segment.reference_basis = event.reference_factor, event.reference_basis
        if not trial.is_replicate:
            self.slowest_s = max(self.slowest_s, segment.epoch_s)
            self.slowest_report_s = max(self.slowest_report_s, segment.report_s)
        trial.has_diverged = trial.has_diverged or event.rule == Rule.NOT_FINITE
        trial.logged = event.logged or trial.logged
        if event.level is not None:
            if event.level not in self.ladder.levels:
                raise ValueError(f"trial {event.trial_id} was judged at {event.level}, which is not one of its rungs")
            trial.decided[event.level] = VerdictKind.CONTINUE.value if event.target > event.level else event.verdict
            trial.known_from[event.level] = len(self.searched)

    def _checkpoint_saved(self, event: ev.CheckpointSaved) -> None:
        trial = self.trials[event.trial_id]
        reference_s = event.train_s if event.reference_s is None else event.reference_s
        reference_device_s = event.device_s if event.reference_device_s is None else event.reference_device_s
        work = (event.resource, event.train_s, event.device_s, reference_s, reference_device_s)
        saved = Checkpoint(event.path, event.digest, event.n_bytes, *work)
        if trial.best_of and trial.best_at(event.resource) == event.resource:
            trial.best_checkpoint = saved
        segment = self.running[event.trial_id]
        trained_s = max(event.train_s - segment.train_s, 0.0)  # since the newest report
        segment.saving_s += max(event.at - segment.seen_at - trained_s, 0.0)
        segment.seen_at = event.at
        if not event.is_inside:
            trial.checkpoint, segment.saved_train_s = saved, event.train_s
            segment.saved, segment.has_ended_itself = True, event.is_end

    def _checkpoint_removed(self, event: ev.CheckpointRemoved) -> None:
        trial = self.trials[event.trial_id]
        if trial.best_checkpoint is not None and trial.best_checkpoint.path == event.path:
            trial.best_checkpoint = None
        if trial.checkpoint is not None and trial.checkpoint.path == event.path:
            trial.checkpoint = None
            if trial.state is TrialState.PAUSED:
                trial.move(TrialState.WAITING)

    def _segment_ended(self, event: ev.SegmentEnded) -> None:
        trial, segment = self.trials[event.trial_id], self.running.pop(event.trial_id)
        segment.ended_number = len(self.segments) - len(self.running)
        segment.ended_at, segment.outcome, segment.world_size = event.at, event.outcome, event.world_size
        segment.wall_s, segment.billed_usd = event.wall_s, event.billed_usd
        if segment.node is None:  # the bill of a node includes its segments
            self.ended_usd += event.billed_usd
        for node in self.nodes_of(segment.slots):
            node.idle_clock_s = self.clock.reached()
        trial.allocation, trial.max_per_device_batch = event.next_allocation, event.max_per_device_batch
        if event.outcome == Outcome.OUT_OF_MEMORY and event.next_allocation.per_device < segment.allocation.per_device:
            self.most_per_device = min(self.per_device, event.next_allocation.per_device)
        trial.n_lost_nodes += event.outcome == Outcome.NODE_LOST
        if event.outcome not in (Outcome.DONE, Outcome.INTERRUPTED, Outcome.NODE_LOST):
            trial.error = event.error
            trial.n_retries += event.outcome != Outcome.OUT_OF_MEMORY
        elif event.error.startswith(FIRST_ERROR):
            trial.error = event.error
        trial.move(TrialState(event.state))
        if trial.is_replicate:
            return  # the search sees neither its result nor its failure
        if trial.state.is_final:
            self._finished(trial, event)
        elif trial.target > trial.resource or trial.resource >= self.ladder.top:
            self.waiting.add(trial.trial_id)

    def _finished(self, trial: TrialRecord, event: ev.SegmentEnded) -> None:
        if trial.state is TrialState.COMPLETED:
            last = trial.last
            if last is not None and np.isfinite(self.spec.objectives.loss(last.values)).all():
                self.full.add(trial.trial_id)
            trial.decided |= dict.fromkeys(self.levels_not_reached(trial), VerdictKind.STOP.value)
            trial.known_from |= dict.fromkeys(self.levels_not_reached(trial), len(self.searched))
        elif trial.state is TrialState.FAILED:
            trial.error = event.error
            self.n_failed += 1

    @property
    def last_failed(self) -> TrialRecord | None:
        """The newest trial that failed; None if none did."""
        failed = (trial for trial in reversed(self.searched) if trial.state is TrialState.FAILED)
        return next(failed, None)

    def levels_not_reached(self, trial: TrialRecord) -> tuple[int, ...]:
        """Returns the rungs at which a completed trial that ended early by itself is ranked with its last values."""
        if trial.last is None:
            return ()
        lowest = max(trial.first_target, trial.resource + 1)
        return tuple(level for level in self.ladder.levels if level >= lowest)

    def _noted(self, event: ev.Noted) -> None:
        self.notes.append(event)
        if event.trial_id is None:
            self.topics.add(event.topic or event.text)

    def _value_noted(self, event: ev.ValueNoted) -> None:
        trial = self.trials[event.trial_id]
        trial.noted = {**trial.noted, event.key: event.value}

    def _tested(self, event: ev.Tested) -> None:
        trial = self.trials[event.trial_id]
        trial.test_error = event.error
        if not event.error or not trial.tested:  # a failed repetition leaves the earlier results
            trial.tested, trial.tested_by = event.values, event.function


_FOLD: dict[type[ev.Event], Callable[[StudyFacts, Any], None]] = {
    ev.StudyCreated: StudyFacts._study_created,
    ev.SessionOpened: StudyFacts._session_opened,
    ev.SessionClosed: StudyFacts._session_closed,
    ev.ConfigEnqueued: StudyFacts._config_enqueued,
    ev.ResultAdded: StudyFacts._result_added,
    ev.LadderChosen: StudyFacts._ladder_chosen,
    ev.PackingChosen: StudyFacts._packing_chosen,
    ev.StagePlanned: StudyFacts._stage_planned,
    ev.NodeRequested: StudyFacts._node_requested,
    ev.NodeReady: StudyFacts._node_ready,
    ev.NodeReleased: StudyFacts._node_ended,
    ev.NodeLost: StudyFacts._node_ended,
    ev.TrialCreated: StudyFacts._trial_created,
    ev.TrialStopped: StudyFacts._trial_stopped,
    ev.DevicesReserved: StudyFacts._devices_reserved,
    ev.SegmentStarted: StudyFacts._segment_started,
    ev.Reported: StudyFacts._reported,
    ev.CheckpointSaved: StudyFacts._checkpoint_saved,
    ev.CheckpointRemoved: StudyFacts._checkpoint_removed,
    ev.SegmentEnded: StudyFacts._segment_ended,
    ev.Noted: StudyFacts._noted,
    ev.ValueNoted: StudyFacts._value_noted,
    ev.Tested: StudyFacts._tested,
}
