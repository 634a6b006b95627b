"""What free devices should do next: unfinished work, a promotion, a new trial or a finisher.

`NextAction` reads the state of a study without changing it, and keeps no state itself. So the same state always gives
the same answer. Each answer names the candidate, if any, that needs more devices than are free; devices are drained
for that candidate from then on.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from lightning_hwtune.core.deadline import Deadline, Finish
from lightning_hwtune.core.decisions import Answer, Done, Reason, Reservation, Resume, Rule, Start, Wait
from lightning_hwtune.core.feasibility import is_violator
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.ranking.knee import knee
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.replication import NextReplicate
from lightning_hwtune.core.schedulers import Promotion, Race
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.stall import Stall
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.text import counted

__all__ = ["NextAction"]

_LOOK_AHEAD = 8  # number of draws searched for a small trial while devices drain


@final
class NextAction:
    """Chooses the next action of one study, from its current state."""

    def __init__(self, state: StudyState) -> None:
        self.state, self._policy = state, state.spec.allocator
        self._known: History | None = None  # cached history of the current state
        self._drawn_configs: dict[int, Mapping[str, Any] | None] = {}  # cached draws of the current state
        self._memory = Memory()
        self._bound = _Bound(state)
        self.deadline = Deadline(state)
        self._stall = Stall(state)
        self._next_replicate = NextReplicate(state, self.deadline)

    @property
    def spec(self) -> StudySpec:
        """What the study is."""
        return self.state.spec

    @property
    def race(self) -> Race:
        """The study's rungs."""
        return self.state.race

    def changed(self) -> None:
        """Drops what is cached about the state. Call it before the state changes."""
        self._known = None
        self.deadline.changed()
        self._drawn_configs.clear()

    def ask(self, now: float, free: int) -> Answer:
        """Returns what `free` devices should do next.

        The order is: interrupted work, promotions (deepest rung first), new trials, promotions from rungs that no other
        trial can reach, finishers. Under a limit of time or money, finishers begin at the last moment at which they can
        still end, and work that cannot end is left out; see `core.deadline`. The first candidate that needs more
        devices than are free keeps its turn until enough devices have drained. Until then, only work that is expected
        to finish in time is started. While no device is free, nothing is chosen, because the state may change before
        one is. A session that trains replicates does nothing else; see `core.replication`.
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
        if self.state.is_replicating:
            return self._next_replicate.ask(now, free)
        reserved = self._reserved()
        if self.deadline.left.is_set:
            candidate, reserved = self._in_time(reserved, now)
        else:
            candidate = reserved or self._next()
        kept = self.state.reserved if reserved is not None else None
        if candidate is None:
            return dataclasses.replace(self._idle(self._nothing_left(now)), reservation=None)
        if candidate.num_devices > free:
            reservation = _reservation_of(candidate)
            filler = self._filler(candidate, free, now)
            if filler is not None:
                return dataclasses.replace(filler, reservation=reservation)
            text = f"trial {candidate.trial_id} needs {candidate.num_devices} devices (free: {free})"
            return Wait(Reason(Rule.RESERVATION, text), candidate.num_devices, reservation)
        return dataclasses.replace(candidate, reservation=kept)

    def limit(self, now: float, trial_id: int | None = None, coming_s: float = 0.0) -> Reason | None:
        """Returns the limit that forbids `coming_s` more seconds of this running trial; None if there is none."""
        limits, state = self.state.limits, self.state
        if state.n_failed >= self.spec.max_failures:
            last = max(trial.trial_id for trial in state.searched if trial.state is TrialState.FAILED)
            text = f"{counted(state.n_failed, 'trials')} failed, and `max_failures` is {self.spec.max_failures}"
            return Reason(
                Rule.MAX_FAILURES, f"{text}; `hwtune logs {last}` shows why, and a higher limit continues the study"
            )
        if limits.max_time_s is not None:
            wall_s = state.wall_s(now)
            if wall_s + coming_s >= limits.max_time_s:
                return Reason(Rule.LIMIT_MAX_TIME, f"{wall_s:.0f} s of {limits.max_time_s:.0f} s are used")
        if limits.max_cost_usd is not None:
            usd, devices = state.billed_usd(now), state.running[trial_id].num_devices if trial_id is not None else 0
            device_s = self.deadline.committed_s(now, trial_id) + coming_s * devices
            if usd + usd_of(self.spec.pool, device_s) >= limits.max_cost_usd:
                return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {limits.max_cost_usd:.4g} USD are spent")
        return None

    def _pace(self, candidate: Start | Resume) -> float:
        """Returns a candidate's seconds per unit of resource: its own pace, or else the slowest seen.

        The slowest one is safe here: a filler that takes longer than expected delays the trial that it overtakes.
        """
        last = self.state.trials[candidate.trial_id].last if isinstance(candidate, Resume) else None
        return last.train_s / last.resource if last is not None else self.state.slowest_s

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
                and (not self.deadline.left.is_set or self._may_begin(option, self._plan(now), now))
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
        if self.state.enqueued or self._stall.text():
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
        return len(self.state.searched) + len(overtaken | {draw}) <= self.state.limits.max_trials

    def _idle(self, reason: Reason) -> Wait | Done:
        if self.state.running:
            text = f"{reason.text}; {self._n_running()} still running"
            return Wait(Reason(reason.rule, text), reservation=self.state.reserved)
        return Done(reason, self.state.reserved)

    def _n_running(self) -> str:
        n = len(self.state.running)
        return f"{counted(n, 'segments')} {'is' if n == 1 else 'are'}"

    def _nothing_left(self, now: float) -> Reason:
        if self.deadline.left.is_set and self._next() is not None:
            return self._limit_reached(now)
        trials = counted(len(self.state.searched), "trials")
        text = f"{trials}, {self.state.n_full} fully trained, nothing left to promote"
        if self.state.limits.max_trials is not None and len(self.state.searched) >= self.state.limits.max_trials:
            return Reason(Rule.LIMIT_MAX_TRIALS, text)
        if stalled := self._stall.text():
            return Reason(Rule.STALLED, f"{text}; {stalled}")
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

    def _limit_reached(self, now: float) -> Reason:
        """Returns the limit that leaves too little for anything that could begin."""
        by_time = self.deadline.left.seconds(now) * self.spec.pool.size <= self.deadline.left.device_s(now)
        text = "what is left is too short for a further report"
        if by_time:
            return Reason(
                Rule.LIMIT_MAX_TIME,
                f"{self.state.wall_s(now):.0f} s of {self.state.limits.max_time_s:.0f} s are used; {text}",
            )
        usd, most_usd = self.state.billed_usd(now), self.state.limits.max_cost_usd
        return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {most_usd:.4g} USD are spent; {text}")

    # ------------------------------------------------------------------ under a limit of time or money

    def _in_time(
        self, reserved: Start | Resume | None, now: float
    ) -> tuple[Start | Resume | None, Start | Resume | None]:
        """Returns the next candidate that leaves the finishers enough time and money, and the reserved one if kept.

        If none does, a finisher has to begin.
        """
        plan = self._plan(now)
        if reserved is not None and self._may_begin(reserved, plan, now):
            return reserved, reserved
        for candidate in self._ordinary(plan, now):
            if self._may_begin(candidate, plan, now):
                return candidate, None
        if not plan:
            return None, None
        if self._new() is None and self.deadline.has_room(plan, now):  # the last moment has not come yet
            chosen = self._finisher()
            if chosen is None or self.deadline.ends(chosen, now):
                return chosen, None
        item = max(plan, key=lambda item: item.planned_s)  # the most urgent one
        return self._finish(item.trial, item.level), None

    def _may_begin(self, candidate: Start | Resume, plan: Sequence[Finish], now: float) -> bool:
        """Returns whether the next report of a candidate comes in time, and the planned trials can still end."""
        rest = [item for item in plan if item.trial.trial_id != candidate.trial_id]
        if candidate.target >= self.race.max_resource and len(rest) == len(plan) and self.deadline.ends(candidate, now):
            rest = rest[:-1]  # it is trained to the end instead of the last one
        return self.deadline.fits(candidate, now) and self.deadline.has_room(rest, now, candidate)

    def must_yield(self, trial: TrialRecord, report: Measurement, now: float) -> Finish | None:
        """Returns the finisher that cannot end if a trial continues from a new report to its next level, or None.

        A trial that continues to the end, and can get there, is a finisher itself.
        """
        if not self.deadline.left.is_set:
            return None
        is_last = self.race.ladder.above(report.resource) >= self.race.max_resource
        if is_last and not self.deadline.is_late(trial, report, now):
            return None
        plan = self._plan(now)
        if not plan or self.deadline.has_room(plan, now, report=report, trial=trial):
            return None
        return max(plan, key=lambda item: item.planned_s)

    def _plan(self, now: float) -> list[Finish]:
        due = self._n_finishers_due(now)
        return self.deadline.plan(self._able(), due, now) if due > 0 else []

    def _ordinary(self, plan: Sequence[Finish], now: float) -> Iterator[Start | Resume]:
        """Yields what else could begin, in the order of `ask`; at the end the survivors, once no new trial matters."""
        yield from self._all_unfinished()
        is_end_sure, tried, new = bool(plan) or self._is_end_sure(now), set[int](), self._new()
        explores = new is not None and self.deadline.explores(new, now, is_end_sure=is_end_sure)
        if new is not None and explores and not is_end_sure:  # before promotions of trials that cannot end
            yield new
        while len(tried) < _LOOK_AHEAD and (found := self._promotion(_Bound(self.state, tried))) is not None:
            yield found
            tried.add(found.trial_id)
        if new is None:
            if (closing := self._closing()) is not None:
                yield closing
            return
        if explores:
            yield new
            return
        for trial, level in itertools.islice(self._unpromoted(), _LOOK_AHEAD):
            if self._may_finish(trial):
                target = self.race.ladder.above(max(level, trial.resource))  # in brackets, it may be beyond its level
                text = f"rung {level} did not promote it, but the time left is too short for a new trial"
                yield Resume(trial.trial_id, trial.allocation, target, level, Reason(Rule.SURVIVOR, text))
        if self.deadline.reaches(new, now):
            yield new

    def _is_end_sure(self, now: float) -> bool:
        """Returns whether a trial is fully trained or on the way there, or none is wanted."""
        top = self.race.max_resource
        under_way = (trial for trial in self._running_trials() if trial.target >= top)
        return (
            self.state.n_full > 0
            or self.state.limits.n_finishers == 0
            or any(self.deadline.can_end(trial, now) for trial in under_way)
        )

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
        if reserved.reason.rule == Rule.SURVIVOR:
            return not self.state.trials[reserved.trial_id].state.is_final
        return self.race.is_promotable(reserved.trial_id, reserved.promoted_from)

    def _unfinished(self) -> Resume | None:
        return next(self._all_unfinished(), None)

    def _all_unfinished(self) -> Iterator[Resume]:
        """Yields trials that may continue but have no segment: interrupted, to be retried, or paused by a limit."""
        unit = self.race.unit.removesuffix("s")
        for trial_id in sorted(self.state.waiting):
            trial = self.state.trials[trial_id]
            reason = Reason(Rule.UNFINISHED, f"its training to {unit} {trial.target} was interrupted")
            yield Resume(trial.trial_id, trial.allocation, trial.target, None, reason)

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
        most = self.state.limits.max_trials
        return (most is None or len(self.state.searched) < most) and not self._stall.text()

    def _new(self) -> Start | None:
        if not self._may_create():
            return None
        if self.state.enqueued:
            return self._start(self.state.enqueued[0], None)
        return self._drawn(min(self.state.skipped, default=self.state.next_draw))

    def _drawn(self, draw: int) -> Start | None:
        if draw not in self._drawn_configs:
            proposed = self.spec.searcher.propose(self.spec.space, draw, self.spec.seed, self._history())
            self._drawn_configs[draw] = proposed
        config = self._drawn_configs[draw]
        return None if config is None else self._start(config, draw)

    def _start(self, config: Mapping[str, Any], draw: int | None) -> Start:
        number = len(self.state.searched)  # replicates change neither brackets nor seeds
        bracket = self.race.draw_bracket(stream(self.spec.seed, "bracket", number))
        origin = "enqueued by the user" if draw is None else f"draw {draw} of the {self.spec.searcher.name} searcher"
        target = self.race.first_target(bracket)
        if target < self.race.max_resource and self.state.n_first_due > 0:
            target, origin = self.race.max_resource, f"{origin}; one of the first trials, which train to the end"
        return Start(
            trial_id=len(self.state.trials),
            config=config,
            allocation=self._policy.first(config),
            bracket=bracket,
            target=target,
            seed=int(stream(self.spec.seed, "trial", number).integers(2**31 - 1)),
            source="enqueued" if draw is None else "searcher",
            draw=draw,
            reason=Reason(Rule.NEW, origin),
        )

    def _history(self) -> History:
        if self._known is None:
            self._known = History(self.state.searched, self.spec.objectives, self.state.added, self._memory)
        return self._known

    def _n_finishers_due(self, now: float | None = None) -> int:
        """Returns how many more trials should be trained to the end; at a time `now`, those that will not end count.

        The first trials, which train to the end in any case, are no finishers.
        """
        first = self.state.to_end
        under_way = sum(
            trial.target >= self.race.max_resource
            and trial.trial_id not in first
            and (now is None or self.deadline.can_end(trial, now))
            for trial in self._running_trials()
        )
        n_done = sum(not self.state.violation(self.state.trials[trial_id]) for trial_id in self.state.full - first)
        return self.state.limits.n_finishers - n_done - under_way

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
        able = self._able()
        if not able:
            return None
        ends = [self.state.trials[i] for i in self.state.full] + self._running_trials()
        covered = {trial.num_devices for trial in ends}
        uncovered = {trial.num_devices for trial, _ in able} - covered
        pick = able[0]
        if uncovered and due <= len(uncovered):
            pick = next(pair for pair in able if pair[0].num_devices in uncovered)
        return self._finish(*pick)

    def _finish(self, trial: TrialRecord, level: int) -> Resume:
        due, wanted, top = self._n_finishers_due(), self.state.limits.n_finishers, self.race.max_resource
        n_first = len(self.state.to_end)
        apart = f", apart from the first {'trial' if n_first == 1 else 'trials'}" if n_first else ""
        text = f"{self._place(trial, level)}; number {wanted - due + 1} of {wanted} to be trained to the end{apart}"
        if trial.last is not None and (infeasible := self.spec.objectives.infeasible(trial.last.values)):
            text += f"; {infeasible}"
        return Resume(trial.trial_id, trial.allocation, top, level, Reason(Rule.FINISHER, text))

    def _place(self, trial: TrialRecord, level: int) -> str:
        """Returns the place of a finisher among the trials of its rung that were not promoted."""
        rung = [other for other, at in self._unpromoted() if at == level and other.bracket == trial.bracket]
        open_ones = [other for other in rung if self._may_finish(other)]
        whose = f"of those that rung {level} did not promote"
        if trial is open_ones[0]:
            return f"first {whose}"
        if trial is self._middle(self._able_in_order()):
            return f"the best compromise {whose}"
        alike = [other for other in open_ones if other.num_devices == trial.num_devices]
        if trial is alike[0]:
            return f"first on {counted(trial.num_devices, 'devices')} {whose}"
        return f"number {open_ones.index(trial) + 1} {whose}"

    def _able(self) -> list[tuple[TrialRecord, int]]:
        """Returns the trials that may be trained to the end, with their rungs, in the order in which they should be.

        That is the scheduler's order, deepest rung first. With several objectives, the order inside a front prefers its
        ends, so the knee of the deepest rung comes first, unless it is trained to the end already.
        """
        able = self._able_in_order()
        middle = self._middle(able)
        return able if middle is None else sorted(able, key=lambda pair: pair[0] is not middle)

    def _able_in_order(self) -> list[tuple[TrialRecord, int]]:
        """Returns the trials that may be trained to the end, with their rungs, in the scheduler's order."""
        return self._admitted([(trial, level) for trial, level in self._unpromoted() if self._may_finish(trial)])

    def _middle(self, able: Sequence[tuple[TrialRecord, int]]) -> TrialRecord | None:
        """Returns the knee of the deepest rung, which comes first; None with one objective, or if there is none.

        Trials of the rung that are trained to the end, or will be, may be the knee, too.
        """
        if len(self.spec.objectives) == 1 or not able or not self.state.has_knee_first:
            return None
        deepest = able[0][1]
        known = [trial for trial, level in able if level == deepest]
        known += [self.state.trials[i] for i in sorted(self.state.full)] + self._running_trials()
        seen = [(trial, found) for trial in known if (found := trial.at(deepest)) is not None]
        losses = [(trial, self.spec.objectives.loss(found.values)) for trial, found in seen]
        finite = [(trial, loss) for trial, loss in losses if np.isfinite(loss).all() and not is_violator(loss.tolist())]
        return finite[knee([loss for _, loss in finite])][0] if finite else None

    def _admitted(self, able: list[tuple[TrialRecord, int]]) -> list[tuple[TrialRecord, int]]:
        """Returns those that may be finishers: feasible trials or, if there are none, violators of a constraint.

        Violators are left out once enough trials are fully trained, feasible or not.
        """
        if not self.spec.objectives.is_constrained:
            return able
        feasible = [(trial, level) for trial, level in able if not self.state.violation(trial)]
        if feasible or self._n_finishers_due() <= self.state.n_full - self.state.n_feasible:
            return feasible
        return able

    def _may_finish(self, trial: TrialRecord) -> bool:
        """Returns whether a trial can run again and its last losses are finite."""
        loss = self.spec.objectives.loss(trial.last.values) if trial.last is not None else None
        is_finite = loss is not None and bool(np.isfinite(loss).all())
        return is_finite and not trial.has_diverged and not trial.state.is_final

    def _unpromoted(self) -> list[tuple[TrialRecord, int]]:
        """Returns the unpromoted trials that can still run, with level: deepest rung first, best first there.

        Violators of a constraint come after all feasible trials, the least violation first.
        """
        found = [(self.state.trials[i], level) for i, level in self.race.finishers() if i not in self._bound]
        if not self.spec.objectives.is_constrained:
            return found
        return sorted(found, key=lambda pair: self.state.violation(pair[0]))


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
