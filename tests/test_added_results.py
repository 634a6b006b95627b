"""`Study.add`: results from elsewhere are facts of the log, which searchers see and nothing else counts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.added_results import added_record, checked_result
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.errors import ArgumentError

SPACE = hwt.SearchSpace(x=hwt.Float(0, 1), kind=hwt.Choice(["a", "b"]))
LOSS = hwt.Metric("loss", "min")
GOOD = {"x": 0.75, "kind": "a"}


def hwtune(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output


def made(folder: Path, **options: Any) -> hwt.Study:
    settings: dict[str, Any] = {"space": SPACE, "objectives": [LOSS], "max_epochs": 9} | options
    return hwt.Study("added", dir=folder, **settings)


def test_a_result_is_stored_and_counts_as_nothing_else(tmp_path: Path) -> None:
    study = made(tmp_path)
    study.add(GOOD, {"loss": 0.25})
    study.add({"kind": "b", "x": 0.5}, {"loss": 1, "extra": 3.0}, resource=4)
    again = hwt.Study.load("added", dir=tmp_path)
    state = again.state()
    assert not state.trials
    assert not state.enqueued
    assert state.n_full == 0
    assert again.front(at="any").empty
    assert [(t.config, t.measurements[-1].values, t.resource) for t in state.added] == [
        (GOOD, {"loss": 0.25}, 9),
        ({"x": 0.5, "kind": "b"}, {"loss": 1.0}, 4),
    ]
    assert [list(trial.decided) for trial in state.added] == [[9], [3]]
    events = [event for event in again.events() if isinstance(event, ev.ResultAdded)]
    assert [ev.from_dict(ev.to_dict(event)) for event in events] == events


@pytest.mark.training
def test_a_study_with_results_trains_as_many_trials_as_one_without(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        study.add({"x": 0.9, "kind": "b"}, {"loss": 0.15}, 1)  # while the study runs in this process
        trial.report(1, loss=abs(trial["x"] - 0.75))

    study = made(tmp_path, max_epochs=1)
    study.add(GOOD, {"loss": 0.0})
    while (trial := study.ask(max_trials=3, progress=False)) is not None:
        train(trial)
        study.tell(trial)
    assert len(study.trials()) == 3
    assert set(study.front()["trial"]) <= {0, 1, 2}
    assert study.best.values["loss"] > 0
    assert [added.config["x"] for added in study.state().added] == [0.75, 0.9]


@pytest.mark.parametrize("loss", [0.25, math.nan, math.inf])
def test_the_same_result_is_added_once(tmp_path: Path, loss: float) -> None:
    for _ in range(2):
        study = made(tmp_path)
        study.add(GOOD, {"loss": loss}, 3)
        study.add(GOOD, {"loss": loss}, 3)
        study.add(GOOD, {"loss": loss}, 9)
    assert len(study.state().added) == 2
    assert sum(isinstance(event, ev.SessionOpened) for event in study.events()) == 2


@pytest.mark.parametrize(
    ("config", "values", "resource", "text"),
    [
        ({"x": 2.0, "kind": "a"}, {"loss": 1.0}, 9, "`x` is 2.0"),
        ({"x": 0.5}, {"loss": 1.0}, 9, "missing: kind"),
        (GOOD, {"val_loss": 1.0}, 9, "a number for each objective: loss"),
        (GOOD, {}, 9, "a number for each objective"),
        (GOOD, 0.3, 9, "a number for each objective"),
        (GOOD, {"loss": "low"}, 9, "NaN if the training diverged"),
        (GOOD, {"loss": True}, 9, "NaN if the training diverged"),
        (GOOD, {"loss": 1.0}, 10, "epochs from 1, the first rung, to 9"),
        (GOOD, {"loss": 1.0}, 0, "positive integer"),
        (GOOD, {"loss": 1.0}, 2.5, "positive integer"),
    ],
)
def test_what_the_study_could_not_have_is_refused_before_anything_is_written(
    tmp_path: Path, config: Any, values: Any, resource: Any, text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        made(tmp_path).add(config, values, resource)
    assert not list(tmp_path.iterdir())


def test_searchers_see_results_next_to_the_trials(tmp_path: Path) -> None:
    spec = made(tmp_path).spec
    events = [
        checked_result(spec, {"x": n / 40, "kind": "ab"[n % 2]}, {"loss": abs(n / 40 - 0.75)}, (9, 3)[n % 3 == 0], 0.0)
        for n in range(40)
    ]
    history = History(
        [], spec.objectives, added=[added_record(event, spec.scheduler.ladder.levels) for event in events]
    )
    assert len(chained_scores(history.results, spec.objectives)[0]) == 40
    task = {"name": "earlier", "values": {"x": [0.0, 0.1, 0.2], "kind": ["a", "b", "a"]}, "losses": [[0], [1], [2]]}
    for searcher in (hwt.TPE(random=0.0), hwt.ParetoPrior([task], [{"name": "loss", "mode": "min"}])):
        drawn = [searcher.propose(SPACE, draw, 0, history) or {} for draw in range(4, 30)]
        near = sum(abs(config["x"] - 0.75) < 0.2 for config in drawn)
        assert near > 0.55 * len(drawn), searcher  # at random 0.4


def test_a_result_that_a_changed_study_cannot_have_is_dropped_with_a_warning(tmp_path: Path) -> None:
    study = made(tmp_path)
    study.add(GOOD, {"loss": 0.5})
    study.add({"x": 0.2, "kind": "a"}, {"loss": 0.5})
    narrower = made(tmp_path, space=hwt.SearchSpace(x=hwt.Float(0, 0.5), kind=hwt.Choice(["a", "b"])))
    with pytest.warns(UserWarning, match="the added result of"):
        narrower.add({"x": 0.1, "kind": "b"}, {"loss": 0.9})
    assert [trial.config["x"] for trial in narrower.state().added] == [0.2, 0.1]


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_a_prior_of_few_points_is_called_useless_in_a_note(tmp_path: Path, n: int) -> None:
    pytest.importorskip("sklearn")
    values = {"x": [number / 8 for number in range(n)], "kind": ["a"] * n}
    task = {"name": "earlier", "values": values, "losses": [[float(number)] for number in range(n)]}
    study = made(tmp_path, searcher=hwt.ParetoPrior([task], [{"name": "loss", "mode": "min"}]))
    for x in (0.1, 0.2):
        study.add({"x": x, "kind": "a"}, {"loss": x})
    notes = [note.text for note in study.state().notes]
    assert len(notes) == (n < 6)
    assert all("too few to learn from" in note for note in notes)


def test_a_result_has_measured_objectives_too(tmp_path: Path) -> None:
    study = made(tmp_path, objectives=[LOSS, hwt.TrainSeconds()])
    with pytest.raises(ArgumentError, match="loss, train_s"):
        study.add(GOOD, {"loss": 0.5})
    study.add(GOOD, {"loss": 0.5, "train_s": 12.0})
    assert study.state().added[0].measurements[-1].train_s == 12.0


def asked(study: hwt.Study, n_trials: int = 3) -> None:
    """Trains trials with a loss of 0.5 each."""
    while (trial := study.ask(max_trials=n_trials, progress=False)) is not None:
        trial.report(1, loss=0.5)
        study.tell(trial)


@pytest.mark.training
def test_results_are_counted_in_the_status_and_marked_in_tables(tmp_path: Path) -> None:
    study = made(tmp_path, max_epochs=1)
    asked(study)
    assert hwtune(tmp_path, "status").count("elsewhere") == 0
    assert study.added().empty
    for loss, x in ((0.25, 0.1), (0.5, 0.2), (0.75, 0.3), (math.nan, 0.4)):  # better, equal, worse, diverged
        study.add({"x": x, "kind": "a"}, {"loss": loss})
    assert study.added()["beats_front"].tolist() == [True, False, False, False]
    assert study.added().columns.tolist() == ["loss", "x", "kind", "epochs", "beats_front"]
    status = hwtune(tmp_path, "status")
    assert "4 results from elsewhere" in status
    record = json.loads(hwtune(tmp_path, "status", "--format", "json"))
    assert record["added_results"] == 4
    assert record["max_trials"] == 3  # adding a result does not change the limits
    assert "results added to added from elsewhere" in hwtune(tmp_path, "trials")
    assert len(json.loads(hwtune(tmp_path, "trials", "--format", "json"))) == 3
    assert "1 result from elsewhere is not dominated by any trial of the study, such as x=0.1" in hwtune(
        tmp_path, "front"
    )
    hwtune(tmp_path, "export")
    written = json.loads((tmp_path / "added/export/added.json").read_text())
    assert [row["objectives"]["loss"] for row in written] == [0.25, 0.5, 0.75, None]


@pytest.mark.training
@pytest.mark.parametrize(
    ("losses", "beats"),
    [
        ({"loss": 0.6, "size": 1.0}, True),  # better in one objective
        ({"loss": 0.5, "size": 3.0}, False),  # equal to a trial
        ({"loss": 0.6, "size": 4.0}, False),  # dominated
    ],
)
def test_a_result_beats_the_front_of_several_objectives(tmp_path: Path, losses: dict[str, float], beats: bool) -> None:
    study = made(tmp_path, objectives=[LOSS, hwt.Metric("size", "min")], max_epochs=1)
    while (trial := study.ask(max_trials=2, progress=False)) is not None:
        trial.report(1, loss=0.5, size=3.0)
        study.tell(trial)
    study.add(GOOD, losses)
    assert study.added()["beats_front"].tolist() == [beats]


def test_a_result_of_a_shorter_training_never_beats_the_front(tmp_path: Path) -> None:
    study = made(tmp_path)
    study.add(GOOD, {"loss": 0.0}, 3)
    assert study.added()["beats_front"].tolist() == [False]
    assert study.added()["epochs"].tolist() == [3]
