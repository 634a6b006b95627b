"""The remaining time of a study: its own decisions, run forward on a copy of its state.

Nothing is trained. Segments take the time given by `core.pace` and show values drawn by `core.likely_values`. A
searcher that learns is expected to draw mostly as it did last: configurations of its newest trials, and sometimes any
others. Its new trials are better than known ones, so they are promoted more often (`core.learning_gain`).
Rungs, promotions, reservations, finishers and limits come from the controller itself, so the forecast needs no formula
for them. Trials end early by themselves as often, from one level to the next, as those seen so far. If there are many
new trials, only the first hundred are run forward, and the others take as long as the second half of these. A run
therefore takes about a tenth of a second, and a few tenths after 10,000 trials, because its state is a copy.
"""

from __future__ import annotations

import copy
import dataclasses
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lightning_hwtune.core.constraints import ADDED_UP
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Answer, Continue, Resume, Start, VerdictKind
from lightning_hwtune.core.early_ends import EarlyEnds
from lightning_hwtune.core.learning_gain import LearningGain
from lightning_hwtune.core.likely_values import LikelyValues
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.remaining import Remaining
from lightning_hwtune.core.searchers import History, Random, Searcher
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream

__all__ = ["Outlook", "cheaply_drawn", "outlook"]

_CHEAP_SEARCHERS = ("random", "sobol", "grid")
_MAX_STEPS = 100_000
_N_RUNS, _T = 5, 1.5332  # Student's t with 4 degrees of freedom is below _T with a probability of 90 %
_MOST_NEW = 100  # number of new trials that are run forward
_NEWEST_SHARE, _LEAST_NEWEST = 0.33, 8  # the newest trials, which new ones resemble: share, least number
_LIKE_NEWEST = 0.7  # probability that a new trial resembles one of them


@final
@dataclass(frozen=True, slots=True)
class Outlook:
    """The time that a study still needs.

    Attributes:
        left_s: seconds until the study ends or stops at a limit.
        low_s, high_s: the range in which they are with a probability of 80 %, by the spread of the runs; `left_s` if
            the study was run forward only once.
        starting_device_s: device-seconds spent on start-ups. device_s: all device-seconds.
    """

    left_s: float
    starting_device_s: float
    device_s: float
    low_s: float
    high_s: float


def outlook(state: StudyState, now: float, paces: SeenPaces, *, n_runs: int = _N_RUNS) -> Outlook:
    """Returns the median of several forward runs, with their range. Does not change the state."""
    runs = sorted((_Run(state, now, paces, seed).run() for seed in range(n_runs)), key=lambda run: run.left_s)
    low_s, high_s = _range([run.left_s for run in runs])
    return dataclasses.replace(runs[len(runs) // 2], low_s=low_s, high_s=high_s)


def _range(seconds: Sequence[float]) -> tuple[float, float]:
    """Returns the range in which one more run would end with a probability of 80 %.

    It is the prediction interval of a normal distribution (G. J. Hahn and W. Q. Meeker, "Statistical Intervals", 1991,
    chapter 4) for the logarithms. The quantiles of so few runs would be too narrow.
    """
    if len(seconds) != _N_RUNS or min(seconds) <= 0.0:
        return min(seconds), max(seconds)
    logs = np.log(seconds)
    half = _T * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / _N_RUNS)
    return math.exp(logs.mean() - half), math.exp(logs.mean() + half)


def cheaply_drawn(state: StudyState) -> StudyState:
    """Returns the state with a searcher that fits no model: a forecast needs likely configurations, not the right ones.

    Everything else is shared with `state`.
    """
    if state.spec.searcher.name in _CHEAP_SEARCHERS:
        return state
    n_newest = max(math.ceil(_NEWEST_SHARE * len(state.searched)), _LEAST_NEWEST)
    newest = [trial.config for trial in state.searched[-n_newest:]]
    other = copy.copy(state)
    searcher: Searcher = _LikeNewest(newest) if len(newest) == n_newest else Random()
    other.spec = dataclasses.replace(state.spec, searcher=searcher)
    return other


@final
class _LikeNewest(Searcher):
    """Draws as the study's own searcher did last, because one that learns comes to prefer some configurations.

    If seconds are an objective, it soon draws fast configurations, and only a few others.

    Args:
        newest: the configurations that it drew last.
    """

    name: ClassVar[str] = "random"

    def __init__(self, newest: Sequence[Mapping[str, Any]]) -> None:
        self._newest = newest

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns one of the newest configurations, or one at random."""
        rng = stream(seed, "outlook", draw)
        if rng.random() >= _LIKE_NEWEST:
            return Random().propose(space, draw, seed, history)
        return dict(self._newest[int(rng.integers(len(self._newest)))])


@final
class _Run:
    """One forward run."""

    def __init__(self, state: StudyState, now: float, paces: SeenPaces, seed: int) -> None:
        self._state = cheaply_drawn(state.copied())
        self._state.is_renting = False  # a forecast has the whole pool
        self._limits, most = state.limits, len(state.searched) + _MOST_NEW
        self._n_more = 0 if state.is_replicating else max((state.limits.max_trials or 0) - most, 0)
        self._state.has_reference_count = False  # a forecast counts real seconds, and fits no model
        # a step is a whole rung here, and limits of time and cost end a study at any report
        self._state.limits = dataclasses.replace(
            state.limits, max_time_s=None, max_cost_usd=None, max_trials=min(state.limits.max_trials or most, most)
        )
        self._controller = Controller(self._state, lambda events: None)
        self._now, self._begun, self._paces = now, now, paces
        self._rng = np.random.default_rng(seed)
        self._values, self._ends = LikelyValues(state, self._rng), EarlyEnds(state, self._rng)
        self._gain = LearningGain(state, state.limits.max_trials or most)
        self._epoch_s = dict(paces.epochs_s)
        self._like: dict[int, int | None] = {}  # new trial -> the trial that it resembles
        self._free, self._n_busy = state.places, 0
        self._coming: list[tuple[float, int, int, bool]] = []  # time, trial, resource of its next report, is its last
        self._created_at: list[float] = []
        self._starting_s = self._device_s = 0.0
        self._paid_s = Remaining(state).node_s(now)  # for which the node of the pool can be paid

    def run(self) -> Outlook:
        for segment in list(self._state.running.values()):
            self._free -= segment.num_devices
            is_training = segment.reached > segment.resource
            startup_s = 0.0 if is_training else self._paces.startup_s(segment.num_devices)
            self._schedule(segment, segment.reported_at + startup_s)
        for _ in range(_MAX_STEPS):
            self._fill()
            if not self._coming:
                self._now += self._more_s()
                break
            self._step()
            if self._past_limit_s() >= 0.0:
                break
        self._now -= max(self._past_limit_s(), 0.0)
        left_s = max(self._now - self._begun, 0.0)
        return Outlook(left_s, self._starting_s, self._device_s, left_s, left_s)

    def _more_s(self) -> float:
        """Returns the seconds for the trials that were not run forward, or those that the remaining money lasts."""
        later = self._created_at[len(self._created_at) // 2 :]
        if self._n_more == 0 or len(later) < 2:
            return 0.0
        seconds = self._n_more * (later[-1] - later[0]) / (len(later) - 1)
        if self._limits.max_cost_usd is None or self._is_on_node:
            return min(seconds, max(self._paid_s - (self._now - self._begun), 0.0))
        usd = self._state.spec.most_usd_of(self._device_s)
        rest_usd = self._limits.max_cost_usd - self._state.billed_usd(self._now)
        return min(seconds, rest_usd * (self._now - self._begun) / usd)

    def _past_limit_s(self) -> float:
        """Returns for how many seconds a limit has been exceeded; negative while none is."""
        limits, past_s = self._limits, -math.inf
        if limits.max_time_s is not None:
            past_s = self._state.wall_s(self._now) - limits.max_time_s
        if self._is_on_node:
            past_s = max(past_s, self._now - self._begun - self._paid_s)
        elif limits.max_cost_usd is not None:
            usd_per_s = self._state.spec.most_usd_of(max(self._n_busy, 1))
            past_s = max(past_s, (self._state.billed_usd(self._now) - limits.max_cost_usd) / usd_per_s)
        return past_s

    @property
    def _is_on_node(self) -> bool:
        """Whether the money is spent on a node that is paid as a whole."""
        return self._state.spec.pool.is_paid_whole

    def _fill(self) -> None:
        """Starts what the controller chooses, as long as devices are free."""
        while isinstance(answer := self._answer(), Start | Resume):
            segment = self._controller.begin(answer, tuple(range(answer.num_devices)), self._now)
            self._created_at += [self._now] * isinstance(answer, Start)
            startup_s = self._paces.startup_s(segment.num_devices)
            self._free -= segment.num_devices
            self._starting_s += startup_s * segment.share
            self._schedule(segment, self._now + startup_s)

    def _answer(self) -> Answer:
        if self._state.spec.allocator.plans_stages:
            without, self._state.limits = self._state.limits, self._limits  # a plan depends on the limits
            self._controller.plan_stage(self._now)
            self._state.limits = without
        answer = self._controller.ask(self._now, self._free)
        self._controller.reserve(answer, self._now)
        return answer

    def _schedule(self, segment: Segment, ready_at: float) -> None:
        """Schedules the report at the next level or at an early end; reports between levels decide nothing."""
        levels = self._state.ladder.levels
        level = next((level for level in levels if level > segment.reached), levels[-1])
        end = self._ends.draw(segment.reached, level)
        resource = level if end is None else end
        at = ready_at + max(resource - segment.reached, 0) * self._trial_epoch_s(segment)
        heapq.heappush(self._coming, (max(at, self._now), segment.trial_id, resource, end is not None))

    def _step(self) -> None:
        self._now, trial_id, resource, is_last = heapq.heappop(self._coming)
        segment, self._n_busy = self._state.running[trial_id], self._state.places - self._free
        train_s = (resource - segment.resource) * self._trial_epoch_s(segment)
        level = next((level for level in self._state.ladder.levels if level >= resource), resource)
        values = dict(self._values.draw(level, self._like.get(trial_id), self._gain.rank_factor(trial_id)))
        for name in ADDED_UP:
            if name in values:
                values[name] -= self._state.value_at_begin(segment, name)
        verdict = self._controller.report(trial_id, resource, values, train_s, self._now)
        if isinstance(verdict, Continue) and not is_last:
            self._schedule(segment, self._now)
            return
        if verdict.kind == VerdictKind.PAUSE:
            self._controller.saved(trial_id, f"{trial_id}-{segment.number}", "", 0, resource, train_s, self._now)
        self._controller.tell(trial_id, self._now, Outcome.DONE)
        self._free += segment.num_devices
        self._device_s += (self._now - max(segment.started_at, self._begun)) * segment.share

    def _trial_epoch_s(self, segment: Segment) -> float:
        """Returns a trial's own pace; for a new trial, a likely one, with the trial that it then resembles."""
        trial_id = segment.trial_id
        if trial_id not in self._epoch_s:
            trial = self._state.trials[trial_id]
            self._like[trial_id], self._epoch_s[trial_id] = self._paces.draw(trial, self._rng)
        return self._epoch_s[trial_id]
