"""Which studies `prior="auto"` learns from, and what a prior takes from stored studies and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_study import store

import lightning_hwtune as hwt
from lightning_hwtune.core.events import SessionOpened
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.engine import fold
from lightning_hwtune.engine.earlier_studies import auto_prior, finished_studies
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.tables import Table
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

ERROR = Objectives([Metric("error", "min"), TrainSeconds()])
SPACE = SearchSpace(lr=Float(1e-3, 1e-1, log=True), devices=NumDevices(1, 2), dropout=Float(0, 0.5))


def begun(folder: Path, **changes: Any) -> hwt.Study:
    parts: dict[str, Any] = {
        "scheduler": hwt.ASHA(9, first_rung=1),
        "pool": hwt.Pool("cpu", 2),
        "dir": folder,
        "prior": "auto",
    }
    return hwt.Study("new", SPACE, [hwt.Metric("error", "min"), hwt.TrainSeconds()], **(parts | changes))


def tasks(study: hwt.Study) -> list[str]:
    searcher = study.spec.searcher
    return [task.name for task in searcher.tasks] if isinstance(searcher, hwt.ParetoPrior) else []


def test_auto_takes_the_finished_studies_that_fit_best(tmp_path: Path) -> None:
    store(tmp_path, "both")
    store(tmp_path, "one-objective", objectives=Objectives([Metric("error", "min")]))
    store(tmp_path, "other-direction", objectives=Objectives([Metric("error", "max"), TrainSeconds()]))
    store(tmp_path, "less-in-common", space=SearchSpace(lr=Float(1e-3, 1e-1, log=True)), objectives=ERROR)
    store(tmp_path, "unfinished", n_trials=3)
    with EventLog.open(StudyFiles(tmp_path, "unfinished"), create=True) as log:
        events = [event for _, event in log.read()]
        log.append([SessionOpened(at=events[-1].at, limits={}, host="h", pid=1, version="0")])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_bytes(b"no database")
    prior = auto_prior("new", SPACE, ERROR, tmp_path)
    assert prior is not None
    assert [task.name for task in prior.tasks] == ["both"]
    assert prior.lesson(SPACE, ERROR).shared == ("lr", "devices")
    assert "broken" not in [study.name for study in finished_studies(tmp_path)]
    assert auto_prior("both", SPACE, ERROR, tmp_path / "empty") is None


def test_auto_begins_with_what_is_cached_in_the_folder_of_an_earlier_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "MIN_CACHED", 1)
    store(tmp_path, "both")
    store(tmp_path, "one-objective", objectives=Objectives([Metric("error", "min")]))
    taken, take = list[Any](), fold.Fold._take
    monkeypatch.setattr(fold.Fold, "_take", lambda self, *event: (taken.append(event), take(self, *event))[1])
    without = tasks(begun(tmp_path))
    assert taken
    assert {path.parent.name for path in tmp_path.rglob("study.cache")} == {"both"}  # the other one is not read whole
    taken.clear()
    assert tasks(begun(tmp_path)) == without == ["both"]
    assert not taken


@pytest.mark.parametrize("damage", [b"", b"no cache", b'{"form": 0}'])
def test_auto_reads_the_log_where_the_cache_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    monkeypatch.setattr(fold, "MIN_CACHED", 1)
    store(tmp_path, "both")
    found = begun(tmp_path).spec.searcher
    [cache] = tmp_path.rglob("study.cache")
    cache.write_bytes(damage)
    assert begun(tmp_path).spec.searcher == found


def test_auto_is_off_unless_asked_for_and_says_when_it_finds_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no finished study in"):
        assert tasks(begun(tmp_path)) == []
    store(tmp_path, "both")
    assert tasks(begun(tmp_path)) == ["both"]
    assert tasks(begun(tmp_path, prior=None)) == []


def test_a_study_keeps_the_prior_it_began_with(tmp_path: Path) -> None:
    store(tmp_path, "both")
    first = begun(tmp_path).spec.searcher
    store(tmp_path, "new", n_trials=3, searcher=first, space=SPACE, objectives=ERROR)
    store(tmp_path, "later", seed=3)
    assert begun(tmp_path).spec.searcher == first
    assert hwt.Study.load("new", tmp_path).spec.searcher == first
    assert tasks(begun(tmp_path)) == ["both"]


def test_auto_passes_over_studies_outside_the_new_ranges(tmp_path: Path) -> None:
    store(tmp_path, "both")
    assert auto_prior("new", SearchSpace(lr=Float(1.0, 2.0)), ERROR, tmp_path) is None
    assert auto_prior("new", SearchSpace(lr=Choice(["slow", "fast"])), ERROR, tmp_path) is None


def test_a_prior_beside_a_searcher_and_other_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a prior is a searcher, too"):
        begun(tmp_path, searcher=hwt.Random())
    with pytest.raises(ArgumentError, match=r"ParetoPrior\.from_studies"):
        begun(tmp_path, prior="digits")


def test_from_studies_learns_the_order_of_what_was_measured(tmp_path: Path) -> None:
    store(tmp_path, "first", n_trials=20)
    store(tmp_path, "second", n_trials=20, seed=1)
    studies = [hwt.Study.load(name, tmp_path) for name in ("first", "second")]
    prior = hwt.ParetoPrior.from_studies(*studies, objectives=["train_s", "error"])
    assert prior.objectives.names == ("train_s", "error")
    assert [len(task) for task in prior.tasks] == [20, 20]
    trials = studies[0].state().trials
    first_errors = [trial.measurements[0].values["error"] for trial in trials]
    paused = [i for i, trial in enumerate(trials) if list(trial.decided) == [1]]
    scores = [prior.tasks[0].losses[i][1] for i in paused]
    assert np.argsort(scores).tolist() == np.argsort([first_errors[i] for i in paused]).tolist()
    for name in ("accuracy",):
        with pytest.raises(ArgumentError, match="one of error, train_s, cost_usd, the objectives of 'first'"):
            hwt.ParetoPrior.from_studies(*studies, objectives=[name])
    with pytest.raises(ArgumentError, match="at least one"):
        hwt.ParetoPrior.from_studies()


def test_from_studies_refuses_the_other_direction(tmp_path: Path) -> None:
    store(tmp_path, "first")
    store(tmp_path, "second", objectives=Objectives([Metric("error", "max"), TrainSeconds()]))
    studies = [hwt.Study.load(name, tmp_path) for name in ("first", "second")]
    with pytest.raises(ArgumentError, match=r"error \(min\).*allowed: error \(max\), as in 'second'"):
        hwt.ParetoPrior.from_studies(*studies, objectives=["error"])


@pytest.mark.data
def test_from_a_table_with_diverged_configurations() -> None:
    try:
        table = Table.load("taskset")
    except ArgumentError as error:
        pytest.skip(str(error))
    losses = table.curves(table.tasks[0]).losses[:, -1]
    rows = [int(np.flatnonzero(np.isnan(losses[:, 0]))[0]), *range(20)]
    prior = hwt.ParetoPrior.from_table(table, table.tasks[:1], rows=rows)
    scores = prior.lesson(table.space, table.objectives).scores[:, 0]
    assert scores[0] == scores.max() > np.median(scores)
    assert prior.tasks[0].name == f"taskset/{table.tasks[0]}"
    with pytest.raises(ArgumentError, match="`tasks` is 'nowhere'"):
        hwt.ParetoPrior.from_table(table, ["nowhere"])
    with pytest.raises(ArgumentError, match="the objectives of 'taskset'"):
        hwt.ParetoPrior.from_table(table, objectives=["accuracy"])
    with pytest.raises(ArgumentError, match="`resource` is 51"):
        hwt.ParetoPrior.from_table(table, resource=51)
