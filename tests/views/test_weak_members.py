"""A trial that is on the front only because it is cheap: why it is there, and how it is excluded."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from paper_study import begin, make_spec
from rich.console import Console

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.views.end_of_run import print_closing
from lightning_hwtune.views.front_points import front_points
from lightning_hwtune.views.weak_members import weak_member_hint

CHANCE = [0.2, 0.1, 0.15, 0.3, 0.9]  # the last trial is the fastest, and has learnt nothing


def trained(values: list[float], *, n_full: int = 99, seconds: list[float] | None = None, **metric: Any) -> StudyState:
    """A study whose trials report these values, each faster than the one before; the first `n_full` are completed."""
    objectives = Objectives([Metric("error", metric.pop("mode", "min"), **metric), TrainSeconds()])
    script = begin(make_spec(objectives=objectives, scheduler=RunToEnd(max_epochs=2)), max_trials=len(values))
    for i, value in enumerate(values):
        time_s = seconds[i] if seconds else float(len(values) - i)
        script.create(0.0, i, 0.01 + 0.001 * i, 1)
        script.start(0.0, i, [0])
        script.report(time_s, i, 1, value, time_s)
        if i < n_full:
            end = {"level": 2, "verdict": "stop", "rule": "max-resource", "reason": "to the end"}
            script.report(2 * time_s, i, 2, value, 2 * time_s, **end)
            script.save(2 * time_s, i, 2, 2 * time_s)
        script.end(2 * time_s, i, "completed" if i < n_full else "failed", 2 * time_s)
    script.add(ev.SessionClosed(at=30.0, state="finished", reason="trials", wall_s=30.0))
    return script.state


def test_a_trial_that_has_learnt_nothing_is_explained_with_the_bound_that_excludes_it() -> None:
    state = trained(CHANCE)
    assert 4 in [point.trial.trial_id for point in front_points(state)]
    assert weak_member_hint(state) == (
        "note: 4 of the 4 other trials have a better error than trial 4 (0.9). It is on the front because each fully "
        "trained trial with a better error is worse in train_s. In a new study, a bound such as "
        '`Metric("error", "min", at_most=0.2)` keeps such trials off the front'
    )
    assert [point.trial.trial_id for point in front_points(trained(CHANCE, at_most=0.2))] == [1, 2]


def test_a_metric_that_is_maximised_gets_a_bound_from_below() -> None:
    state = trained([0.8, 0.9, 0.85, 0.7, 0.1], mode="max")
    assert '`Metric("error", "max", at_least=0.8)`' in weak_member_hint(state)


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ([0.1, 0.2, 0.3, 0.9], {}),  # too few others
        (CHANCE, {"seconds": [1.0, 2.0, 3.0, 4.0, 5.0]}),  # it is not on the front
        (CHANCE, {"at_most": 0.95}),  # the user has chosen a bound
        ([0.2, 0.1, 0.2, 0.2, 0.2], {}),  # no better than most, but no worse either
        ([0.3, 0.2, 0.1, math.nan, math.nan], {}),
        ([0.5], {}),
    ],
)
def test_no_word_where_nothing_is_known(values: list[float], settings: dict[str, Any]) -> None:
    assert weak_member_hint(trained(values, **settings)) == ""


def test_trials_that_are_not_fully_trained_count_among_most_trials() -> None:
    """The cheapest of the fully trained trials is worse than these, but better than those that were stopped early."""
    assert "4 of the 4 other trials" in weak_member_hint(trained([0.1, 0.15, 0.9, 0.2, 0.3], n_full=3))
    assert weak_member_hint(trained([0.1, 0.15, 0.3, 0.8, 0.9], n_full=3)) == ""


def test_the_front_of_all_measurements_speaks_of_all_trials_and_that_of_a_rung_of_none() -> None:
    state = trained(CHANCE)
    assert "because each trial with a better error" in weak_member_hint(state, "any")
    assert weak_member_hint(state, "rung") == ""


def test_the_end_of_a_run_has_the_note_once() -> None:
    state, console = trained(CHANCE), Console(file=io.StringIO(), width=200, force_terminal=False)
    assert state.closed is not None
    print_closing(console, state, state.closed, Path("hwtune/paper"), None)
    assert console.file.getvalue().count("at_most=0.2") == 1  # type: ignore[attr-defined]
