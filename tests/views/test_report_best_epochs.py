"""A hint where a trial was clearly better before its end, which is what users see in its story."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import pytest
from paper_study import begin, make_spec
from rich.console import Console

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.views.best_epochs import best_hint, better_before
from lightning_hwtune.views.end_of_run import print_closing
from lightning_hwtune.views.story import why


def trained(values: list[float], *, mode: str = "min", best: bool = False, horizon: int = 0) -> StudyState:
    """A study whose only trial has reported these values; it ended early if they are fewer than the horizon."""
    objectives = Objectives([Metric("error", mode, best=best), TrainSeconds()])
    horizon = horizon or len(values)
    spec = make_spec(objectives=objectives, scheduler=RunToEnd(max_epochs=horizon))
    script = begin(spec, max_trials=1, finishers=1)
    script.create(0.0, 0, 0.01, 1)
    script.start(0.0, 0, [0])
    for epoch, value in enumerate(values, 1):
        is_last = epoch == horizon
        end = {"level": epoch, "verdict": "stop", "rule": "max-resource", "reason": "to the end"} if is_last else {}
        script.report(float(epoch), 0, epoch, value, float(epoch), **end)
    script.save(9.1, 0, len(values), 9.0)
    script.end(9.2, 0, "completed", 9.0)
    script.add(ev.SessionClosed(at=10.0, state="finished", reason="1 trial", wall_s=10.0))
    return script.state


@pytest.mark.parametrize(
    ("values", "mode", "horizon", "said"),
    [
        ([0.9, 0.3, 0.2, 0.4], "min", 4, "error was 0.2 at epoch 3 and is 0.4 at epoch 4"),
        ([0.1, 0.8, 0.9, 0.5], "max", 4, "error was 0.9 at epoch 3 and is 0.5 at epoch 4"),
        ([0.9, 0.2, 0.215], "min", 9, "error was 0.2 at epoch 2 and is 0.215 at epoch 3"),  # its own early stopping
        ([0.9, 0.2, 0.2, 0.5], "min", 4, "error was 0.2 at epoch 2 and is 0.5 at epoch 4"),
        ([math.nan, 0.2, 0.9], "min", 3, "error was 0.2 at epoch 2 and is 0.9 at epoch 3"),
        ([0.9, 0.2, 0.215], "min", 3, ""),  # not clearly worse
        ([0.9, 0.5, 0.2], "min", 3, ""),
        ([0.5, 0.5, 0.5], "min", 3, ""),
        ([0.5], "min", 1, ""),
    ],
)
def test_the_hint_names_both_values_and_the_setting(values: list[float], mode: str, horizon: int, said: str) -> None:
    state = trained(values, mode=mode, horizon=horizon)
    hint = best_hint(state)
    assert (said in hint) if said else hint == ""
    assert (f'`Metric("error", "{mode}", best=True)`' in hint) is bool(said)
    assert best_hint(trained(values, mode=mode, horizon=horizon, best=True)) == ""


def test_a_value_that_is_not_finite_at_the_end_is_told_elsewhere() -> None:
    state = trained([0.5, 0.2, math.nan])
    assert better_before(state, state.trials[0]) is None


def test_the_end_of_a_run_shows_the_hint_once_and_the_story_of_the_trial_explains_it() -> None:
    state, console = trained([0.9, 0.2, 0.4]), Console(file=io.StringIO(), width=200, force_terminal=False)
    assert state.closed is not None
    print_closing(console, state, dataclasses.replace(state.closed), Path("hwtune/paper"), None)
    assert console.file.getvalue().count("best=True") == 1  # type: ignore[attr-defined]
    last = why(state, [], 0).splitlines()[-1]
    assert last.endswith("it was better before: error was 0.2 at epoch 2 and is 0.4 at epoch 3.")
