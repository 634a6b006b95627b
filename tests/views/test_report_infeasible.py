"""What is shown of trials that violate a constraint: everywhere, with the amount, and never on a front."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from test_constrained_study import Net, objectives, study, trained

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.views.end_of_run import print_closing
from lightning_hwtune.views.export import front_text, trials_text
from lightning_hwtune.views.front_points import front_points
from lightning_hwtune.views.infeasible import infeasible_hint, infeasible_text
from lightning_hwtune.views.plots import curves_figure, front_figure, timeline_figure
from lightning_hwtune.views.recommendation import recommended
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.story import why
from lightning_hwtune.views.studies import studies_frame, study_entry
from lightning_hwtune.views.tables import best_entry, best_frame, front_frame, trial_entries, trials_frame
from lightning_hwtune.views.terminal import status_table

LIMIT = hwt.Constraint("params", at_most=50)


@pytest.fixture(scope="module")
def some() -> Net:
    """Some trials are too large, some of the others have too high an error, and some are feasible."""
    return trained(objectives(LIMIT, at_most=0.3), n_trials=16, scheduler=RunToEnd(9))


@pytest.fixture(scope="module")
def none() -> Net:
    """No trial is feasible."""
    return trained(Objectives(Metric("error", "min", at_most=0.0)), n_trials=4, scheduler=RunToEnd(9))


def violators(state: StudyFacts) -> list[int]:
    return [trial.trial_id for trial in state.trials if state.violation(trial) > 0]


@pytest.mark.parametrize("at", ["full", "any", "rung"])
def test_no_violator_is_on_a_front(some: Net, none: Net, at: str) -> None:
    ids = {point.trial.trial_id for point in front_points(some.state, at)}
    assert ids
    assert not ids & set(violators(some.state))
    assert not front_points(none.state, at)
    assert len(front_frame(none.state, at)) == 0


def test_no_violator_is_recommended(some: Net, none: Net) -> None:
    found = recommended(some.state)
    assert found is not None
    assert found[0].trial.trial_id not in violators(some.state)
    assert recommended(none.state) is None


def test_the_trials_have_the_values_and_the_amounts(some: Net) -> None:
    frame = trials_frame(some.state)
    assert {"params", "infeasible"} <= set(frame.columns)
    for entry, shown in zip(trial_entries(some.state), frame["infeasible"], strict=True):
        trial = some.state.trials[entry["trial_id"]]
        assert entry["constraints"] == {"params": trial.config["n"]}
        assert set(entry["objectives"]) == {"error", "train_s"}
        over = {"params": trial.config["n"] - 50.0} if trial.config["n"] > 50 else {}
        if entry["objectives"]["error"] > 0.3:
            over["error"] = pytest.approx(entry["objectives"]["error"] - 0.3)
        assert entry["infeasible"] == over
        assert (entry["violation"] > 0) == bool(over) == bool(shown)
        assert all(f"{name} is" in shown for name in over)
    assert json.loads(trials_text(some.state))[0]["infeasible"] is not None
    assert "infeasible" in trials_text(some.state, "csv").splitlines()[0]
    assert json.loads(front_text(some.state))[0]["infeasible"] == {}


def test_the_best_is_feasible_or_else_the_least_violation(some: Net, none: Net) -> None:
    best, least = best_entry(some.state), best_entry(none.state)
    assert best is not None
    assert best["infeasible"] == {}
    assert least is not None
    assert least["violation"] == min(none.state.violation(trial) for trial in none.state.trials)
    assert least["infeasible"]["error"] > 0
    assert best_frame(none.state)["trial"].tolist() == [least["trial_id"]]
    shown = studies_frame([study_entry(none.state, is_driven=False)])["best"][0]
    assert shown.endswith("(infeasible: error)")


def test_the_status_and_the_closing_lines_count_them(some: Net, none: Net, tmp_path: Path) -> None:
    entry = status_entry(some.state, 0.0, 0)
    full = [trial for trial in some.state.trials if trial.trial_id in some.state.full]
    assert entry["infeasible"] == len(violators(some.state))
    assert entry["infeasible_full"] == sum(some.state.violation(trial) > 0 for trial in full) > 0
    assert entry["infeasible_least"].startswith("least violation: trial")
    text = io.StringIO()
    console = Console(file=text, width=200)
    console.print(status_table(entry))
    assert f"{entry['infeasible']} trials" in text.getvalue()
    hint = infeasible_hint(none.state)
    assert hint.startswith("4 of 4 fully trained trials are infeasible and not on the front; least violation: trial")
    assert "error is" in hint
    none.close()
    assert isinstance(none.log[-1], ev.SessionClosed)
    print_closing(console, none.state, none.log[-1], tmp_path, None)
    assert hint in text.getvalue()


def test_the_story_gives_the_reason(some: Net) -> None:
    for trial_id in violators(some.state):
        trial, text = some.state.trials[trial_id], why(some.state, some.log, trial_id)
        amount = infeasible_text(some.state, trial)
        assert text.count(amount.split(", params")[0]) >= 1
        if trial.config["n"] > 50:
            assert "epoch 1: " in text
            assert "stopped: infeasible: params is" in text
            assert "[constraint]" in text
            assert "It was stopped for good. It is infeasible:" in text
        else:
            assert "not on the front, because it is infeasible: error is" in text


@pytest.mark.parametrize("figure", [front_figure, curves_figure, timeline_figure])
def test_pictures_are_drawn(some: Net, none: Net, figure: object) -> None:
    for net in (some, none):
        drawn = figure(net.state)  # type: ignore[operator]
        if figure is front_figure:
            legend = {text.get_text() for text in drawn.legends[0].get_texts()}
            assert "infeasible" in legend
            assert "infeasible)" in drawn.get_suptitle()


def test_a_study_without_bounds_shows_nothing_new() -> None:
    net = Net(study(objectives()), hwt_limits())
    net.run()
    assert "infeasible" not in trials_frame(net.state).columns
    assert not {"infeasible", "violation", "constraints"} & set(trial_entries(net.state)[0])
    assert not any(key.startswith("infeasible") for key in status_entry(net.state, 0.0, 0))
    assert infeasible_hint(net.state) == ""


def hwt_limits() -> Any:
    from lightning_hwtune.core.spec import Limits

    return Limits(max_trials=3)
