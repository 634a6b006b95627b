"""What free devices should do next: unfinished work, a promotion, a new trial or a finisher.

`NextAction` reads the state of a study without changing it, and keeps no state itself. So the same state always gives
the same answer. Each answer names the candidate, if any, that needs more devices than are free; devices are drained
for that candidate from then on.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Container, Iterator, Sequence
from numbers import Integral
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.bound_trials import BoundTrials
from lightning_hwtune.core.deadline import Deadline, Finish
from lightning_hwtune.core.decisions import Answer, Demand, Done, Reason, Reservation, Resume, Rule, Start, Wait
from lightning_hwtune.core.events import StagePlanned
from lightning_hwtune.core.finishers import Finishers
from lightning_hwtune.core.interrupted_trials import resume_of
from lightning_hwtune.core.moments import Moments
from lightning_hwtune.core.new_trials import NewTrials
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.replication import NextReplicate
from lightning_hwtune.core.schedulers import Promotion, Race
from lightning_hwtune.core.schedulers.staged import Staged
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.stages import Stages
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.text import counted

__all__ = ["NextAction"]

_LOOK_AHEAD = 8  # number of promotions, and of survivors, that are searched for one that may begin


@final
class NextAction:
    """Chooses the next action of one study, from its current state."""

    def __init__(self, state: StudyState) -> None:
        self.state, self._bound = state, BoundTrials(state)
        self.deadline = Deadline(state)
        self._moments = Moments(state, self.deadline)
        self.finishers, self.new_trials = Finishers(state, self.deadline), NewTrials(state, self._moments)
        self._next_replicate = NextReplicate(state, self.deadline)
        self._stages = Stages(state, self.deadline)

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
        self.deadline.changed()
        self.new_trials.changed()

    def ask(self, now: float, free: int, *, lacks_nodes: bool = False) -> Answer:
        """Returns what `free` devices should do next.

        The order is: interrupted work, promotions (deepest rung first), new trials, promotions from rungs that no other
        trial can reach, finishers. Under a limit of time or money, finishers begin at the last moment at which they can
        still end, and work that cannot end is left out; see `core.deadline`. The first candidate that needs more
        devices than are free keeps its turn until enough devices have drained. Until then, only work that is expected
        to finish in time is started. While no device is free, nothing is chosen, because the state may change before
        one is. A session that trains replicates does nothing else; see `core.replication`.

        Args:
            lacks_nodes: whether work waits for a node and none can be requested. Draining makes sense only if the nodes
                that are up could have the candidate, so other work that fits begins meanwhile, whatever it takes.
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
        free -= self._kept_devices()
        if free < 1:
            text = "the devices that are free are kept for a trial that is pausing to continue on more of them"
            return Wait(Reason(Rule.DEVICES, text), reservation=self.state.reserved)
        candidate, reserved, plan = self._candidate(free, now)
        kept = self.state.reserved if reserved is not None else None
        if candidate is None:
            return dataclasses.replace(self._idle(self._nothing_left(now)), reservation=None)
        if not self.state.has_place(candidate.allocation, free):
            reservation = _reservation_of(candidate)
            if lacks_nodes and not self.state.has_places([candidate.allocation]):
                filler = self._meanwhile(candidate, plan, free, now)
            else:
                filler = self._filler(candidate, plan, free, now)
            if filler is not None:
                return dataclasses.replace(filler, reservation=reservation)
            text = f"trial {candidate.trial_id} needs {counted(candidate.num_devices, 'devices')} (free: {free})"
            return Wait(Reason(Rule.RESERVATION, text), candidate.num_devices, reservation)
        return dataclasses.replace(candidate, reservation=kept)

    def stage(self, now: float) -> StagePlanned | None:
        """Returns the plan of a stage that begins now; None if none is due, or if the policy plans none."""
        if not self.spec.allocator.plans_stages or self.state.is_replicating or self.limit(now) is not None:
            return None
        return self._stages.due(now, can_begin=self.new_trials.has_more())

    def _candidate(self, free: int, now: float) -> tuple[Start | Resume | None, Start | Resume | None, list[Finish]]:
        """Returns what begins next, the reserved candidate if it is kept, and the planned finishers."""
        reserved, plan = self._reserved(), list[Finish]()
        if self.state.limits.is_timed:
            plan = self.finishers.plan(now)
            candidate, reserved = self._in_time(reserved, plan, now)
        else:
            candidate = reserved or self._next(now)
        candidate = None if candidate is None else self._payable(candidate, free, now)
        return candidate, reserved, plan

    def demand(self, now: float) -> Demand:
        """Returns the devices of the work that would begin if enough were free.

        A promotion counts alone, because further ones depend on it. New trials count up to `max_trials`. Of a planned
        stage, all trials count, because they are known.
        """
        limits, n_running = self.state.limits, len(self.state.running)
        n_most = math.inf if limits.max_parallel is None else limits.max_parallel - n_running
        if self.limit(now) is not None or n_most <= 0:
            return Demand()
        if self.state.is_replicating:
            return self._next_replicate.demand(now)
        candidate, _, _ = self._candidate(self.spec.pool.size, now)
        if candidate is None:
            return Demand()
        n_new = math.inf if limits.max_trials is None else limits.max_trials - len(self.state.searched)
        n_trials = min(n_new if isinstance(candidate, Start) else 1, n_most)
        if isinstance(self.race, Staged) and (isinstance(candidate, Start) or candidate.promoted_from is not None):
            n_trials = min(self.race.n_waiting, n_most)
        n_devices = int(min(n_trials * candidate.num_devices, self.spec.pool.size))
        return Demand(n_devices, candidate.allocation, is_new=isinstance(candidate, Start))

    def next_allocation(
        self, trial: TrialRecord, report: Measurement, target: int, rule: str, now: float
    ) -> Allocation | None:
        """Returns the devices to which a running trial moves at a rung; None if it keeps its devices.

        Args:
            report: the report with which it passes the rung, which is not in the state yet.
        """
        answer = self._moments.at_rung(trial, report, target, rule, now)
        same = dataclasses.replace(answer, per_device=trial.allocation.per_device)  # a policy does not choose the share
        return None if same == trial.allocation else answer

    def _kept_devices(self) -> int:
        """Returns how many free devices are kept for running trials that are pausing to continue on more devices."""
        moves = [(segment, segment.moves_to) for segment in self.state.running.values()]
        return sum(max(to.devices - segment.num_devices, 0) for segment, to in moves if to is not None)

    def _options(self, candidate: Start | Resume) -> list[Start | Resume]:
        """Returns a candidate and, if it would get more devices than it had, the same work on those that it had."""
        had = self.state.trials[candidate.trial_id].segment_devices if isinstance(candidate, Resume) else 0
        if not isinstance(candidate, Resume) or not 0 < had < candidate.num_devices or not self._moments.is_elastic:
            return [candidate]
        return [candidate, candidate.on(dataclasses.replace(candidate.allocation, devices=had))]

    def _payable(self, candidate: Start | Resume, free: int, now: float) -> Start | Resume | None:
        """Returns the option of a candidate that the budget allows; None if there is none.

        Under a limit, a finisher begins at the last moment. So it does not wait for more devices if it can end in time
        on those that it had.
        """
        payable = [option for option in self._options(candidate) if self.deadline.pays(option, now)]
        if self.state.limits.is_timed and candidate.reason.rule == Rule.FINISHER:
            able = (option for option in payable if self.deadline.ends(option, now))
            payable = [option for option in able if self.state.has_place(option.allocation, free)] or payable
        return payable[0] if payable else None

    def limit(self, now: float, trial_id: int | None = None, coming_s: float = 0.0) -> Reason | None:
        """Returns the limit that forbids `coming_s` more seconds of this running trial; None if there is none."""
        limits, state = self.state.limits, self.state
        most = self.spec.max_failures
        if state.n_failed >= most:
            text = f"{counted(state.n_failed, 'trials')} failed, and `max_failures` is {most}"
            if (last := state.last_failed) is not None:
                text += f"; `hwtune logs {last.trial_id}` shows why"
            higher = 2 * max(most, state.n_failed)
            return Reason(Rule.MAX_FAILURES, f"{text}, and `Study(..., max_failures={higher})` continues the study")
        if limits.max_time_s is not None:
            wall_s = state.wall_s(now)
            if wall_s + coming_s >= limits.max_time_s:
                return Reason(Rule.LIMIT_MAX_TIME, f"{wall_s:.0f} s of {limits.max_time_s:.0f} s are used")
        if limits.max_cost_usd is not None and self.spec.pool.is_paid_whole:
            usd = state.billed_usd(now)
            if state.billed_usd(now + coming_s) >= limits.max_cost_usd:
                return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {limits.max_cost_usd:.4g} USD are spent")
        elif limits.max_cost_usd is not None:
            usd, devices = state.billed_usd(now), state.running[trial_id].share if trial_id is not None else 0
            device_s = self.deadline.committed_s(now, trial_id) + coming_s * devices
            if usd + self.spec.most_usd_of(device_s) >= limits.max_cost_usd:
                return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {limits.max_cost_usd:.4g} USD are spent")
        return None

    def budget_reason(self, now: float) -> Reason:
        """Returns the limit of money as the reason to end or to pause what runs."""
        usd, most_usd = self.state.billed_usd(now), self.state.limits.max_cost_usd
        text = f"{usd:.4g} USD of {most_usd:.4g} USD are spent; the rest is kept to end what runs"
        return Reason(Rule.LIMIT_MAX_COST, text)

    def _pace(self, candidate: Start | Resume) -> float:
        """Returns a candidate's seconds per unit of resource: its own pace, or else the slowest seen.

        The slowest one is safe here: a filler that takes longer than expected delays the trial that it overtakes.
        """
        last = self.state.trials[candidate.trial_id].last if isinstance(candidate, Resume) else None
        if last is None or candidate.num_devices != self.state.trials[candidate.trial_id].num_devices:
            return self.state.slowest_s
        return last.train_s / last.resource

    def _filler(self, reserved: Start | Resume, plan: Sequence[Finish], free: int, now: float) -> Start | Resume | None:
        """Returns work for the draining devices that should finish before `reserved` can start; None if there is none.

        Backfilling as in EASY: Lifka, "The ANL/IBM SP scheduling system", 1995.
        """
        span_s = self.state.drain_s(reserved.allocation, free, now)
        for option in (
            self._promotion(now, BoundTrials(self.state, _WithoutPlace(self.state, free, reserved.trial_id))),
            self.new_trials.fitting(reserved, free),
        ):
            if (
                option is not None
                and self.state.has_place(option.allocation, free)
                and (self._duration(option) <= span_s or self.state.is_apart(option.allocation, reserved.allocation))
                and self._may_begin(option, plan, now)
            ):
                return option
        return None

    def _meanwhile(
        self, reserved: Start | Resume, plan: Sequence[Finish], free: int, now: float
    ) -> Start | Resume | None:
        """Returns work that begins while `reserved` waits for nodes that are not there; None if there is none.

        The order is that of `ask`. Promotions from rungs that no other trial can reach, and finishers, are chosen among
        all trials. So they only begin if no other trial can change that: if `reserved` is trained to the end.
        """
        others = BoundTrials(self.state, _WithoutPlace(self.state, free, reserved.trial_id))

        def options() -> Iterator[Start | Resume | None]:
            yield from (found for found in self._all_unfinished() if found.trial_id != reserved.trial_id)
            yield self._promotion(now, others)
            yield self.new_trials.fitting(reserved, free, lacks_nodes=True)
            if reserved.target >= (top := self.race.max_resource) and self.new_trials.next() is None:
                yield self._promoted(self.race.closing(exclude=others), now)
                waiting = {i for i in self.state.waiting if self.state.trials[i].target >= top} | {reserved.trial_id}
                found = self.finishers.next(others, n_kept=len(waiting - self.state.to_end))
                yield None if found is None else self._moments.allocated(found, now)

        for option in options():
            if option is None or not self.state.has_place(option.allocation, free):
                continue
            if self._may_begin(option, plan, now):
                return option
        return None

    def _duration(self, candidate: Start | Resume) -> float:
        """Returns the seconds that a candidate is expected to train; infinity if nothing is known yet."""
        pace_s = self._pace(candidate)
        checkpoint = self.state.trials[candidate.trial_id].checkpoint if isinstance(candidate, Resume) else None
        epochs = candidate.target - (checkpoint.resource if checkpoint else 0)
        return epochs * pace_s if pace_s > 0 else math.inf

    def _idle(self, reason: Reason) -> Wait | Done:
        if self.state.running:
            text = f"{reason.text}; {self._n_running()} still running"
            return Wait(Reason(reason.rule, text), reservation=self.state.reserved)
        return Done(reason, self.state.reserved)

    def _n_running(self) -> str:
        n = len(self.state.running)
        return f"{counted(n, 'segments')} {'is' if n == 1 else 'are'}"

    def _nothing_left(self, now: float) -> Reason:
        if self.state.limits.is_timed and self._next(now) is not None:
            return self._limit_reached(now)
        trials = counted(len(self.state.searched), "trials")
        text = f"{trials}, {self.state.n_full} fully trained, nothing left to promote"
        if self.state.limits.max_trials is not None and len(self.state.searched) >= self.state.limits.max_trials:
            return Reason(Rule.LIMIT_MAX_TRIALS, text)
        if stalled := self.new_trials.stalled():
            return Reason(Rule.STALLED, f"{text}; {stalled}")
        if (stage := self.state.stage) is not None:
            why = f": {stage.reason}" if stage.trials == 0 else ""
            return Reason(Rule.STAGES, f"{text}; the last stage has ended{why}")
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
        if not self.new_trials.may_begin() or (reserved.draw is not None and self.state.enqueued):
            return None
        return self.new_trials.next() if reserved.draw is None else self.new_trials.drawn(reserved.draw)

    def _limit_reached(self, now: float) -> Reason:
        """Returns the limit that leaves too little for anything that could begin."""
        text = "too little is left to reach another report"
        if self.deadline.left.is_time_first(now):
            return Reason(
                Rule.LIMIT_MAX_TIME,
                f"{self.state.wall_s(now):.0f} s of {self.state.limits.max_time_s:.0f} s are used; {text}",
            )
        usd, most_usd = self.state.billed_usd(now), self.state.limits.max_cost_usd
        return Reason(Rule.LIMIT_MAX_COST, f"{usd:.4g} USD of {most_usd:.4g} USD are spent; {text}")

    # ------------------------------------------------------------------ under a limit of time or money

    def _in_time(
        self, reserved: Start | Resume | None, plan: Sequence[Finish], now: float
    ) -> tuple[Start | Resume | None, Start | Resume | None]:
        """Returns the next candidate that leaves the finishers enough time and money, and the reserved one if kept.

        If none does, a finisher has to begin.
        """
        if reserved is not None and self._may_begin(reserved, plan, now):
            return reserved, reserved
        for candidate in self._ordinary(plan, now):
            for option in self._options(candidate):
                if self._may_begin(option, plan, now):
                    return option, None
        if not plan:
            return None, None
        if self.new_trials.next() is None and self.deadline.has_room(plan, now):  # the last moment has not come yet
            chosen = self._finisher(now)
            if chosen is None or self.deadline.ends(chosen, now):
                return chosen, None
        item = max(plan, key=lambda item: item.planned_s)  # the most urgent one
        return self._moments.allocated(self.finishers.begin(item.trial, item.level), now), None

    def _may_begin(self, candidate: Start | Resume, plan: Sequence[Finish], now: float) -> bool:
        """Returns whether the next report of a candidate comes in time, and the planned trials can still end."""
        rest = [item for item in plan if item.trial.trial_id != candidate.trial_id]
        is_last = candidate.target >= self.race.max_resource
        if rest and len(rest) == len(plan) and is_last and self.deadline.ends(candidate, now):
            rest = rest[:-1]  # it is trained to the end instead of the last one
        return self.deadline.fits(candidate, now) and self.deadline.has_room(rest, now, candidate)

    def must_yield(self, trial: TrialRecord, report: Measurement, now: float) -> Finish | None:
        """Returns the finisher that cannot end if a trial continues from a new report to its next level, or None.

        A trial that continues to the end, and can get there, is a finisher itself.
        """
        if not self.state.limits.is_timed:
            return None
        is_last = self.race.ladder.above(report.resource) >= self.race.max_resource
        if is_last and not self.deadline.is_late(trial, report, now):
            return None
        plan = self.finishers.plan(now)
        if not plan or self.deadline.has_room(plan, now, report=report, trial=trial):
            return None
        return max(plan, key=lambda item: item.planned_s)

    def _ordinary(self, plan: Sequence[Finish], now: float) -> Iterator[Start | Resume]:
        """Yields what else could begin, in the order of `ask`; at the end the survivors, once no new trial matters."""
        yield from self._all_unfinished()
        is_end_sure, tried, new = bool(plan) or self.finishers.is_end_sure(now), set[int](), self.new_trials.next()
        explores = new is not None and self.deadline.explores(new, now, is_end_sure=is_end_sure)
        if new is not None and explores and not is_end_sure:  # before promotions of trials that cannot end
            yield new
        while len(tried) < _LOOK_AHEAD and (found := self._promotion(now, BoundTrials(self.state, tried))) is not None:
            yield found
            tried.add(found.trial_id)
        if new is None:
            if (closing := self._closing(now)) is not None:
                yield closing
            return
        if explores:
            yield new
            return
        for trial, level in itertools.islice(self.finishers.unpromoted(), _LOOK_AHEAD):
            if self.finishers.may_finish(trial):
                target = self.race.ladder.above(max(level, trial.resource))  # in brackets, it may be beyond its level
                text = f"rung {level} did not promote it, but the time left is too short for a new trial"
                found = Resume(trial.trial_id, trial.allocation, target, level, Reason(Rule.SURVIVOR, text))
                yield self._moments.allocated(found, now)
        if self.deadline.reaches(new, now):
            yield new

    def _next(self, now: float) -> Start | Resume | None:
        return (
            self._unfinished()
            or self._promotion(now)
            or self.new_trials.next()
            or self._closing(now)
            or self._finisher(now)
        )

    def _still_due(self, reserved: Resume) -> bool:
        """Returns whether the trial that waits for devices is still the right one to start."""
        if reserved.trial_id in self._bound or self.state.trials[reserved.trial_id].state.is_final:
            return False
        if reserved.promoted_from is None:  # it was interrupted, or moves to other devices
            return reserved.trial_id in self.state.waiting
        if reserved.reason.rule == Rule.FINISHER:
            return self.finishers.n_due() > 0
        if reserved.reason.rule == Rule.CLOSING:
            return self.new_trials.next() is None
        if reserved.reason.rule == Rule.SURVIVOR:
            return not self.state.trials[reserved.trial_id].state.is_final
        return self.race.is_promotable(reserved.trial_id, reserved.promoted_from)

    def _unfinished(self) -> Resume | None:
        return next(self._all_unfinished(), None)

    def _all_unfinished(self) -> Iterator[Resume]:
        """Yields trials that may continue but have no segment: interrupted, to be retried, or paused by a limit."""
        for trial_id in filter(self.race.is_wanted, sorted(self.state.waiting)):
            yield resume_of(self.state.trials[trial_id], self.race.unit, is_elastic=self._moments.is_elastic)

    def _promotion(self, now: float, exclude: Container[int] | None = None) -> Resume | None:
        return self._promoted(self.race.promotable(exclude=self._bound if exclude is None else exclude), now)

    def _closing(self, now: float) -> Resume | None:
        """Returns a promotion from a rung that would otherwise wait forever, as no further trial can begin."""
        return self._promoted(self.race.closing(exclude=self._bound), now)

    def _promoted(self, promotion: Promotion | None, now: float) -> Resume | None:
        if promotion is None:
            return None
        trial = self.state.trials[promotion.trial_id]
        found = Resume(trial.trial_id, trial.allocation, promotion.target, promotion.level, promotion.reason)
        return self._moments.allocated(found, now)

    def _finisher(self, now: float) -> Resume | None:
        found = self.finishers.next()
        return None if found is None else self._moments.allocated(found, now)


@final
class _WithoutPlace(Container[int]):
    """The trials that need more devices than have a place among the free ones, and the reserved one."""

    def __init__(self, state: StudyState, free: int, reserved: int | None) -> None:
        self._state, self._free, self._reserved = state, free, reserved
        self._fits: dict[Allocation, bool] = {}

    def __contains__(self, trial_id: object) -> bool:
        if trial_id == self._reserved or not isinstance(trial_id, Integral):  # a ranking has numbers of NumPy
            return trial_id == self._reserved
        allocation = self._state.trials[int(trial_id)].allocation
        if allocation not in self._fits:
            self._fits[allocation] = self._state.has_place(allocation, self._free)
        return not self._fits[allocation]


def _reservation_of(candidate: Start | Resume) -> Reservation:
    """Returns what must be remembered about a candidate until enough devices are free for it."""
    if isinstance(candidate, Start):  # its trial number may still change; its draw determines everything else
        return Reservation(None, candidate.draw, candidate.allocation, 0, None, "", "")
    why, from_level = candidate.reason, candidate.promoted_from
    return Reservation(candidate.trial_id, None, candidate.allocation, candidate.target, from_level, why.rule, why.text)
