"""The controller: every decision of a study.

    ask(now, free)     -> Start | Resume | Wait | Done     what the free devices should do next
    report(...)        -> Continue | Pause | Stop          what a trial does after a measurement
    begin, saved, tell                                     facts from the engine

Whatever changes the study is an event: it goes to the sink first (it is durable when the sink returns) and is then
applied to the state, which is a fold over events and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Answer, Continue, Done, Pause, Reason, Resume, Start, Stop, Verdict, Wait
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.schedulers import Promotion
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import Segment, StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import IllegalMoveError

__all__ = ["Controller", "Sink"]

Sink = Callable[[Sequence[ev.Event]], None]
_LOOK_AHEAD = 8  # draws among which a small trial is looked for while devices drain


@final
class Controller:
    """Decides for one study.

    Args:
        state: of a new study, or replayed from a log.
        sink: receives events before they take effect; must be durable on return. A list's `extend` will do.
        whole: entered around each write, so that no signal comes between the log and the state.
    """

    def __init__(
        self, state: StudyState, sink: Sink, *, whole: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.state, self.spec, self.scheduler = state, state.spec, state.scheduler
        self._sink, self._whole = sink, whole
        self._allocation = state.spec.allocation
        self._reserved: Start | Resume | None = None
        self._known: History | None = None  # of the present state

    def ask(self, now: float, free: int) -> Answer:
        """Returns what `free` devices should do next.

        Order: work that was interrupted, promotions (deepest rung first), new trials, promotions out of rungs that
        nobody else will come to, finishers. The first of these that needs more devices than are free keeps its turn
        until they have drained; meanwhile only work that is expected to end by then is started. While none is free
        nothing is chosen: what is right may change by then.
        """
        limit = self._limit(now)
        if limit is not None:
            return self._idle(limit)
        most = self.state.limits.max_parallel
        if most is not None and len(self.state.running) >= most:
            return Wait(Reason("max-parallel", f"{len(self.state.running)} segments run, max_parallel is {most}"))
        if free < 1:
            return Wait(Reason("no-free-devices", f"{len(self.state.running)} segments hold all devices"))
        candidate = self._candidate()
        if candidate is None:
            return self._idle(self._nothing_left())
        limit = self._limit(now, candidate.num_devices, self._pace(candidate))
        if limit is not None:
            return self._idle(limit)
        if candidate.num_devices > free:
            self._reserved = candidate
            filler = self._filler(candidate, free, now)
            if filler is not None:
                return filler
            text = f"trial {candidate.trial_id} needs {candidate.num_devices} devices, {free} are free"
            return Wait(Reason("reservation", text), reserved=candidate.num_devices)
        return candidate

    def _limit(self, now: float, devices: int = 0, epoch_s: float = 0.0) -> Reason | None:
        """Returns the limit that forbids to begin `epoch_s` seconds of training on `devices`, if one does."""
        limits, state = self.state.limits, self.state
        if state.n_failed >= self.spec.max_failures:
            last = max(trial.trial_id for trial in state.trials if trial.state is TrialState.FAILED)
            text = f"{state.n_failed} trials failed, max_failures is {self.spec.max_failures}"
            return Reason("max-failures", f"{text}; `hwtune logs {last}` shows why, a higher limit goes on")
        if limits.max_time_s is not None:
            wall_s = state.wall_s(now)
            if wall_s + epoch_s >= limits.max_time_s:
                return Reason("limit:max_time", f"{wall_s:.0f} s of {limits.max_time_s:.0f} s are spent")
        if limits.max_cost_usd is not None:
            usd = state.billed_usd(now)
            coming_s = state.committed_s(now) + epoch_s * devices
            if usd + coming_s * self.spec.pool.usd_per_device_s >= limits.max_cost_usd:
                return Reason("limit:max_cost", f"{usd:.4g} USD of {limits.max_cost_usd:.4g} USD are spent")
        return None

    def _pace(self, candidate: Start | Resume) -> float:
        """Returns the seconds that one epoch of a candidate may take: its own pace, else the slowest seen."""
        last = self.state.trials[candidate.trial_id].last if isinstance(candidate, Resume) else None
        return last.train_s / last.resource if last is not None else self.state.slowest_s

    def _filler(self, reserved: Start | Resume, free: int, now: float) -> Start | Resume | None:
        """Returns work for the devices that drain for `reserved`, if it is expected to end before they have.

        Backfilling as in EASY: Lifka, "The ANL/IBM SP scheduling system", 1995.
        """
        span_s = self.state.drain_s(reserved.num_devices - free, now)
        large = {trial.trial_id for trial in self.state.trials if trial.num_devices > free}
        for option in (
            self._promotion(self.state.running.keys() | large | {reserved.trial_id}),
            self._small(reserved, free),
        ):
            if option is not None and self._duration(option) <= span_s:
                return option
        return None

    def _duration(self, candidate: Start | Resume) -> float:
        """Returns the seconds a candidate is expected to train; infinity if nothing is known yet."""
        pace_s = self._pace(candidate)
        checkpoint = self.state.trials[candidate.trial_id].checkpoint if isinstance(candidate, Resume) else None
        epochs = candidate.target - (checkpoint.resource if checkpoint else 0)
        return epochs * pace_s if pace_s > 0 else math.inf

    def _small(self, reserved: Start | Resume, free: int) -> Start | None:
        """Returns one of the next draws that fits the free devices; the draws it overtakes keep their places."""
        if self.state.enqueued:
            return None
        held = {reserved.draw} if isinstance(reserved, Start) and reserved.draw is not None else set()
        ahead = sorted(self.state.skipped) + list(range(self.state.next_draw, self.state.next_draw + _LOOK_AHEAD))
        for draw in ahead:
            if draw in held or not self._has_room_for(draw, held):
                continue
            option = self._drawn(draw)
            if option is None or option.num_devices <= free:
                return option
        return None

    def _has_room_for(self, draw: int, held: set[int]) -> bool:
        """Tells whether the limit of trials leaves room for this draw and for all that it overtakes."""
        if self.state.limits.max_trials is None:
            return True
        overtaken = self.state.skipped | held | set(range(self.state.next_draw, draw))
        return len(self.state.trials) + len(overtaken | {draw}) <= self.state.limits.max_trials

    def _idle(self, reason: Reason) -> Wait | Done:
        if self.state.running:
            return Wait(Reason(reason.rule, f"{reason.text}; {len(self.state.running)} segments still run"))
        return Done(reason)

    def _nothing_left(self) -> Reason:
        text = f"{len(self.state.trials)} trials, {self.state.n_full} fully trained, nothing left to promote"
        if self.state.limits.max_trials is not None and len(self.state.trials) >= self.state.limits.max_trials:
            return Reason("limit:max_trials", text)
        return Reason("exhausted", f"{text}, and the searcher has no further configuration")

    def _candidate(self) -> Start | Resume | None:
        reserved = self._reserved  # until it begins: asking twice gives the same answer
        if isinstance(reserved, Start) and self._may_create() and (reserved.draw is None or not self.state.enqueued):
            return self._new() if reserved.draw is None else self._drawn(reserved.draw)
        if isinstance(reserved, Resume) and self._still_due(reserved):
            return reserved
        self._reserved = None
        return self._unfinished() or self._promotion() or self._new() or self._closing() or self._finisher()

    def _still_due(self, reserved: Resume) -> bool:
        """Tells whether the trial that waits for devices is still the right one to start."""
        if reserved.trial_id in self.state.running:
            return False
        if reserved.promoted_from is None:
            return reserved.trial_id in self.state.waiting
        if reserved.reason.rule == "finisher":
            return self._n_finishers_due() > 0
        if reserved.reason.rule == "closing":
            return self._new() is None
        return self.scheduler.is_promotable(reserved.trial_id, reserved.promoted_from)

    def _unfinished(self) -> Resume | None:
        """Trials that are cleared to go on but are in no segment: interrupted, retried, or at a limit."""
        if not self.state.waiting:
            return None
        trial = self.state.trials[min(self.state.waiting)]
        begun = f"from {trial.checkpoint.resource}" if trial.checkpoint else "from scratch"
        reason = Reason("unfinished", f"cleared to {trial.target}, goes on {begun}")
        return Resume(trial.trial_id, trial.num_devices, trial.target, None, reason)

    def _promotion(self, exclude: Container[int] | None = None) -> Resume | None:
        return self._promoted(self.scheduler.promotable(exclude=self.state.running if exclude is None else exclude))

    def _closing(self) -> Resume | None:
        """Returns a promotion out of a rung that would wait for ever, as no further trial can begin."""
        return self._promoted(self.scheduler.closing(exclude=self.state.running))

    def _promoted(self, promotion: Promotion | None) -> Resume | None:
        if promotion is None:
            return None
        trial = self.state.trials[promotion.trial_id]
        return Resume(trial.trial_id, trial.num_devices, promotion.target, promotion.level, promotion.reason)

    def _may_create(self) -> bool:
        return self.state.limits.max_trials is None or len(self.state.trials) < self.state.limits.max_trials

    def _new(self) -> Start | None:
        if not self._may_create():
            return None
        if self.state.enqueued:
            return self._start(self.state.enqueued[0], None)
        return self._drawn(min(self.state.skipped, default=self.state.next_draw))

    def _drawn(self, draw: int) -> Start | None:
        config = self.spec.searcher.propose(self.spec.space, draw, self.spec.seed, self._history())
        return None if config is None else self._start(config, draw)

    def _start(self, config: Mapping[str, Any], draw: int | None) -> Start:
        trial_id = len(self.state.trials)
        bracket = self.scheduler.draw_bracket(stream(self.spec.seed, "bracket", trial_id))
        origin = "enqueued by the user" if draw is None else f"draw {draw} of the {self.spec.searcher.name} searcher"
        return Start(
            trial_id=trial_id,
            config=config,
            num_devices=self._allocation.devices(config),
            bracket=bracket,
            target=self.scheduler.first_target(bracket),
            seed=int(stream(self.spec.seed, "trial", trial_id).integers(2**31 - 1)),
            source="enqueued" if draw is None else "searcher",
            draw=draw,
            reason=Reason("new", origin),
        )

    def _history(self) -> History:
        if self._known is None:
            self._known = History(self.state.trials, self.spec.objectives)
        return self._known

    def _n_finishers_due(self) -> int:
        """How many more trials should be trained to the end, once nothing else is left to do."""
        under_way = sum(trial.target >= self.scheduler.max_resource for trial in self._running_trials())
        return self.state.limits.finishers - self.state.n_full - under_way

    def _running_trials(self) -> list[TrialRecord]:
        return [self.state.trials[trial_id] for trial_id in self.state.running]

    def _finisher(self) -> Resume | None:
        """Returns a front member of the deepest rungs to train to the end, so that the final front offers a choice.

        Each device count that the space searches gets a finisher if one can be had; otherwise the scheduler's order
        decides. Waits while a running trial may still arrive at a rung.
        """
        due, top = self._n_finishers_due(), self.scheduler.max_resource
        if due <= 0 or any(trial.target < top for trial in self._running_trials()):
            return None
        able = [(trial, level) for trial, level in self._unpromoted() if not trial.state.is_final]
        if not able:
            return None
        ends = [t for t in self.state.trials if t.state is TrialState.COMPLETED] + self._running_trials()
        covered = {trial.num_devices for trial in ends}
        uncovered = {trial.num_devices for trial, _ in able} - covered
        pick = able[0]
        if uncovered and due <= len(uncovered):
            pick = next(pair for pair in able if pair[0].num_devices in uncovered)
        trial, level = pick
        n_full = self.state.limits.finishers - due
        text = f"best of rung {level} that was not promoted; {n_full} of {self.state.limits.finishers} finishers so far"
        return Resume(trial.trial_id, trial.num_devices, top, level, Reason("finisher", text))

    def _unpromoted(self) -> list[tuple[TrialRecord, int]]:
        """Trials that no rung promoted and that are in no segment, with their level; the deepest rung's best first."""
        return [(self.state.trials[i], level) for i, level in self.scheduler.finishers() if i not in self.state.running]

    # ------------------------------------------------------------------ facts

    def create(self, now: float) -> None:
        """Writes the study's first event."""
        self._write(ev.StudyCreated(at=now, study=self.spec.name, spec=self.spec.to_dict()))

    def open(self, limits: Limits, now: float, host: str, pid: int, version: str) -> None:
        """A session begins under these limits; segments that a dead controller left behind end as interrupted."""
        died_at = self.state.last_at
        self._write(ev.SessionOpened(at=now, limits=limits.to_dict(), host=host, pid=pid, version=version))
        for segment in list(self.state.running.values()):
            wall_s = max(died_at - segment.started_at, 0.0)
            self.tell(segment.trial_id, now, "interrupted", error="its controller ended", wall_s=wall_s)

    def close(self, now: float, state: str, reason: str) -> None:
        """The session ends; no segment runs any more."""
        self._write(ev.SessionClosed(at=now, state=state, reason=reason, wall_s=self.state.session_s(now)))

    def enqueue(self, config: Mapping[str, Any], now: float) -> None:
        """A configuration to be tried before the searcher's.

        Raises:
            ArgumentError: it is no point of the space.
        """
        self._write(ev.ConfigEnqueued(at=now, config=self.spec.space.validate(config)))

    def note(self, trial_id: int | None, text: str, now: float) -> None:
        """A line for the story."""
        self._write(ev.Noted(at=now, trial_id=trial_id, text=text))

    def begin(self, decision: Start | Resume, slots: Sequence[int], now: float) -> Segment:
        """A decision of `ask` is carried out on these device slots; returns the new segment."""
        events: list[ev.Event] = []
        if isinstance(decision, Start):
            events.append(
                ev.TrialCreated(
                    at=now,
                    trial_id=decision.trial_id,
                    config=dict(decision.config),
                    seed=decision.seed,
                    bracket=decision.bracket,
                    target=decision.target,
                    source=decision.source,
                    draw=decision.draw,
                    reason=decision.reason.text,
                )
            )
            number, checkpoint, promoted_from = 1, None, None
        else:
            trial = self.state.trials[decision.trial_id]
            number, checkpoint, promoted_from = trial.segment + 1, trial.checkpoint, decision.promoted_from
            if checkpoint is None and trial.measurements:
                text = f"it has no checkpoint: {trial.resource} {self.scheduler.unit} are trained again from scratch"
                events.append(ev.Noted(at=now, trial_id=trial.trial_id, text=text))
        events.append(
            ev.SegmentStarted(
                at=now,
                trial_id=decision.trial_id,
                segment=number,
                num_devices=decision.num_devices,
                slots=list(slots),
                checkpoint=checkpoint.path if checkpoint else None,
                resource=checkpoint.resource if checkpoint else 0,
                target=decision.target,
                promoted_from=promoted_from,
                rule=decision.reason.rule,
                reason=decision.reason.text,
            )
        )
        self._write(*events)
        if _is_same(decision, self._reserved):
            self._reserved = None
        return self.state.running[decision.trial_id]

    def report(self, trial_id: int, resource: int, metrics: Mapping[str, float], train_s: float, now: float) -> Verdict:
        """A running trial reports; returns the verdict, which is in the log.

        Args:
            resource: cumulative resource of the trial.
            metrics: a value for each `Metric` objective.
            train_s: training seconds of this segment so far.

        Raises:
            IllegalMoveError: the trial is in no segment.
            MetricError: an objective has no value.
        """
        segment, trial = self._running(trial_id), self.state.trials[trial_id]
        measurement = self._measure(segment, resource, metrics, train_s)
        level, verdict, target = self._judge(trial, measurement)
        if isinstance(verdict, Continue):
            epoch_s = train_s / max(resource - segment.resource, 1)
            limit = self._limit(now, segment.num_devices, epoch_s)
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
                verdict=verdict.kind,
                target=target,
                rule=verdict.reason.rule,
                reason=verdict.reason.text,
            )
        )
        return verdict

    def _running(self, trial_id: int) -> Segment:
        if trial_id not in self.state.running:
            raise IllegalMoveError(f"trial {trial_id} is in no segment")
        return self.state.running[trial_id]

    def _measure(self, segment: Segment, resource: int, metrics: Mapping[str, float], train_s: float) -> Measurement:
        total_s = segment.base_train_s + train_s
        device_s = segment.base_device_s + train_s * segment.num_devices
        measured = {
            TrainSeconds.name: total_s,
            DeviceSeconds.name: device_s,
            Cost.name: device_s * self.spec.pool.usd_per_device_s,
        }
        values = {**{key: float(value) for key, value in metrics.items()}, **measured}
        self.spec.objectives.loss(values)  # raises for a missing one before anything is written
        kept = {name: values[name] for name in self.spec.objectives.names}
        return Measurement(resource, kept, total_s, device_s)

    def _judge(self, trial: TrialRecord, measurement: Measurement) -> tuple[int | None, Verdict, int]:
        """Returns the level decided here (None: nothing new is decided), the verdict, and the resource cleared to."""
        level = self._level(trial, measurement.resource)
        if level is None:
            return None, self._repeat(trial, measurement.resource), trial.target
        if trial.target > level:
            text = f"was promoted to {trial.target} before it came to {level}"
            return level, Continue(Reason("cleared", text)), trial.target
        verdict = self.scheduler.verdict(
            trial.trial_id, trial.bracket, level, self.spec.objectives.loss(measurement.values)
        )
        target = self.scheduler.next_target(trial.bracket, level) if isinstance(verdict, Continue) else trial.target
        return level, verdict, target

    def _level(self, trial: TrialRecord, resource: int) -> int | None:
        """The deepest undecided level that this resource reaches; with epochs a report falls on it exactly."""
        floor = max(trial.decided, default=0)
        first = self.scheduler.first_target(trial.bracket)
        return max(
            (level for level in self.scheduler.levels if max(floor + 1, first) <= level <= resource), default=None
        )

    def _repeat(self, trial: TrialRecord, resource: int) -> Verdict:
        """The answer where nothing new is decided: between rungs, or where work is done again after a loss."""
        if resource >= self.scheduler.max_resource:
            return Stop(
                Reason("max-resource", f"trained to the full {self.scheduler.max_resource} {self.scheduler.unit}")
            )
        if resource in trial.decided:
            return Continue(Reason("repeated", f"rung {resource} was decided before: {trial.decided[resource]}"))
        return Continue(Reason("between-rungs", f"next decision at {trial.target}"))

    def saved(
        self, trial_id: int, path: str, digest: str, n_bytes: int, resource: int, train_s: float, now: float
    ) -> None:
        """A checkpoint of a running trial is complete under this relative path."""
        segment = self._running(trial_id)
        self._write(
            ev.CheckpointSaved(
                at=now,
                trial_id=trial_id,
                segment=segment.number,
                path=path,
                digest=digest,
                n_bytes=n_bytes,
                resource=resource,
                train_s=segment.base_train_s + train_s,
                device_s=segment.base_device_s + train_s * segment.num_devices,
            )
        )

    def removed(self, trial_id: int, path: str, reason: str, now: float) -> None:
        """A checkpoint file is about to be deleted: from now on nothing relies on it."""
        self._write(ev.CheckpointRemoved(at=now, trial_id=trial_id, path=path, reason=reason))

    def tell(
        self,
        trial_id: int,
        now: float,
        outcome: str,
        *,
        error: str = "",
        reached_end: bool = False,
        wall_s: float | None = None,
        world_size: int = 0,
    ) -> TrialState:
        """A segment ended; returns the trial's new state. See `events.SegmentEnded` for the outcomes.

        Args:
            reached_end: user code returned although no verdict had ended it, e.g. by an early stopping of its own.
            wall_s: start request to release; measured up to `now` if not given.
        """
        segment, trial = self._running(trial_id), self.state.trials[trial_id]
        wall_s = now - segment.started_at if wall_s is None else wall_s
        state, error, devices = self._outcome(trial, segment, outcome, error, reached_end)
        device_s = wall_s * segment.num_devices
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
                billed_usd=device_s * self.spec.pool.usd_per_device_s,
                world_size=world_size,
                next_devices=devices,
            )
        )
        return state

    def _outcome(
        self, trial: TrialRecord, segment: Segment, outcome: str, error: str, reached_end: bool
    ) -> tuple[TrialState, str, int]:
        """Returns the trial's next state, the error to keep, and the devices of its next segment."""
        devices, back = trial.num_devices, TrialState.PAUSED if trial.checkpoint else TrialState.WAITING
        if trial.decided.get(trial.resource) == "stop" and trial.resource < self.scheduler.max_resource:
            return TrialState.STOPPED, error, devices
        if outcome == "interrupted":
            return back, error, devices
        if outcome == "done":
            return (*self._done(trial, segment, reached_end, back, error), devices)
        if outcome == "out-of-memory":
            larger = self._allocation.larger(trial.num_devices)
            if larger is None or larger > self.spec.pool.size:
                return TrialState.INFEASIBLE, error, devices
            return back, error, larger
        return (back if trial.n_retries < self.spec.max_retries else TrialState.FAILED), error, devices

    def _done(
        self, trial: TrialRecord, segment: Segment, reached_end: bool, back: TrialState, error: str
    ) -> tuple[TrialState, str]:
        if segment.verdict == "pause":
            return back, error
        if trial.resource >= self.scheduler.max_resource:
            return TrialState.COMPLETED, error
        if segment.reached <= segment.resource:
            wanted = ", ".join(self.spec.objectives.metrics) or "an epoch"
            return TrialState.FAILED, error or f"the training ended without reporting {wanted}"
        return TrialState.COMPLETED, error

    def _write(self, *events: ev.Event) -> None:
        self._known = None
        with self._whole():
            self._sink(events)
            for event in events:
                self.state.apply(event)


def _is_same(decision: Start | Resume, reserved: Start | Resume | None) -> bool:
    """Tells whether a decision is the one that devices were reserved for; a new trial's number may have moved on."""
    if isinstance(decision, Start):
        return isinstance(reserved, Start) and decision.draw == reserved.draw
    return isinstance(reserved, Resume) and decision.trial_id == reserved.trial_id
