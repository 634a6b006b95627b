"""The median stopping rule against its definition."""

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

from lightning_hwtune.core.schedulers import MedianStopping, Race
from lightning_hwtune.errors import ArgumentError

VALUE = st.integers(0, 9).map(float)


def shown(live: Race, trial_id: int, losses: list[list[float]]) -> list[str]:
    """A trial reports these losses at 1, 2, ... until it is stopped; returns the kinds."""
    kinds = []
    for resource, loss in enumerate(losses, 1):
        kinds.append(live.verdict(trial_id, 0, resource, np.array(loss)).kind)
        live.record(trial_id, 0, resource, np.array(loss), kinds[-1])
        live.observe(trial_id, 0, resource, np.array(loss))
        if kinds[-1] == "stop":
            break
    return kinds


def tell(live: Race, trial_id: int, losses: dict[int, float], n_objectives: int) -> None:
    """A trial reports these losses, the same in each objective, by resource."""
    for resource, value in losses.items():
        loss = np.full(n_objectives, value)
        if resource in live.levels:
            live.record(trial_id, 0, resource, loss, "continue")
        live.observe(trial_id, 0, resource, loss)


@settings(max_examples=100)
@given(st.integers(1, 2), st.integers(1, 4), st.data())
def test_it_stops_as_the_definition_says(n_objectives: int, min_trials: int, data: st.DataObject) -> None:
    loss = st.lists(VALUE, min_size=n_objectives, max_size=n_objectives)
    curves = data.draw(st.lists(st.lists(loss, min_size=4, max_size=4), min_size=1, max_size=8))
    live = started(MedianStopping(max_epochs=5, min_trials=min_trials), n_objectives)
    kept: list[np.ndarray] = []
    for trial_id, curve in enumerate(curves):
        kinds = shown(live, trial_id, curve)
        for level in range(1, len(kinds) + 1):
            seen = np.array(curve[:level])
            own = seen.min(axis=0) if n_objectives == 1 else seen.mean(axis=0)
            others = [other[:level].mean(axis=0) for other in kept if len(other) >= level]
            is_stopped = len(others) >= min_trials and bool((own > np.median(others, axis=0)).all())
            assert (kinds[level - 1] == "stop") == is_stopped
        kept.append(np.array(curve[: len(kinds)]))


def test_a_diverged_trial_ends_and_counts_for_nobody() -> None:
    live = started(MedianStopping(max_epochs=9, min_trials=1), 1)
    assert shown(live, 0, [[math.nan]]) == ["stop"]
    assert shown(live, 1, [[5.0], [5.0]]) == ["continue", "continue"]
    assert shown(live, 2, [[6.0]]) == ["stop"]
    assert shown(live, 3, [[5.0], [5.0]]) == ["continue", "continue"]  # equal is not worse


def test_work_done_again_is_counted_once() -> None:
    live = started(MedianStopping(max_epochs=9, min_trials=1), 1)
    for resource in (1, 2):
        live.observe(0, 0, resource, np.array([4.0]))
    live.observe(0, 0, 1, np.array([100.0]))
    live.record(0, 0, 3, np.array([4.0]), "continue")
    live.observe(0, 0, 3, np.array([4.0]))
    live.observe(1, 0, 1, np.array([4.5]))
    assert live.verdict(1, 0, 3, np.array([4.5])).kind == "stop"
    assert live.verdict(1, 0, 3, np.array([3.5])).kind == "continue"


@pytest.mark.parametrize("n_objectives", [1, 2])
def test_a_loss_that_is_not_finite_between_levels_is_left_out(n_objectives: int) -> None:
    live = started(MedianStopping(max_epochs=9, every=2, min_trials=1), n_objectives)
    tell(live, 0, {1: 1.0, 2: math.nan, 3: 3.0}, n_objectives)
    assert live.verdict(1, 0, 3, np.full(n_objectives, 2.0)).kind == "continue"  # 0 stands at 2, the mean of 1 and 3
    assert live.verdict(1, 0, 3, np.full(n_objectives, 2.1)).kind == "stop"
    tell(live, 1, {1: 9.0, 2: math.inf}, n_objectives)
    assert live.verdict(1, 0, 3, np.full(n_objectives, 9.0)).kind == "stop"
    assert live.verdict(1, 0, 3, np.full(n_objectives, math.nan)).kind == "stop"


def test_a_trial_that_ended_early_stands_at_its_average() -> None:
    live = started(MedianStopping(max_epochs=9, min_trials=1), 1)
    tell(live, 0, {1: 0.9, 2: 0.5, 3: 0.1}, 1)
    live.record(0, 0, 4, np.array([0.1]), "stop")
    assert live.verdict(1, 0, 4, np.array([0.5])).kind == "continue"
    assert live.verdict(1, 0, 4, np.array([0.51])).kind == "stop"


def test_levels_begin_at_the_first_rung_and_end_with_the_training() -> None:
    assert MedianStopping(10, first_rung=3, every=4).levels == (3, 7, 10)
    assert MedianStopping(10, first_rung=10).levels == (10,)
    assert MedianStopping(3).expected(8) == ((1, 8), (2, 8), (3, 8))


@pytest.mark.parametrize("settings", [{"every": 0}, {"min_trials": 0}, {"first_rung": 11}, {"every": True}])
def test_wrong_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        MedianStopping(10, **settings)
