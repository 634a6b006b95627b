"""When a stage of a study is planned, and what its allocation policy is asked with.

Only policies that plan stages are asked (`hardware.stage`): before the first trial; again when the trials of a first
wave, which shows the pace, have arrived; and at the end of each stage. A stage ends when all of its trials have arrived
and their segments have ended. It also ends without the late ones, if a trial has arrived that can continue: when it has
taken `_LAG` times as long as planned, times the factor by which its slowest trial is slower than the mean, and the time
that is left is less than what the later stages were planned to take, or none was planned although the training is not
complete. The late trials pause at their next report, and do not continue.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.hardware.moment import ExpectedSpeed
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.measured_scaling import guessed_speed
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.schedulers.staged import Staged
from lightning_hwtune.core.state import StudyState

__all__ = ["Stages"]

_LAG = 1.5


@final
class Stages:
    """The stages of one study, from its current state."""

    def __init__(self, state: StudyState, deadline: Deadline) -> None:
        self._state, self._deadline = state, deadline

    def due(self, now: float, *, can_begin: bool) -> ev.StagePlanned | None:
        """Returns the plan of a stage that begins now; None if none is due, or if nothing may continue, as before.

        Args:
            can_begin: whether there is a further configuration, and the limits allow another trial.
        """
        race, newest = self._state.race, self._state.stage
        if not isinstance(race, Staged) or not self._is_due(race, now, can_begin=can_begin):
            return None
        is_first = newest is None or race.n_begun == 0 or (newest.is_first_wave and can_begin)
        moment = self._first(race, now) if is_first else self._later(race, now)
        if moment.most is not None and moment.most < 1:
            return None
        plan = self._state.spec.allocator.stage(moment)
        if newest is not None and newest.reached == moment.reached and newest.trials == plan.trials == 0:
            return None
        return ev.StagePlanned(
            at=now,
            reached=moment.reached,
            trials=plan.trials,
            devices=plan.devices,
            up_to=plan.up_to,
            nodes=plan.nodes,
            seconds=plan.seconds,
            rest_s=plan.rest_s,
            late_s=_LAG * moment.spread * plan.seconds,
            probe=plan.probe,
            is_first_wave=plan.is_first_wave,
            reason=plan.reason,
        )

    def _is_due(self, race: Staged, now: float, *, can_begin: bool) -> bool:
        newest = self._state.stage
        if newest is None or (race.n_begun == 0 and newest.trials == 0):
            return True
        if race.level == race.max_resource and not newest.is_first_wave:
            return False
        is_missing = race.reached == 0 and race.n_waiting > 0 and can_begin
        is_complete = race.has_arrived and not is_missing and race.members.isdisjoint(self._state.running)
        return is_complete or self._is_late(race, now)

    def _is_late(self, race: Staged, now: float) -> bool:
        newest = self._state.stage
        if newest is None or newest.late_s <= 0 or not race.survivors:
            return False
        if self._state.clock.at(now) - self._state.stage_clock_s <= newest.late_s:
            return False
        is_open = newest.rest_s == 0 and newest.up_to < race.max_resource  # the limits will end what follows
        return is_open or self._deadline.left.seconds(now) < newest.rest_s

    def _first(self, race: Staged, now: float) -> StageMoment:
        return self._moment(0, self._state.searched, self._state.limits.max_trials, race.n_begun, now)

    def _later(self, race: Staged, now: float) -> StageMoment:
        able = [self._state.trials[i] for i in race.survivors]
        most = min(max(race.ladder.quota(race.n_arrived), 1), len(able))
        return self._moment(race.level, able[:most], most, 0, now)

    def _moment(
        self, reached: int, trials: Sequence[TrialRecord], most: int | None, n_begun: int, now: float
    ) -> StageMoment:
        state, spec, left = self._state, self._state.spec, self._deadline.left
        unit_s, spread = self._paces(trials)
        most_usd = state.limits.max_cost_usd
        launches_s = [node.launch_s for node in state.nodes if node.launch_s > 0]
        return StageMoment(
            reached=reached,
            levels=tuple(state.race.levels),
            eta=state.race.ladder.eta,
            pool=spec.pool,
            speeds={count: self._speed(trials, count) for count in spec.allocator.counts},
            most=most,
            n_begun=n_begun,
            unit_s=unit_s,
            spread=spread,
            start_s=self._deadline.paces.startup_s(1),
            launch_s=statistics.fmean(launches_s) if launches_s else 0.0,
            left_s=left.seconds(now),
            left_usd=math.inf if most_usd is None else most_usd - state.billed_usd(now),
        )

    def _paces(self, trials: Sequence[TrialRecord]) -> tuple[float, float]:
        """Returns the mean seconds per unit on one device, and how many times slower the slowest trial is."""
        known = [self._deadline.expected_pace(trial, 1).unit_s for trial in trials if trial.measurements]
        mean_s = statistics.fmean(known) if known else 0.0
        return (mean_s, max(known) / mean_s) if mean_s > 0 else (0.0, 1.0)

    def _speed(self, trials: Sequence[TrialRecord], count: int) -> ExpectedSpeed:
        if not trials:
            return ExpectedSpeed(guessed_speed(count, 1), count == 1)
        return self._deadline.expected_speed(trials[0].config, count, 1)
