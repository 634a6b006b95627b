"""A study's state: a fold over the events of its log, with simple questions about it.

`StudyState.apply` is the only function that changes the state. It applies facts and decides nothing. So replaying a log
gives the state that its writer had, even if the code that decides has changed since.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.decisions import Reservation
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.record import Checkpoint, Measurement, Outcome, TrialRecord, TrialState
from lightning_hwtune.core.searchers.new_configs import config_key
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.study_clock import StudyClock

__all__ = ["Segment", "StudyState"]


@dataclass(slots=True)
class Segment:
    """One uninterrupted training on one allocation, as recorded in the log.

    Attributes:
        resource: where it began. reached: the highest resource that it reported.
        started_clock_s: the study's own clock at its start (`core.study_clock`).
        epoch_s: seconds per unit of resource. report_s: seconds from one report to the next.
        reported_at: time of its newest report, or of its start. train_s: the trial's training seconds up to then.
        base_train_s, base_device_s: useful work before it, up to the checkpoint it began from.
        has_ended_itself: whether its newest checkpoint is where the training ended by its own rule.
        ended_at: None while it runs. outcome, wall_s: see `events.SegmentEnded`; wall_s is 0 while it runs.
    """

    trial_id: int
    number: int
    allocation: Allocation
    slots: tuple[int, ...]
    resource: int
    started_at: float
    base_train_s: float
    base_device_s: float
    reached: int = 0
    epoch_s: float = 0.0
    report_s: float = 0.0
    reported_at: float = 0.0
    train_s: float = 0.0
    verdict: str = "continue"
    saved: bool = False
    has_ended_itself: bool = False
    ended_at: float | None = None
    outcome: str = ""
    wall_s: float = 0.0
    started_clock_s: float = 0.0
    world_size: int = 0
    billed_usd: float = 0.0
    rule: str = ""

    @property
    def num_devices(self) -> int:
        """The number of its devices."""
        return self.allocation.devices

    @property
    def epochs(self) -> int:
        """The resource that it trained, counting only what it reported."""
        return max(self.reached - self.resource, 0)


@final
class StudyState:
    """The content of one study's log.

    Attributes:
        trials: by trial id. segments: in order of their start. running: those that have not ended, by trial id.
        waiting: trials that may continue but have no segment.
        reserved: the candidate for which devices are drained; None if there is none.
        enqueued: the user's configurations that have no trial yet. next_draw: the number of the searcher's next draw.
        skipped: draws before it that were overtaken and are still to come.
        notes: in the order of the log. topics: of the notes about the whole study, see `events.Noted`.
        limits: of the newest session. closed: how the newest session ended; None while it is open or if it was killed.
        race: the study's rungs. full: ids of the trials that are fully trained, with finite losses.
        slowest_s: the most seconds that one unit of resource has taken so far. slowest_report_s: those of one report.
        study_id: the permanent id of the study; "" for one of version 0.1.0. session: the number of the newest session;
            None before the first.
        clock: how long the study has been running.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.race = spec.race()
        self.limits = Limits().resolved(spec)
        self.trials: list[TrialRecord] = []
        self.segments: list[Segment] = []
        self.running: dict[int, Segment] = {}
        self.waiting: set[int] = set()
        self.reserved: Reservation | None = None
        self.enqueued: list[Mapping[str, Any]] = []
        self.notes: list[ev.Noted] = []
        self.topics: set[str] = set()
        self.next_draw = 0
        self.skipped: set[int] = set()
        self.n_failed = 0
        self.full: set[int] = set()
        self.slowest_s = 0.0
        self.slowest_report_s = 0.0
        self.clock = StudyClock()
        self.closed: ev.SessionClosed | None = None
        self.study_id = ""
        self.session: ev.SessionOpened | None = None
        self._billed_usd = 0.0

    @property
    def n_full(self) -> int:
        """The number of fully trained trials."""
        return len(self.full)

    @property
    def last_at(self) -> float:
        """The latest time of an event of the newest session, by that session's clock."""
        return self.clock.last_at

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

    def billed_usd(self, now: float) -> float:
        """The total bill: what ended segments were charged, and what the running ones have cost so far."""
        running = sum(self.segment_s(segment, now) * segment.num_devices for segment in self.running.values())
        return self._billed_usd + usd_of(self.spec.pool, running)

    def committed_s(self, now: float) -> float:
        """Device-seconds that the running segments still need until each can be paused, at its next report."""
        left = ((s.report_s - (now - s.reported_at)) * s.num_devices for s in self.running.values())
        return sum(seconds for seconds in left if seconds > 0)

    def drain_s(self, n_devices: int, now: float) -> float:
        """Seconds until the running segments have freed `n_devices`, if each trains to its current target."""
        left = sorted(
            (max((self.trials[i].target - s.reached) * s.epoch_s - (now - s.reported_at), 0.0), s.num_devices)
            for i, s in self.running.items()
        )
        for seconds, devices in left:
            n_devices -= devices
            if n_devices <= 0:
                return seconds
        return 0.0

    def known_checkpoints(self) -> set[str]:
        """Returns the relative paths of all checkpoints that the log has as valid."""
        return {checkpoint.path for trial in self.trials for checkpoint in trial.checkpoints}

    def knows(self, config: Mapping[str, Any]) -> bool:
        """Returns whether a configuration is enqueued or has a trial that did not fail, so need not be enqueued."""
        tried = (trial.config for trial in self.trials if trial.state is not TrialState.FAILED)
        key = config_key(config)  # True and 1 are equal in Python, but not the same option
        return any(config_key(other) == key for other in (*self.enqueued, *tried))

    def is_over(self, segment: Segment) -> bool:
        """Returns whether a rung has paused or stopped a running segment, so that it must not train any further.

        This does not include a pause by a limit, because no rung has decided against the trial.
        """
        reached, target = segment.reached, self.trials[segment.trial_id].target
        return segment.verdict != "continue" and target <= reached < self.race.max_resource

    def apply(self, event: ev.Event) -> None:
        """Applies one fact. This is the only function that changes the state."""
        if isinstance(event, ev.SessionOpened):
            self.clock.opened(event.at)
        else:
            self.clock.seen(event.at)
        _FOLD[type(event)](self, event)

    def _study_created(self, event: ev.StudyCreated) -> None:
        self.study_id = event.study_id  # the spec is already known

    def _session_opened(self, event: ev.SessionOpened) -> None:
        self.closed, self.session = None, event
        self.limits = Limits(**event.limits).resolved(self.spec)
        self.study_id = event.study_id or self.study_id

    def _session_closed(self, event: ev.SessionClosed) -> None:
        self.clock.closed()
        self.closed = event

    def _config_enqueued(self, event: ev.ConfigEnqueued) -> None:
        self.enqueued.append(event.config)

    def _trial_created(self, event: ev.TrialCreated) -> None:
        if event.trial_id != len(self.trials):
            raise ValueError(f"trial {event.trial_id} was created, but the next number is {len(self.trials)}")
        if set(event.config) != set(self.spec.space):
            raise ValueError(
                f"the parameters {sorted(event.config)} of trial {event.trial_id} are not those of the space"
            )
        trial = TrialRecord(event.trial_id, event.config, event.seed, event.bracket, event.target, event.at)
        trial.allocation = event.allocation
        if event.allocation.devices == 0:  # see `upcasts`
            count = int(event.config.get(self.spec.space.devices_key or "", 1))
            trial.allocation = dataclasses.replace(event.allocation, devices=count)
        trial.note, trial.draw = event.reason, event.draw
        trial.best_of = next((metric.name for metric in self.spec.objectives.best_so_far), "")
        self.trials.append(trial)
        self.waiting.add(trial.trial_id)
        self.race.joined(trial.trial_id, trial.bracket)
        self._served(None, event.draw)
        if event.draw is None:
            self.enqueued.pop(0)
        else:
            self.skipped |= set(range(self.next_draw, event.draw))
            self.skipped.discard(event.draw)
            self.next_draw = max(self.next_draw, event.draw + 1)

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
        trial.segment, trial.target, trial.allocation = event.segment, event.target, event.allocation
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
            reached=event.resource,
            epoch_s=last.train_s / last.resource if last else self.slowest_s,
            report_s=trial.report_s or self.slowest_report_s,
            reported_at=event.at,
            train_s=start.train_s if start else 0.0,
            rule=event.rule,
        )
        self.segments.append(segment)
        self.running[event.trial_id] = segment
        self.waiting.discard(event.trial_id)
        if event.promoted_from is not None:
            self.race.promoted(event.trial_id, trial.bracket, event.promoted_from)

    def _reported(self, event: ev.Reported) -> None:
        trial, segment = self.trials[event.trial_id], self.running[event.trial_id]
        if segment.verdict == "pause" and self.is_over(segment):
            # only old logs have reports after a pause; such a trial has left the rung in which it had to wait
            self.race.promoted(trial.trial_id, trial.bracket, max(trial.decided))
        measurement = Measurement(event.resource, event.values, event.train_s, event.device_s)
        _insert(trial.measurements, measurement)
        segment.reached, segment.verdict = max(segment.reached, event.resource), event.verdict
        segment.epoch_s = (event.train_s - segment.base_train_s) / max(segment.epochs, 1)
        segment.report_s, segment.train_s = event.train_s - segment.train_s, event.train_s
        segment.reported_at, self.slowest_s = event.at, max(self.slowest_s, segment.epoch_s)
        self.slowest_report_s = max(self.slowest_report_s, segment.report_s)
        trial.target = event.target
        loss = self.spec.objectives.loss(measurement.values)
        if event.rule == "not-finite":  # the values may be the best so far of a training that has since diverged
            loss, trial.has_diverged = np.full_like(loss, np.nan), True
        if event.level is not None:
            kind = "continue" if event.target > event.level else event.verdict
            trial.decided[event.level] = kind
            self.race.record(event.trial_id, trial.bracket, event.level, loss, kind)
        self.race.observe(event.trial_id, trial.bracket, event.resource, loss)

    def _checkpoint_saved(self, event: ev.CheckpointSaved) -> None:
        trial = self.trials[event.trial_id]
        saved = Checkpoint(event.path, event.digest, event.n_bytes, event.resource, event.train_s, event.device_s)
        if trial.best_of and trial.best_at(event.resource) == event.resource:
            trial.best_checkpoint = saved
        if not event.is_inside:
            trial.checkpoint = saved
            segment = self.running[event.trial_id]
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
        segment.ended_at, segment.outcome, segment.world_size = event.at, event.outcome, event.world_size
        segment.wall_s, segment.billed_usd = event.wall_s, event.billed_usd
        self._billed_usd += event.billed_usd
        trial.allocation = event.next_allocation
        if event.outcome not in (Outcome.DONE, Outcome.INTERRUPTED):
            trial.error = event.error
            trial.n_retries += event.outcome != Outcome.OUT_OF_MEMORY
        trial.move(TrialState(event.state))
        if trial.state.is_final:
            self._finished(trial, event)
        elif trial.target > trial.resource or trial.resource >= self.race.max_resource:
            self.waiting.add(trial.trial_id)

    def _finished(self, trial: TrialRecord, event: ev.SegmentEnded) -> None:
        if trial.state is TrialState.COMPLETED:
            last = trial.last
            if last is not None and np.isfinite(self.spec.objectives.loss(last.values)).all():
                self.full.add(trial.trial_id)
            self._stand_higher(trial)
            return
        self.race.withdraw(trial.trial_id)
        if trial.state is TrialState.FAILED:
            trial.error = event.error
            self.n_failed += 1

    def _stand_higher(self, trial: TrialRecord) -> None:
        """Ranks a trial that ended early by itself at the higher rungs, with its last values."""
        last = trial.last
        if last is None:
            return
        lowest = max(self.race.first_target(trial.bracket), last.resource + 1)
        for level in self.race.levels:
            if level >= lowest:
                trial.decided[level] = "stop"
                self.race.record(trial.trial_id, trial.bracket, level, self.spec.objectives.loss(last.values), "stop")

    def _noted(self, event: ev.Noted) -> None:
        self.notes.append(event)
        if event.trial_id is None:
            self.topics.add(event.topic or event.text)


def _insert(measurements: list[Measurement], new: Measurement) -> None:
    """Inserts a measurement in ascending order of resource; repeated work replaces the earlier measurements."""
    if not measurements or measurements[-1].resource < new.resource:
        measurements.append(new)
        return
    index = bisect.bisect_left(measurements, new.resource, key=lambda m: m.resource)
    if measurements[index].resource == new.resource:
        measurements[index] = new
    else:
        measurements.insert(index, new)


_FOLD: dict[type[ev.Event], Callable[[StudyState, Any], None]] = {
    ev.StudyCreated: StudyState._study_created,
    ev.SessionOpened: StudyState._session_opened,
    ev.SessionClosed: StudyState._session_closed,
    ev.ConfigEnqueued: StudyState._config_enqueued,
    ev.TrialCreated: StudyState._trial_created,
    ev.DevicesReserved: StudyState._devices_reserved,
    ev.SegmentStarted: StudyState._segment_started,
    ev.Reported: StudyState._reported,
    ev.CheckpointSaved: StudyState._checkpoint_saved,
    ev.CheckpointRemoved: StudyState._checkpoint_removed,
    ev.SegmentEnded: StudyState._segment_ended,
    ev.Noted: StudyState._noted,
}
