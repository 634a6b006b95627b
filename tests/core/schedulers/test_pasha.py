"""PASHA against a slow second implementation of the authors' algorithm, and what is ours."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from started_race import started

from lightning_hwtune.core.decisions import Continue
from lightning_hwtune.core.schedulers import ASHA, PASHA
from lightning_hwtune.errors import ArgumentError


class SlowPasha:
    """The authors' algorithm in plain loops, pairs sorted: estimates everything again on every report."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        self.levels, self.index, self.epsilon = levels, 1, 0.0
        self.by_epoch: dict[int, dict[int, float]] = {}
        self.rungs: dict[int, dict[int, float]] = {level: {} for level in levels}
        self.promoted: set[tuple[int, int]] = set()

    @property
    def cap(self) -> int:
        return self.levels[self.index]

    def report(self, trial_id: int, epoch: int, value: float) -> None:
        if epoch in self.rungs:
            self.rungs[epoch][trial_id] = value
        self.by_epoch.setdefault(epoch, {})[trial_id] = value
        if self.cap == self.levels[-1]:
            return
        self.estimate()
        if self.rungs[self.cap] and self.disagrees():
            self.index += 1

    def estimate(self) -> None:
        seen: set[tuple[int, int]] = set()
        gaps = []
        for epoch in range(min(max(self.by_epoch), self.cap), self.levels[self.index - 1], -1):
            here = self.by_epoch.get(epoch, {})
            for a in sorted(here):
                for b in sorted(here):
                    if a >= b or (a, b) in seen:
                        continue
                    seen.add((a, b))
                    is_above = here[a] > here[b]
                    was_opposite = was_same_before = False
                    for earlier in range(epoch - 1, 0, -1):
                        was_above = self.by_epoch[earlier][a] > self.by_epoch[earlier][b]
                        was_opposite |= was_above != is_above
                        if was_opposite and was_above == is_above:
                            was_same_before = True
                            break
                    if was_same_before:
                        gaps.append(abs(here[a] - here[b]))
        if gaps:
            self.epsilon = float(np.percentile(gaps, 90))

    def disagrees(self) -> bool:
        above, below = self.rungs[self.cap], self.rungs[self.levels[self.index - 1]]
        top = sorted(above, key=lambda i: (above[i], i))
        previous = sorted(above, key=lambda i: (below[i], i))
        if len(previous) < 2:
            return False
        for i, trial_id in enumerate(previous):
            group = [other for other in previous if abs(below[other] - below[trial_id]) <= self.epsilon]
            if top[i] not in group:
                return True
        return False

    def goes_on(self, level: int, trial_id: int) -> bool:
        """By numpy's quantile; for values that are all different."""
        values = self.rungs[level]
        if len(values) < 2:
            return False
        above = self.levels[self.levels.index(level) + 1]
        # a hair, as the interpolated quantile of exactly one value may be rounded below it
        return values[trial_id] <= np.quantile(list(values.values()), level / above) + 1e-12


@st.composite
def curves(draw: st.DrawFn) -> tuple[int, float, int]:
    return (
        draw(st.integers(0, 10_000)),
        draw(st.sampled_from([0.0, 0.02, 0.2, 1.0])),
        draw(st.sampled_from([27, 40, 81])),
    )


@settings(max_examples=10, deadline=None)
@given(curves())
@pytest.mark.slow
def test_one_objective_decides_as_the_slow_one(drawn: tuple[int, float, int]) -> None:
    seed, noise, max_epochs = drawn
    rng = np.random.default_rng(seed)
    live = started(PASHA(max_epochs=max_epochs, quota="quantile"), 1)
    slow = SlowPasha(live.levels)
    floors, speeds, running, at = {}, {}, {}, {}
    for _ in range(300):
        while len(running) < 3:
            promotion = live.promotable(exclude=running)
            open_ones = [
                (level, trial_id)
                for level in slow.levels[: slow.index]
                for trial_id in slow.rungs[level]
                if (trial_id, level) not in slow.promoted and trial_id not in running and slow.goes_on(level, trial_id)
            ]
            if promotion is None:
                assert not open_ones
                trial_id = len(at)
                at[trial_id], running[trial_id] = 0, live.levels[0]
                floors[trial_id], speeds[trial_id] = rng.random(), rng.random()
            else:
                deepest = max(level for level, _ in open_ones)
                best = min((i for level, i in open_ones if level == deepest), key=lambda i: slow.rungs[deepest][i])
                assert (promotion.trial_id, promotion.level) == (best, deepest)
                live.promoted(best, 0, deepest)
                slow.promoted.add((best, deepest))
                running[best] = promotion.target
        trial_id = int(rng.choice(sorted(running)))
        epoch = at[trial_id] = at[trial_id] + 1
        value = (
            floors[trial_id] + (1 - floors[trial_id]) * (epoch + 1) ** -speeds[trial_id] + noise * rng.standard_normal()
        )
        loss = np.array([value])
        kind = "between"
        if epoch == running[trial_id]:
            kind = (verdict := live.verdict(trial_id, 0, epoch, loss)).kind
            live.record(trial_id, 0, epoch, loss, kind)
            cap_before = slow.cap
            slow.report(trial_id, epoch, value)
            goes_on = epoch < min(cap_before, max_epochs) and slow.goes_on(epoch, trial_id)
            assert isinstance(verdict, Continue) == goes_on
            if goes_on:
                slow.promoted.add((trial_id, epoch))
                running[trial_id] = live.next_target(0, epoch)
            else:
                del running[trial_id]
        else:
            slow.report(trial_id, epoch, value)
        live.observe(trial_id, 0, epoch, loss)
        assert live.cap == slow.cap
        if live.cap < max_epochs:
            assert live._estimate() == pytest.approx([slow.epsilon], rel=1e-12, abs=0)


def grown(lower: list[list[float]], upper: list[list[float]]) -> PASHA:
    """Returns a scheduler over rungs 1, 3, 9, 27 after these trials came to 1 and to 3."""
    live = started(PASHA(max_epochs=27), len(lower[0]))
    for level, losses in ((1, lower), (3, upper)):
        for trial_id, loss in enumerate(losses):
            live.record(trial_id, 0, level, np.array(loss), "continue" if level == 1 else "pause")
            live.observe(trial_id, 0, level, np.array(loss))
    return live


def test_the_ladder_stands_while_the_order_is_the_same_and_grows_when_it_is_not() -> None:
    assert grown([[1.0], [2.0], [3.0]], [[0.1], [0.2], [0.3]]).cap == 3
    assert grown([[1.0], [2.0], [3.0]], [[0.1], [0.3], [0.2]]).cap == 9
    assert grown([[1.0, 5.0], [2.0, 4.0]], [[0.2, 5.0], [0.1, 6.0]]).cap == 3  # still incomparable
    assert grown([[1.0, 5.0], [2.0, 4.0]], [[0.2, 5.0], [0.1, 4.0]]).cap == 9  # one now dominates


def test_one_trial_at_the_top_never_disagrees() -> None:
    assert grown([[1.0]], [[9.0]]).cap == 3


def test_diverged_trials_are_no_evidence() -> None:
    assert grown([[1.0], [2.0], [3.0]], [[math.nan], [0.2], [0.3]]).cap == 3


def test_nobody_goes_beyond_the_ladder() -> None:
    live = grown([[1.0], [2.0], [3.0]], [[0.1], [0.2], [0.3]])
    verdict = live.verdict(3, 0, 3, np.array([0.0]))
    assert (verdict.kind, verdict.reason.rule) == ("pause", "cap")
    assert live.promotable() is None or live.promotable().level == 1
    assert [level for _, level in live.finishers()] == [3, 3, 3]


def test_the_ladder_is_exhausted_at_the_full_training() -> None:
    live, rng = started(PASHA(max_epochs=9, eta=2), 1), np.random.default_rng(0)
    for trial_id in range(12):
        for level in live.levels:
            loss = rng.random(1)
            live.record(trial_id, 0, level, loss, "continue" if level < 9 else "stop")
            live.observe(trial_id, 0, level, loss)
    assert live.cap == live.max_resource == 9


@pytest.mark.parametrize("settings", [{"max_epochs": 3}, {"max_epochs": 1}, {"max_steps": 100, "first_rung": 50}])
def test_two_rungs_are_no_ladder(settings: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="Use ASHA"):
        PASHA(**settings)


def test_a_ladder_that_always_grows_decides_as_asha() -> None:
    live, asha, rng = started(PASHA(max_epochs=9), 1), started(ASHA(max_epochs=9), 1), np.random.default_rng(1)
    for trial_id in range(60):
        level = 1
        while True:
            loss = rng.random(1)
            verdicts = [each.verdict(trial_id, 0, level, loss) for each in (live, asha)]
            if live.cap == live.max_resource:
                assert verdicts[0] == verdicts[1]
            kind = verdicts[0].kind
            for each in (live, asha):
                each.record(trial_id, 0, level, loss, kind)
                each.observe(trial_id, 0, level, loss)
            if kind != "continue":
                break
            level = live.next_target(0, level)
    assert live.cap == live.max_resource
    assert live.promotable() == asha.promotable()
    assert PASHA(max_epochs=27).expected(60) == ASHA(max_epochs=27).expected(60)


def test_more_than_the_quota_go_on_where_each_arrival_is_better() -> None:
    scheduler = PASHA(27)
    live, n_on = started(scheduler, 1), 0
    for trial_id in range(9):
        loss = np.array([-float(trial_id)])
        kind = live.verdict(trial_id, 0, 1, loss).kind
        live.record(trial_id, 0, 1, loss, kind)
        n_on += kind == "continue"
    assert n_on == 7
    assert dict(scheduler.expected(9))[3] == 3
    assert scheduler.bound == "about"


def test_an_unknown_quota_is_refused() -> None:
    with pytest.raises(ArgumentError, match="`quota`"):
        PASHA(27, quota="ceil")
