"""The controller under every interleaving Hypothesis can think of: failures, losses, kills, late reports, evictions.

The machine plays engine, trials and user at once. It holds the controller to what must be true at any moment, and at
the end drives the study home: it must end, with everything accounted for.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Done, Resume, Start
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, RunToEnd, SuccessiveHalving
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import IllegalMoveError

pytestmark = pytest.mark.slow

ERRORS = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf, -math.inf]), st.floats(0, 1))
STEPS_A_TRIAL = 30  # nine epochs and three segments, and some of them again
SCHEDULERS = {
    "promotion": ASHA(max_epochs=9),
    "strict": ASHA(max_epochs=9, strict=True),
    "brackets": ASHA(max_epochs=9, brackets=2),
    "stopping": ASHA(max_epochs=9, type="stopping"),
    "run to end": RunToEnd(max_epochs=3),
    "halving": SuccessiveHalving(max_epochs=9),
    "hyperband": Hyperband(max_epochs=9),
    "pasha": PASHA(max_epochs=9),
    "median": MedianStopping(max_epochs=9),
}


def _has_done_its_work(trial: TrialRecord, segment: Segment, max_resource: int) -> bool:
    """Return whether a process that is lost now had obeyed its verdict: then nothing is repeated."""
    if trial.resource == max_resource:
        return trial.checkpoint is not None and trial.checkpoint.resource == max_resource
    checkpoint = trial.checkpoint if segment.saved and segment.verdict == "pause" else None
    return checkpoint is not None and checkpoint.resource >= segment.reached


class ControllerMachine(RuleBasedStateMachine):
    """A study on a pool of three devices, with trials on one or two of them."""

    scheduler = SCHEDULERS["promotion"]
    is_single = True

    @initialize(seed=st.integers(0, 3), max_trials=st.integers(1, 6), finishers=st.integers(0, 3))
    def begin(self, seed: int, max_trials: int, finishers: int) -> None:
        objectives = Objectives(Metric("error", "min")) if self.is_single else None
        self.study = spec(
            scheduler=self.scheduler, devices=3, seed=seed, objectives=objectives, max_failures=1000, max_retries=1
        )
        self.limits = Limits(max_trials=max_trials, finishers=finishers)
        self.log: list[ev.Event] = []
        self.driver = Driver(self.study, self.limits, log=self.log)
        self.owed: dict[int, str] = {}  # trials with a verdict that they have not obeyed yet
        self.begun: list[tuple[Start | Resume, list[int]]] = []

    # ------------------------------------------------------------------ what is there

    @property
    def state(self) -> StudyState:
        return self.driver.state

    def one(self, data: st.DataObject, among: Any) -> int:
        return data.draw(st.sampled_from(sorted(among)))

    # ------------------------------------------------------------------ the engine

    @rule()
    def ask(self) -> None:
        """Asks once, and begins what is answered."""
        answer = self.driver.controller.ask(self.driver.now, self.driver.free)
        if isinstance(answer, Start | Resume):
            assert answer.num_devices <= self.driver.free
            assert answer.trial_id not in self.state.running
            if isinstance(answer, Resume) and answer.reason.rule == "promotion":
                self.check_promotion(answer.trial_id, answer.promoted_from)
            self.driver.begin(answer)
        elif isinstance(answer, Done):
            assert not self.state.running

    @rule()
    def ask_again(self) -> None:
        """A question changes nothing."""
        before, n_events = snapshot(self.state), len(self.log)
        first = self.driver.controller.ask(self.driver.now, self.driver.free)
        assert self.driver.controller.ask(self.driver.now, self.driver.free) == first
        assert _text(snapshot(self.state)) == _text(before)
        assert len(self.log) == n_events

    @precondition(lambda self: set(self.state.running) - set(self.owed))
    @rule(data=st.data(), error=ERRORS)
    def report(self, data: st.DataObject, error: float) -> None:
        """A running trial finishes an epoch."""
        trial_id = self.one(data, set(self.state.running) - set(self.owed))
        self.epoch(trial_id, error)

    def epoch(self, trial_id: int, error: float) -> None:
        segment, trial = self.state.running[trial_id], self.state.trials[trial_id]
        if (
            segment.reached >= self.scheduler.max_resource
        ):  # it failed after its last checkpoint: nothing is left to train
            assert self.end(trial_id, "done") is TrialState.COMPLETED
            return
        resource = segment.reached + 1
        before = dict(trial.decided)
        self.driver.now += 0.25
        train_s = (resource - segment.resource) * self.driver.epoch_s(segment.num_devices)
        verdict = self.driver.controller.report(trial_id, resource, {"error": error}, train_s, self.driver.now)
        assert resource <= self.scheduler.max_resource
        if resource == self.scheduler.max_resource:
            assert verdict.kind == "stop"
        if verdict.reason.rule == "promotion" and verdict.kind == "continue":
            assert resource not in before
            self.check_promotion(trial_id, resource)
        if verdict.kind != "continue":
            self.owed[trial_id] = verdict.kind

    @precondition(lambda self: self.state.running)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        """A running trial saves what it has reached."""
        trial_id = self.one(data, self.state.running)
        segment = self.state.running[trial_id]
        if segment.reached > segment.resource:
            train_s = (segment.reached - segment.resource) * self.driver.epoch_s(segment.num_devices)
            self.driver.save(trial_id, segment.reached, train_s)

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), is_saved=st.booleans())
    def obey(self, data: st.DataObject, is_saved: bool) -> None:
        """A trial obeys its verdict; its function may have saved, or not."""
        trial_id = self.one(data, self.owed)
        self.end_in_order(trial_id, is_saved)

    def end_in_order(self, trial_id: int, is_saved: bool = True) -> None:
        segment = self.state.running[trial_id]
        if is_saved and segment.reached > segment.resource:
            train_s = (segment.reached - segment.resource) * self.driver.epoch_s(segment.num_devices)
            self.driver.save(trial_id, segment.reached, train_s)
        self.end(trial_id, "done")

    def end(self, trial_id: int, outcome: str, **kwargs: Any) -> TrialState:
        self.owed.pop(trial_id, None)
        self.driver.due.pop(trial_id, None)
        trial, segment = self.state.trials[trial_id], self.state.running[trial_id]
        has_done_all = _has_done_its_work(trial, segment, self.scheduler.max_resource)
        is_repeated = outcome == "error" or (outcome == "lost" and not has_done_all)
        n_retries = trial.n_retries + is_repeated
        state = self.driver.controller.tell(trial_id, self.driver.now, outcome, error=outcome, world_size=1, **kwargs)
        assert self.state.trials[trial_id].state is state
        assert trial_id not in self.state.running
        assert self.state.trials[trial_id].n_retries == n_retries
        return state

    @precondition(lambda self: self.state.running)
    @rule(data=st.data(), outcome=st.sampled_from(["error", "lost", "out-of-memory", "interrupted"]))
    def go_wrong(self, data: st.DataObject, outcome: str) -> None:
        """A segment ends badly, at any moment; also between a verdict and its obedience."""
        trial_id = self.one(data, self.state.running)
        trial, devices = self.state.trials[trial_id], self.state.running[trial_id].num_devices
        n_retries = trial.n_retries
        is_stopped = self.owed.get(trial_id) == "stop" and trial.resource < self.scheduler.max_resource
        is_unwanted = bool(trial.stopped_because)
        state = self.end(trial_id, outcome)
        if is_unwanted:  # unless it was complete before its process was lost
            assert state in (TrialState.STOPPED, TrialState.COMPLETED)
            assert state is TrialState.STOPPED or trial.resource >= self.scheduler.max_resource
        elif is_stopped:
            assert state is TrialState.STOPPED
        elif outcome == "out-of-memory":
            assert state is TrialState.OUT_OF_MEMORY if devices == 2 else trial.num_devices == 2
        elif outcome == "interrupted":
            assert not state.is_final
        else:
            assert (state is TrialState.FAILED) == (trial.n_retries > n_retries >= 1)

    @precondition(lambda self: set(self.state.running) - set(self.owed))
    @rule(data=st.data())
    def stop_by_itself(self, data: st.DataObject) -> None:
        """User code returns although it was not asked to, for example by its own early stopping."""
        trial_id = self.one(data, set(self.state.running) - set(self.owed))
        segment, trial = self.state.running[trial_id], self.state.trials[trial_id]
        is_unwanted = trial.stopped_because and trial.resource < self.scheduler.max_resource
        has_something = segment.reached > segment.resource or trial.resource >= self.scheduler.max_resource
        state = self.end(trial_id, "done")
        ended = TrialState.COMPLETED if has_something else TrialState.FAILED
        assert state is (TrialState.STOPPED if is_unwanted else ended)

    @precondition(lambda self: self.state.trials)
    @rule(data=st.data())
    def report_late(self, data: st.DataObject) -> None:
        """Trials in no segment cannot report, save or end."""
        idle = [trial.trial_id for trial in self.state.trials if trial.trial_id not in self.state.running]
        if not idle:
            return
        trial_id, n_events = self.one(data, idle), len(self.log)
        controller, now = self.driver.controller, self.driver.now
        with pytest.raises(IllegalMoveError):
            controller.report(trial_id, 1, {"error": 0.1}, 1.0, now)
        with pytest.raises(IllegalMoveError):
            controller.saved(trial_id, "late", "00", 1, 1, 1.0, now)
        with pytest.raises(IllegalMoveError):
            controller.tell(trial_id, now, "done")
        assert len(self.log) == n_events

    @precondition(lambda self: any(t.checkpoint and t.trial_id not in self.state.running for t in self.state.trials))
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        """The disk budget takes a checkpoint that no running segment uses."""
        able = [t.trial_id for t in self.state.trials if t.checkpoint and t.trial_id not in self.state.running]
        trial = self.state.trials[self.one(data, able)]
        assert trial.checkpoint is not None
        self.driver.controller.removed(trial.trial_id, trial.checkpoint.path, "disk budget", self.driver.now)
        assert trial.checkpoint is None

    # ------------------------------------------------------------------ the user

    @rule(lr=st.sampled_from([0.001, 0.01]), batch_size=st.sampled_from([32, 64]), devices=st.sampled_from([1, 2]))
    def enqueue(self, lr: float, batch_size: int, devices: int) -> None:
        config = {"lr": lr, "batch_size": batch_size, "devices": devices}
        self.driver.controller.enqueue(config, self.driver.now)
        assert self.state.enqueued[-1] == config

    @precondition(lambda self: self.state.trials)
    @rule(data=st.data())
    def stop_for_good(self, data: st.DataObject) -> None:
        """A trial that the user stops never begins again, and a running one gets no other verdict."""
        trial = self.state.trials[self.one(data, range(len(self.state.trials)))]
        was_final, n_events, is_running = trial.state.is_final, len(self.log), trial.trial_id in self.state.running
        self.driver.controller.stop(trial.trial_id, "the user asked for it", self.driver.now)
        self.driver.controller.stop(trial.trial_id, "again", self.driver.now)  # changes nothing
        assert len(self.log) - n_events <= 1
        if not was_final and not is_running:
            assert trial.state is TrialState.STOPPED
        segment = self.state.running.get(trial.trial_id)
        if trial.trial_id in self.owed or segment is None or segment.reached + 1 >= self.scheduler.max_resource:
            return
        self.epoch(trial.trial_id, 0.5)
        assert self.owed[trial.trial_id] == "stop"

    @rule()
    def kill(self) -> None:
        """The controller dies and another process continues from the log."""
        self.reopen()
        assert all(trial.n_retries <= 2 for trial in self.state.trials)

    @rule(more=st.integers(1, 3), finishers=st.integers(0, 3))
    def raise_the_limits(self, more: int, finishers: int) -> None:
        """Everything is interrupted in order, the session closed, and the next one may do more."""
        for trial_id in list(self.state.running):
            self.end(trial_id, "interrupted")
        self.driver.close()
        assert self.limits.max_trials is not None
        self.limits = Limits(max_trials=self.limits.max_trials + more, finishers=finishers)
        self.reopen()

    def reopen(self) -> None:
        retries = [trial.n_retries for trial in self.state.trials]
        self.driver = Driver(self.study, self.limits, log=self.log)
        self.owed.clear()
        assert not self.state.running
        assert [trial.n_retries for trial in self.state.trials] == retries  # no fault of theirs

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def devices_are_held_once(self) -> None:
        slots = [slot for segment in self.state.running.values() for slot in segment.slots]
        assert len(slots) == len(set(slots)) <= 3
        assert sum(segment.num_devices for segment in self.state.running.values()) == len(slots)

    @invariant()
    def states_fit(self) -> None:
        for trial in self.state.trials:
            assert (trial.state is TrialState.RUNNING) == (trial.trial_id in self.state.running)
            if trial.state is TrialState.PAUSED:
                assert trial.checkpoint is not None
            if trial.state is TrialState.WAITING:
                assert trial.checkpoint is None
            is_idle = trial.state in (TrialState.WAITING, TrialState.PAUSED)
            is_cleared = trial.target > trial.resource or trial.resource >= self.scheduler.max_resource
            assert (trial.trial_id in self.state.waiting) == (is_idle and is_cleared)
            if trial.checkpoint is not None:
                assert trial.checkpoint.resource <= trial.resource
            resources = [m.resource for m in trial.measurements]
            assert resources == sorted(set(resources))

    @invariant()
    def totals_hold(self) -> None:
        assert self.limits.max_trials is not None
        assert len(self.state.trials) <= self.limits.max_trials
        assert [trial.trial_id for trial in self.state.trials] == list(range(len(self.state.trials)))
        final = Counter(trial.state for trial in self.state.trials)
        assert self.state.n_failed == final[TrialState.FAILED]
        full = [t for t in self.state.trials if t.state is TrialState.COMPLETED and math.isfinite(_last_error(t))]
        assert self.state.full == {trial.trial_id for trial in full}

    @invariant()
    def the_log_is_the_state(self) -> None:
        assert _text(snapshot(rebuilt_state(self.study, self.log))) == _text(snapshot(self.state))

    @invariant()
    def the_log_tells_a_possible_story(self) -> None:
        """Segments of a trial follow each other; a rung decides each trial once; a draw is used once."""
        is_open: dict[int, int] = {}
        n_segments: Counter[int] = Counter()
        for event in self.log:
            if isinstance(event, ev.SegmentStarted):
                assert event.trial_id not in is_open
                n_segments[event.trial_id] += 1
                assert event.segment == n_segments[event.trial_id]
                is_open[event.trial_id] = event.segment
            elif isinstance(event, ev.SegmentEnded):
                assert is_open.pop(event.trial_id) == event.segment
            elif isinstance(event, ev.Reported | ev.CheckpointSaved):
                assert is_open[event.trial_id] == event.segment
        reported = [event for event in self.log if isinstance(event, ev.Reported) and event.level is not None]
        decided = Counter((event.trial_id, event.level) for event in reported)
        assert all(count == 1 for count in decided.values())
        draws = [e.draw for e in self.log if isinstance(e, ev.TrialCreated) and e.draw is not None]
        assert len(draws) == len(set(draws))

    def check_promotion(self, trial_id: int, level: int | None) -> None:
        """With one objective and one bracket: among the first n // 3 of all that reached the rung, and never before."""
        if not self.is_single or self.scheduler not in (SCHEDULERS["promotion"], SCHEDULERS["strict"]):
            return
        assert level is not None
        losses = {
            e.trial_id: e.values["error"] if math.isfinite(e.values["error"]) else math.inf
            for e in self.log
            if isinstance(e, ev.Reported) and e.level == level
        }
        for trial in self.state.trials:  # those that ended by themselves below stand here with their last values
            if trial.state is TrialState.COMPLETED and trial.last is not None and trial.trial_id not in losses:
                error = trial.last.values["error"]
                losses[trial.trial_id] = error if math.isfinite(error) else math.inf
        order = sorted(losses, key=lambda i: (losses[i], i))
        assert trial_id in order[: len(order) // 3]
        assert math.isfinite(losses[trial_id])
        left = [e for e in self.log if isinstance(e, ev.SegmentStarted) and e.promoted_from == level]
        assert trial_id not in {event.trial_id for event in left}, "promoted twice from one rung"
        if self.scheduler is SCHEDULERS["strict"]:
            on_arrival = [
                e for e in self.log if isinstance(e, ev.Reported) and e.level == level and e.verdict == "continue"
            ]
            assert len({e.trial_id for e in [*left, *on_arrival]} | {trial_id}) <= len(order) // 3

    # ------------------------------------------------------------------ the end

    def teardown(self) -> None:
        """Left to itself, the study ends."""
        if not hasattr(self, "driver"):
            return
        for trial_id in list(self.owed):
            self.end_in_order(trial_id)
        assert self.limits.max_trials is not None
        for _ in range(self.limits.max_trials * STEPS_A_TRIAL):
            self.ask()
            if isinstance(self.driver.controller.ask(self.driver.now, self.driver.free), Done):
                break
            if self.state.running:
                trial_id = min(self.state.running)
                self.epoch(trial_id, abs(hash((trial_id, self.state.running[trial_id].reached))) % 97 / 97)
                if trial_id in self.owed:
                    self.end_in_order(trial_id)
        else:
            raise AssertionError("the study does not end")
        self.check_end()

    def check_end(self) -> None:
        state = self.state
        assert not state.running
        assert not state.waiting, "work that was begun is left over"
        assert len(state.trials) == self.limits.max_trials
        assert not [s for s in state.segments if s.ended_at is None]
        at_rungs = {e.trial_id: e for e in self.log if isinstance(e, ev.Reported) and e.level is not None}
        able = [
            i for i, e in at_rungs.items() if not state.trials[i].state.is_final and math.isfinite(e.values["error"])
        ]
        assert state.n_full >= self.limits.finishers or not able
        self.the_log_is_the_state()
        self.the_log_tells_a_possible_story()


def _last_error(trial: TrialRecord) -> float:
    return trial.last.values["error"] if trial.last else math.nan


def _text(data: Any) -> str:
    return json.dumps(data, sort_keys=True)  # NaN is equal to NaN here


def _case(name: str, is_single: bool) -> Any:
    base = f"{'one' if is_single else 'three'} objectives, {name}"
    machine = type(base, (ControllerMachine,), {"scheduler": SCHEDULERS[name], "is_single": is_single})
    case = machine.TestCase
    case.settings = settings(
        max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    return case


TestPromotion = _case("promotion", True)
TestStrict = _case("strict", True)
TestBrackets = _case("brackets", False)
TestStopping = _case("stopping", False)
TestManyObjectives = _case("promotion", False)
TestRunToEnd = _case("run to end", True)
TestHalving = _case("halving", True)
TestHyperband = _case("hyperband", False)
TestPasha = _case("pasha", False)
TestMedian = _case("median", False)
