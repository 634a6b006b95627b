from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from paper_study import TRACEBACK, begin, make_spec
from study_driver import Driver, spec

from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.errors import ArgumentError, first_line
from lightning_hwtune.views.export import trials_text
from lightning_hwtune.views.front_frame import FrontFrame
from lightning_hwtune.views.front_points import ended_early
from lightning_hwtune.views.tables import (
    best_entry,
    front_entries,
    front_frame,
    n_retries,
    rung_words,
    shown_trials,
    trial_entries,
    trials_frame,
)
from lightning_hwtune.views.terminal import print_frame

CONFIDENCE = ["probability", "within_noise", "checkpoint"]


NOTHING_ADDED = {"test": {}, "test_error": "", "notes": {}, "logged": {}}


def test_the_full_front_as_entries(paper):
    assert front_entries(paper.state) == [
        {
            "trial_id": 1,
            "config": {"lr": 0.02, "devices": 1},
            "devices": 1,
            "objectives": {"error": 0.2, "train_s": 9.0, "cost_usd": 0.009000000000000001},
            "epochs": 9,
            **NOTHING_ADDED,
            "checkpoint": "trials/001/3.ckpt",
            "probability": 1.0,
            "within_noise": False,
        },
        {
            "trial_id": 0,
            "config": {"lr": 0.01, "devices": 1},
            "devices": 1,
            "objectives": {"error": 0.25, "train_s": 5.0, "cost_usd": 0.005},
            "epochs": 9,
            **NOTHING_ADDED,
            "checkpoint": "trials/000/2.ckpt",
            "probability": 0.87,
            "within_noise": False,
        },
    ]


def test_the_rung_front_is_one_front_a_level_deepest_first(paper):
    found = [
        (r["rung"], r["trial_id"], r["epochs"], r["objectives"]["error"]) for r in front_entries(paper.state, "rung")
    ]
    # at 3: trial 0 was as far with 0.44 after 2 s, trial 1 with 0.34 after 3 s (its repeated epoch replaced 0.3);
    # at 1: the diverged trial 2 is the fastest and still on no front, and 0 is dominated by 1
    assert found == [(9, 1, 9, 0.2), (9, 0, 9, 0.25), (3, 1, 3, 0.34), (3, 0, 3, 0.44), (1, 1, 1, 0.4)]


def test_the_mixed_front_marks_what_is_partial(empty):
    s = empty
    for trial_id, (error, train_s) in enumerate([(0.5, 1.0), (0.6, 1.0), (0.7, 0.5)]):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(0.0, trial_id, [0])
        s.report(1.0, trial_id, 1, error, train_s, level=1, verdict="pause")
        s.end(1.0, trial_id, "completed" if trial_id == 0 else "paused", 1.0)
    assert [(r["trial_id"], r["partial"]) for r in front_entries(s.state, "any")] == [(0, False), (2, True)]
    assert list(front_frame(s.state, "any").columns[-6:-3]) == ["devices", "epochs", "partial"]


def test_a_checkpoint_is_that_of_the_measurement_beside_it(paper, empty):
    assert [(r["rung"], r["trial_id"], r["checkpoint"]) for r in front_entries(paper.state, "rung")] == [
        (9, 1, "trials/001/3.ckpt"), (9, 0, "trials/000/2.ckpt"), (3, 1, None), (3, 0, None), (1, 1, None),
    ]  # fmt: skip
    checkpoints = front_frame(paper.state, "rung")["checkpoint"].tolist()
    assert checkpoints == ["trials/001/3.ckpt", "trials/000/2.ckpt", None, None, None]
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    for epoch in range(1, 6):
        empty.report(float(epoch), 0, epoch, 0.5, float(epoch))
        if epoch == 3:
            empty.save(3.0, 0, 3, 3.0)
            assert front_entries(empty.state, "any")[0]["checkpoint"] == "trials/000/1.ckpt"
    assert front_entries(empty.state, "any")[0]["checkpoint"] is None
    assert front_frame(empty.state, "any")["checkpoint"].tolist() == [None]
    assert trial_entries(empty.state)[0]["checkpoint"] == "trials/000/1.ckpt"


@pytest.mark.parametrize(("saved", "found"), [(8, None), (9, "trials/000/1.ckpt"), (10, "trials/000/1.ckpt")])
def test_the_checkpoint_of_a_fully_trained_trial_is_the_one_at_its_end(empty, saved, found):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(9.0, 0, 9, 0.5, 9.0, level=9, verdict="stop")
    empty.save(9.0, 0, saved, 9.0)
    empty.end(9.0, 0, "completed", 9.0)
    assert best_entry(empty.state)["checkpoint"] == found


@pytest.mark.parametrize("unit", ["epochs", "steps", "samples"])
def test_records_name_the_resource_by_the_unit_as_frames_do(unit):
    s = begin(make_spec(scheduler=ASHA(**{f"max_{unit}": 9})))
    s.create(0.0, 0, 0.01, 1)
    s.start(0.0, 0, [0])
    s.report(9.0, 0, 9, 0.5, 9.0, level=9, verdict="stop")
    s.end(9.0, 0, "completed", 9.0)
    for entries, frame in (
        (front_entries(s.state), front_frame(s.state)),
        (trial_entries(s.state), trials_frame(s.state)),
    ):
        assert entries[0][unit] == frame[unit].tolist()[0] == 9
        assert {"epochs", "steps", "samples"} & entries[0].keys() == {unit}


def test_the_front_frame_has_the_promised_columns_in_order(paper):
    frame = front_frame(paper.state)
    columns = ["trial", "error", "train_s", "cost_usd", "lr", "devices", "epochs", *CONFIDENCE]
    assert list(frame.columns) == columns
    assert frame.trial.tolist() == [1, 0]
    assert frame.lr.tolist() == [0.02, 0.01]
    rungs = front_frame(paper.state, "rung")
    assert list(rungs.columns) == ["rung", *columns]
    assert rungs.rung.tolist() == [9, 9, 3, 3, 1]


def test_an_empty_front_keeps_its_columns(empty):
    frame = front_frame(empty.state)
    assert frame.empty
    assert list(frame.columns) == ["trial", "error", "train_s", "cost_usd", "lr", "devices", "epochs", *CONFIDENCE]
    assert best_entry(empty.state) is None
    assert trials_frame(empty.state).empty


@pytest.mark.parametrize("ask", [front_frame, front_entries])
def test_another_kind_of_front_is_refused(paper, ask):
    with pytest.raises(ArgumentError, match="`at` is 'rungs'; allowed: 'full', 'rung' or 'any'"):
        ask(paper.state, "rungs")


def test_names_that_are_taken_get_a_prefix():
    space = SearchSpace(
        {"trial": Choice([1, 2]), "gpus": NumDevices(1, 2), "loss": Choice(["a"]), "epochs": Choice([3])}
    )
    s = begin(make_spec(space=space, objectives=Objectives([Metric("loss", "min"), Metric("devices", "max")])))
    columns = list(front_frame(s.state).columns)
    assert columns == [
        "trial", "loss", "objective.devices", "config.trial", "config.loss", "config.epochs",
        "devices", "epochs", "checkpoint",
    ]  # fmt: skip
    assert len(set(trials_frame(s.state).columns)) == len(trials_frame(s.state).columns)


def test_a_maximised_objective_is_sorted_from_its_best(empty):
    s = begin(make_spec(objectives=Objectives([Metric("error", "max"), Metric("train_time", "min")])))
    for trial_id, value in enumerate([0.1, 0.9]):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(0.0, trial_id, [0])
        s.report(1.0, trial_id, 9, 0.0, 1.0, values={"error": value, "train_time": value}, level=9, verdict="stop")
        s.end(1.0, trial_id, "completed", 1.0)
    assert [r["objectives"]["error"] for r in front_entries(s.state)] == [0.9, 0.1]
    assert best_entry(s.state)["trial_id"] == 1


def test_equal_bests_go_to_the_next_objective_then_to_the_lower_id(empty):
    s = empty
    for trial_id, train_s in enumerate([3.0, 2.0, 2.0]):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(0.0, trial_id, [0])
        s.report(1.0, trial_id, 9, 0.1, train_s, level=9, verdict="stop")
        s.end(1.0, trial_id, "completed", 1.0)
    assert best_entry(s.state)["trial_id"] == 1
    assert [r["trial_id"] for r in front_entries(s.state)] == [1, 2]


def test_every_trial_has_its_row(paper):
    frame = trials_frame(paper.state).set_index("trial")
    assert frame.state.tolist() == ["completed", "completed", "paused", "failed"]
    assert frame.epochs.tolist() == [9, 9, 1, 0]
    assert frame.devices.tolist() == [1, 1, 2, 2]
    assert frame.segments.tolist() == [2, 3, 1, 2]
    assert frame.retries.tolist() == [0, 1, 0, 1]
    assert frame.failure.tolist() == ["", "ValueError: boom", "", "killed by signal 9"]
    assert frame.rungs.tolist() == [
        "1 paused, 3 passed, 9 completed",
        "1 promoted, 3 promoted, 9 completed",
        "1 paused",
        "",
    ]
    assert math.isnan(frame.error[2])
    assert math.isnan(frame.error[3])


def test_trials_as_records_tell_nothing_from_not_finite(paper):
    entries = trial_entries(paper.state)
    assert entries[3]["objectives"] == {"error": None, "train_s": None, "cost_usd": None}
    assert math.isnan(entries[2]["objectives"]["error"])
    assert entries[1]["rungs"] == {"1": "promoted", "3": "promoted", "9": "completed"}


def test_a_trial_without_a_measurement_has_empty_cells_for_people_and_a_diverged_one_nan(paper):
    shown, frame = shown_trials(paper.state), trials_frame(paper.state)
    assert shown.error[3] is None
    assert shown.train_s[3] is None
    assert math.isnan(shown.error[2])
    assert shown.error[:2].tolist() == frame.error[:2].tolist()
    assert frame.error.dtype == float
    pd.testing.assert_frame_equal(shown.drop(columns=[*paper.state.spec.objectives.names]),
                                  frame.drop(columns=[*paper.state.spec.objectives.names]))  # fmt: skip


@pytest.mark.parametrize("parameter", ["error", "trial", "train_s"])
def test_a_parameter_with_the_name_of_an_objective_keeps_its_cells(parameter: str) -> None:
    space = SearchSpace({parameter: Float(0.1, 1.0)})
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    driver = Driver(
        spec(space=space, objectives=objectives, devices=1),
        Limits(max_trials=2),
        curve=lambda config, epoch: 1.0 / epoch,
    )
    driver.run()
    driver.state.trials[1].measurements.clear()
    shown = shown_trials(driver.state)
    assert shown[f"config.{parameter}"].tolist() == [trial.config[parameter] for trial in driver.state.trials]
    assert (shown.error[1], shown.train_s[1]) == (None, None)


def test_the_segment_that_ends_a_failed_trial_is_no_retry(paper):
    assert n_retries(paper.state) == {1: 1, 3: 1}


def test_a_trial_stopped_at_a_rung_is_called_stopped_before_it_has_ended(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(1.0, 0, 1, 0.5, 1.0, level=1, verdict="stop")
    assert rung_words(empty.state.trials[0], 9) == {1: "stopped"}
    empty.end(1.0, 0, "stopped", 1.0)
    assert rung_words(empty.state.trials[0], 9) == {1: "stopped"}


@pytest.mark.parametrize(
    ("decided", "target", "how", "words"),
    [
        ({1: "continue", 3: "continue"}, 9, {"is_first": True}, {1: "passed", 3: "passed"}),
        ({1: "continue", 3: "pause"}, 3, {"is_first": True}, {1: "passed", 3: "paused"}),  # its loss was not finite
        ({1: "pause", 3: "continue"}, 9, {"left": {1: "finisher"}}, {1: "paused", 3: "passed"}),
        ({1: "pause", 3: "pause"}, 9, {"left": {3: "finisher"}}, {1: "promoted", 3: "paused"}),
        ({1: "continue", 3: "pause"}, 9, {"left": {3: "finisher"}}, {1: "promoted", 3: "paused"}),
        ({1: "pause", 3: "pause"}, 3, {"left": {1: "finisher"}}, {1: "paused", 3: "paused"}),  # it diverged
        ({1: "pause", 3: "continue"}, 9, {"left": {1: "survivor"}}, {1: "paused", 3: "promoted"}),
        ({1: "pause", 3: "pause"}, 9, {"left": {1: "survivor"}}, {1: "paused", 3: "promoted"}),
        ({1: "pause", 3: "pause"}, 9, {"left": {1: "survivor", 3: "survivor"}}, {1: "paused", 3: "paused"}),
        ({1: "pause", 3: "pause"}, 9, {"left": {1: "survivor", 3: "finisher"}}, {1: "paused", 3: "paused"}),
        ({1: "continue", 3: "pause"}, 9, {}, {1: "promoted", 3: "promoted"}),
        ({1: "continue", 3: "pause"}, 3, {}, {1: "promoted", 3: "paused"}),
    ],
)
def test_only_a_rung_promotes(empty, decided, target, how, words):
    empty.create(0.0, 0, 0.01, 1)
    trial = empty.state.trials[0]
    trial.decided, trial.target = decided, target
    assert rung_words(trial, 9, **how) == words


def test_a_trial_that_ended_early_of_its_own_accord_stands_at_the_higher_rungs(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(1.0, 0, 1, 0.5, 1.0, level=1, verdict="continue", target=3)
    empty.report(2.0, 0, 2, 0.4, 2.0)
    empty.end(2.0, 0, "completed", 2.0)
    assert rung_words(empty.state.trials[0], 9) == {1: "promoted", 3: "ended early", 9: "ended early"}
    found = [(r["rung"], r["epochs"], r["objectives"]["error"]) for r in front_entries(empty.state, "rung")]
    assert found == [(9, 2, 0.4), (3, 2, 0.4), (1, 1, 0.5)]
    assert trials_frame(empty.state).rungs.tolist() == ["1 promoted, ended by its own code at 2"]
    assert trial_entries(empty.state)[0]["ended_early"]


@pytest.mark.parametrize("saved_at", [8, 9])
def test_a_training_whose_last_validation_comes_before_its_end_did_not_end_early(empty, saved_at):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(8.0, 0, 8, 0.4, 8.0)
    empty.save(9.0, 0, saved_at, 9.0)
    empty.end(9.0, 0, "completed", 9.0)
    assert ended_early(empty.state.trials[0], 9) == (saved_at < 9)
    assert trial_entries(empty.state)[0]["ended_early"] == (saved_at < 9)


def test_a_fully_trained_trial_did_not_end_early(paper):
    assert not any(entry["ended_early"] for entry in trial_entries(paper.state))


CHAINED = """Traceback (most recent call last):
  File x
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File y
OSError: 2"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TRACEBACK, "ValueError: boom"),
        ("killed by signal 9\nsomewhere", "killed by signal 9"),
        ("", ""),
        ("\n  \n", ""),
        (CHAINED, "OSError: 2"),
        ("Traceback (most recent call last):\n  cut off", "cut off"),
        ("Traceback (most recent call last):\n  File x\nOSError: wrong:\n\tkey a\n\tkey b", "OSError: wrong: key a"),
        ("these cannot change:\n  seed: stored 0", "these cannot change: seed: stored 0"),
        ("nothing follows:", "nothing follows:"),
    ],
)  # fmt: skip
def test_the_line_that_names_an_error(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("n_parameters", [1, 12])
def test_a_printed_front_shows_objectives_and_parameters_first(width: int, n_parameters: int) -> None:
    names = [f"p{number}" for number in range(n_parameters)]
    row = {"trial": 3, "val_error": 0.25, "train_s": 1.5, "cost_usd": 0.001, **dict.fromkeys(names, 0.125)}
    path = "/a/long/way/hwtune/digits/trials/003/checkpoints/segment_02_epochs_9.ckpt"
    noise = {"probability": 1.0, "within_noise": False} if n_parameters == 12 else {}
    frame = FrontFrame([{**row, "devices": 1, "epochs": 9, **noise, "checkpoint": path}])
    with pd.option_context("display.width", width, "display.max_columns", 0):
        text = str(frame)
    first, *_ = text.splitlines()
    assert first.split()[:4] == ["trial", "val_error", "train_s", "cost_usd"]
    assert path not in text
    assert text.splitlines()[-1] == f"[and the columns {', '.join(['epochs', *noise, 'checkpoint'])}]"
    assert {*names, "devices"} <= set(text.split())  # none is hidden
    if n_parameters == 1:
        assert first.split()[4:] == ["p0", "devices"]
    assert frame["checkpoint"].tolist() == [path]
    assert type(frame[["trial"]]) is pd.DataFrame
    assert str(frame[["trial", "checkpoint"]]) == str(pd.DataFrame(frame)[["trial", "checkpoint"]])
    assert str(FrontFrame(frame[["trial", "val_error"]])) == str(pd.DataFrame(frame)[["trial", "val_error"]])


def test_a_parameter_that_a_trial_does_not_have_is_an_empty_cell() -> None:
    space = SearchSpace(
        optimizer=Choice(["adam", "sgd"]),
        momentum=Float(0.5, 0.9, when={"optimizer": "sgd"}),
        steps=Int(1, 4, when={"optimizer": "sgd"}),
        nesterov=Choice([True, False], when={"steps": [2, 3]}),
    )
    driver = Driver(spec(space=space, objectives=Objectives([Metric("error", "min")]), devices=1), Limits(max_trials=8),
                    curve=lambda config, epoch: config.get("momentum", 1.0) / epoch)  # fmt: skip
    driver.run()
    frame = trials_frame(driver.state)
    for column in ("momentum", "steps", "nesterov"):
        has = [column in trial.config for trial in driver.state.trials]
        assert any(has)
        assert not all(has)
        cells = [trial.config.get(column) for trial in driver.state.trials]
        assert frame[column].tolist() == cells
        assert list(map(type, frame[column])) == list(map(type, cells))
    assert [entry["config"] for entry in trial_entries(driver.state)] == [t.config for t in driver.state.trials]
    rows = list(csv.DictReader(io.StringIO(trials_text(driver.state, "csv"))))
    assert [row["momentum"] for row in rows] == [str(t.config.get("momentum", "")) for t in driver.state.trials]
    assert json.loads(trials_text(driver.state))[0]["config"] == driver.state.trials[0].config
    console = Console(width=200, file=io.StringIO())
    print_frame(console, frame)
    assert "nan" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert front_frame(driver.state).columns.tolist()[:6] == [
        "trial", "error", "optimizer", "momentum", "steps", "nesterov",
    ]  # fmt: skip
