"""What free devices should do next: unfinished work, a promotion, a new trial or a finisher.

`NextAction` reads the state of a study without changing it, and keeps no state itself. So the same state always gives
the same answer. Each answer names the candidate, if any, that needs more devices than are free; devices are drained
for that candidate from then on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Mapping
from typing import Any, final

import numpy as np

from lightning_hwtune.core.decisions import Answer, Done, Reason, Reservation, Resume, Rule, Start, Wait
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.schedulers import Promotion
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream

__all__ = ["NextAction"]

_LOOK_AHEAD = 8  # number of draws searched for a small trial while devices drain


@final
class NextAction:
    """Chooses the next action of one study, from its current state."""

    def __init__(self, state: StudyState) -> None:
        self.state, self.spec, self.race = state, state.spec, state.race
        self._policy = state.spec.allocator
        self._known: History | None = None  # cached history of the current state
        self._bound = _Bound(state)

    def changed(self) -> None:
        """Drops what is cached about the state. Call it before the state changes."""
        self._known = None

    def ask(self, now: float, free: int) -> Answer:
        """Returns what `free` devices should do next.

        The order is: interrupted work, promotions (deepest rung first), new trials, promotions from rungs that no other
        trial can reach, finishers. The first candidate that needs more devices than are free keeps its turn until
        enough devices have drained. Until then, only work that is expected to finish in time is started. While no
        device is free, nothing is chosen, because the state may change before one is.
        """
        limit = self.limit(now)
        if limit is not None:
            return self._idle(limit)
        most = self.state.limits.max_parallel
        if most is not None and len(self.state.running) >= most:
            text = f"{self._n_running()} running, and `max_parallel` is {most}"
            return Wait(Reason(Rule.MAX_PARALLEL, text), reservation=self.state.reserved)
        if free < 1:
            text = f"no device is free; {self._n_running()} running"
            return Wait(Reason(Rule.NO_FREE_DEVICES, text), reservation=self.state.reserved)
        reserved = self._reserved()
        kept = self.state.reserved if reserved is not None else None
        candidate = reserved or self._next()
        if candidate is None:
            return dataclasses.replace(self._idle(self._nothing_left()), reservation=None)
        limit = self.limit(now, candidate.num_devices, self._report_s(candidate))
        if limit is not None:
            return dataclasses.replace(self._idle(limit), reservation=kept)
        if candidate.num_devices > free:
            reservation = _reservation_of(candidate)
            filler = self._filler(candidate, free, now)
            if filler is not None:
                return dataclasses.replace(filler, reservation=reservation)
            text = f"trial {candidate.trial_id} needs {candidate.num_devices} devices (free: {free})"
            return Wait(Reason(Rule.RESERVATION, text), candidate.num_devices, reservation)
        return dataclasses.replace(candidate, reservation=kept)

    def limit(self, now: float, devices: int = 0, coming_s: float = 0.0) -> Reason | None:
        """Returns the limit that forbids `coming_s` more seconds of training on `devices`; None if there is none."""
        limits, state = self.state.limits, self.state
        if state.n_failed >= self.spec.max_failures:
            last = max(trial.trial_id for trial in state.trials if trial.state is TrialState.FAILED)
            trials = "1 trial" if state.n_failed == 1 else f"{state.n_failed} trials"
            text = f"{trials} failed, and `max_failures` is {self.spec.max_failures}"
            return Reason(
                Rule.MAX_FAILURES, f"{text}; `hwtune logs {last}` shows why, and a higher limit continues the study"
            )
        if limits.max_time_s is not None:
            wall_s = state.wall_s(now)
            if wall_s + coming_s >= limits.max_time_s:
                return Reason(Rule.LIMIT_MAX_TIME, f"{wall_s:.0f} s of {limits.max_time_s:.0f} s are used")
        if limits.max_cost_usd is not None:
            usd = state.billed_usd(now)
            device_s = state.committed_s(now) + coming_s * devices
            if usd + usd_of(self.spec.pool, device_s) >= limits.max_cost_usd:
                return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {limits.max_cost_usd:.4g} USD are spent")
        return None

    def _pace(self, candidate: Start | Resume) -> float:
        """Returns a candidate's expected seconds per unit of resource: its own pace, or else the slowest seen."""
        last = self.state.trials[candidate.trial_id].last if isinstance(candidate, Resume) else None
        return last.train_s / last.resource if last is not None else self.state.slowest_s

    def _report_s(self, candidate: Start | Resume) -> float:
        """Returns the expected seconds to a candidate's next report: as for its last one, or else the slowest seen."""
        own_s = self.state.trials[candidate.trial_id].report_s if isinstance(candidate, Resume) else 0.0
        return own_s or self.state.slowest_report_s

    def _filler(self, reserved: Start | Resume, free: int, now: float) -> Start | Resume | None:
        """Returns work for the draining devices that should finish before `reserved` can start; None if there is none.

        Backfilling as in EASY: Lifka, "The ANL/IBM SP scheduling system", 1995.
        """
        span_s = self.state.drain_s(reserved.num_devices - free, now)
        large = {trial.trial_id for trial in self.state.trials if trial.num_devices > free}
        for option in (
            self._promotion(_Bound(self.state, large | {reserved.trial_id})),
            self._small(reserved, free),
        ):
            if (
                option is not None
                and self._duration(option) <= span_s
                and self.limit(now, option.num_devices, self._report_s(option)) is None
            ):
                return option
        return None

    def _duration(self, candidate: Start | Resume) -> float:
        """Returns the seconds that a candidate is expected to train; infinity if nothing is known yet."""
        pace_s = self._pace(candidate)
        checkpoint = self.state.trials[candidate.trial_id].checkpoint if isinstance(candidate, Resume) else None
        epochs = candidate.target - (checkpoint.resource if checkpoint else 0)
        return epochs * pace_s if pace_s > 0 else math.inf

    def _small(self, reserved: Start | Resume, free: int) -> Start | None:
        """Returns a trial of one of the next draws that fits the free devices; draws it overtakes keep their places."""
        if self.state.enqueued:
            return None
        pending = {reserved.draw} if isinstance(reserved, Start) and reserved.draw is not None else set()
        ahead = sorted(self.state.skipped) + list(range(self.state.next_draw, self.state.next_draw + _LOOK_AHEAD))
        for draw in ahead:
            if draw in pending or not self._has_room_for(draw, pending):
                continue
            option = self._drawn(draw)
            if option is None or option.num_devices <= free:
                return option
        return None

    def _has_room_for(self, draw: int, pending: set[int]) -> bool:
        """Returns whether the limit of trials leaves room for this draw and for all draws that it overtakes."""
        if self.state.limits.max_trials is None:
            return True
        overtaken = self.state.skipped | pending | set(range(self.state.next_draw, draw))
        return len(self.state.trials) + len(overtaken | {draw}) <= self.state.limits.max_trials

    def _idle(self, reason: Reason) -> Wait | Done:
        if self.state.running:
            text = f"{reason.text}; {self._n_running()} still running"
            return Wait(Reason(reason.rule, text), reservation=self.state.reserved)
        return Done(reason, self.state.reserved)

    def _n_running(self) -> str:
        n = len(self.state.running)
        return "1 segment is" if n == 1 else f"{n} segments are"

    def _nothing_left(self) -> Reason:
        text = f"{len(self.state.trials)} trials, {self.state.n_full} fully trained, nothing left to promote"
        if self.state.limits.max_trials is not None and len(self.state.trials) >= self.state.limits.max_trials:
            return Reason(Rule.LIMIT_MAX_TRIALS, text)
        return Reason(Rule.EXHAUSTED, f"{text}, and the searcher has no further configuration")

    def _reserved(self) -> Start | Resume | None:
        """Returns the candidate for which devices are drained; None if there is none, or if it is no longer due."""
        reserved = self.state.reserved
        if reserved is None:
            return None
        if reserved.trial_id is not None:
            reason = Reason(reserved.rule, reserved.reason)
            due = Resume(reserved.trial_id, reserved.allocation, reserved.target, reserved.promoted_from, reason)
            return due if self._still_due(due) else None
        if not self._may_create() or (reserved.draw is not None and self.state.enqueued):
            return None
        return self._new() if reserved.draw is None else self._drawn(reserved.draw)

    def _next(self) -> Start | Resume | None:
        return self._unfinished() or self._promotion() or self._new() or self._closing() or self._finisher()

    def _still_due(self, reserved: Resume) -> bool:
        """Returns whether the trial that waits for devices is still the right one to start."""
        if reserved.trial_id in self._bound:
            return False
        if reserved.promoted_from is None:
            return reserved.trial_id in self.state.waiting
        if reserved.reason.rule == Rule.FINISHER:
            return self._n_finishers_due() > 0
        if reserved.reason.rule == Rule.CLOSING:
            return self._new() is None
        return self.race.is_promotable(reserved.trial_id, reserved.promoted_from)

    def _unfinished(self) -> Resume | None:
        """Returns a trial that may continue but has no segment: it was interrupted, is retried, or reached a limit."""
        if not self.state.waiting:
            return None
        trial = self.state.trials[min(self.state.waiting)]
        unit = self.race.unit.removesuffix("s")
        reason = Reason(Rule.UNFINISHED, f"its training to {unit} {trial.target} was interrupted")
        return Resume(trial.trial_id, trial.allocation, trial.target, None, reason)

    def _promotion(self, exclude: Container[int] | None = None) -> Resume | None:
        return self._promoted(self.race.promotable(exclude=self._bound if exclude is None else exclude))

    def _closing(self) -> Resume | None:
        """Returns a promotion from a rung that would otherwise wait forever, as no further trial can begin."""
        return self._promoted(self.race.closing(exclude=self._bound))

    def _promoted(self, promotion: Promotion | None) -> Resume | None:
        if promotion is None:
            return None
        trial = self.state.trials[promotion.trial_id]
        return Resume(trial.trial_id, trial.allocation, promotion.target, promotion.level, promotion.reason)

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
        bracket = self.race.draw_bracket(stream(self.spec.seed, "bracket", trial_id))
        origin = "enqueued by the user" if draw is None else f"draw {draw} of the {self.spec.searcher.name} searcher"
        return Start(
            trial_id=trial_id,
            config=config,
            allocation=self._policy.first(config),
            bracket=bracket,
            target=self.race.first_target(bracket),
            seed=int(stream(self.spec.seed, "trial", trial_id).integers(2**31 - 1)),
            source="enqueued" if draw is None else "searcher",
            draw=draw,
            reason=Reason(Rule.NEW, origin),
        )

    def _history(self) -> History:
        if self._known is None:
            self._known = History(self.state.trials, self.spec.objectives)
        return self._known

    def _n_finishers_due(self) -> int:
        """Returns how many more trials should be trained to the end, once nothing else is left to do."""
        under_way = sum(trial.target >= self.race.max_resource for trial in self._running_trials())
        return self.state.limits.n_finishers - self.state.n_full - under_way

    def _running_trials(self) -> list[TrialRecord]:
        return [self.state.trials[trial_id] for trial_id in self.state.running]

    def _finisher(self) -> Resume | None:
        """Returns a front member of the deepest rungs to train to the end, so that the final front offers a choice.

        Each device count in the search space gets a finisher if possible. Otherwise the scheduler's order decides.
        Returns None while a running trial may still reach a rung.
        """
        due, top = self._n_finishers_due(), self.race.max_resource
        if due <= 0 or any(trial.target < top for trial in self._running_trials()):
            return None
        able = [(trial, level) for trial, level in self._unpromoted() if self._may_finish(trial)]
        if not able:
            return None
        ends = [self.state.trials[i] for i in self.state.full] + self._running_trials()
        covered = {trial.num_devices for trial in ends}
        uncovered = {trial.num_devices for trial, _ in able} - covered
        pick = able[0]
        if uncovered and due <= len(uncovered):
            pick = next(pair for pair in able if pair[0].num_devices in uncovered)
        trial, level = pick
        wanted = self.state.limits.n_finishers
        number = f"number {wanted - due + 1} of {wanted} to be trained to the end"
        text = f"best of rung {level} that was not promoted, {number}"
        return Resume(trial.trial_id, trial.allocation, top, level, Reason(Rule.FINISHER, text))

    def _may_finish(self, trial: TrialRecord) -> bool:
        """Returns whether a trial can run again and its last losses are finite."""
        loss = self.spec.objectives.loss(trial.last.values) if trial.last is not None else None
        is_finite = loss is not None and bool(np.isfinite(loss).all())
        return is_finite and not trial.has_diverged and not trial.state.is_final

    def _unpromoted(self) -> list[tuple[TrialRecord, int]]:
        """Returns the unpromoted trials that can still run, with level: deepest rung first, best first there."""
        return [(self.state.trials[i], level) for i, level in self.race.finishers() if i not in self._bound]


@final
class _Bound(Container[int]):
    """The trials that cannot begin a segment, because they run or have ended for good, and those in `others`."""

    def __init__(self, state: StudyState, others: Container[int] = ()) -> None:
        self._state, self._others = state, others

    def __contains__(self, trial_id: object) -> bool:
        if trial_id in self._state.running or trial_id in self._others:
            return True
        return isinstance(trial_id, int) and self._state.trials[trial_id].state.is_final


def _reservation_of(candidate: Start | Resume) -> Reservation:
    """Returns what must be remembered about a candidate until enough devices are free for it."""
    if isinstance(candidate, Start):  # its trial number may still change; its draw determines everything else
        return Reservation(None, candidate.draw, candidate.allocation, 0, None, "", "")
    why, from_level = candidate.reason, candidate.promoted_from
    return Reservation(candidate.trial_id, None, candidate.allocation, candidate.target, from_level, why.rule, why.text)
