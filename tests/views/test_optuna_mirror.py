"""A study in a storage of Optuna."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from known_functions import study_of
from paper_study import begin, make_spec

from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.views.front_points import front_points
from lightning_hwtune.views.optuna_mirror import write_mirror

optuna = pytest.importorskip("optuna")

SPACE = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    optimizer=Choice(["sgd", "adam"]),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    widths=Choice([[8, 8], [16]]),
    depth=Int(1, 5),
)


def error(config, epoch):
    return math.nan if config["lr"] > 0.05 else (math.log10(config["lr"]) + 2.5) ** 2 + config["depth"] / epoch


@pytest.fixture(scope="module")
def state():
    return study_of(error, SPACE, 20, seconds=lambda config: 7.0 - config["depth"])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_optunas_front_is_ours(state, url):
    assert write_mirror(state, url) == 20
    study = optuna.load_study(study_name="known", storage=url)
    ours = sorted(point.trial.trial_id for point in front_points(state))
    assert len(ours) > 2
    assert sorted(trial.user_attrs["trial"] for trial in study.best_trials) == ours
    assert study.metric_names == ["error", "train_s"]


def test_trials_keep_their_values(state, url):
    write_mirror(state, url, "other")
    trials = optuna.load_study(study_name="other", storage=url).get_trials()
    assert [trial.number for trial in trials] == [trial.trial_id for trial in state.searched]
    states = {"completed": "COMPLETE", "paused": "PRUNED", "stopped": "PRUNED"}
    for theirs, ours in zip(trials, state.searched, strict=True):
        assert theirs.state.name == states[ours.state.value]
        expected = dict(ours.config) | {"widths": str(ours.config["widths"])}
        assert theirs.params == expected
        series = {m.resource: m.values["error"] for m in ours.measurements if math.isfinite(m.values["error"])}
        assert theirs.intermediate_values == series
        assert theirs.user_attrs["values"]["train_s"] == ours.last.values["train_s"]
        assert theirs.datetime_start.timestamp() == pytest.approx(ours.created_at)


def test_a_mirror_is_replaced_but_no_foreign_study(state, url):
    write_mirror(state, url)
    write_mirror(state, url)
    assert optuna.get_all_study_names(url) == ["known"]
    assert len(optuna.load_study(study_name="known", storage=url).trials) == 20
    optuna.create_study(study_name="mine", storage=url)
    with pytest.raises(ArgumentError, match="a name that no other study in the storage has"):
        write_mirror(state, url, "mine")
    assert optuna.load_study(study_name="mine", storage=url).trials == []


def test_unfinished_trials_and_failures(paper, url):
    write_mirror(paper.state, url)
    trials = optuna.load_study(study_name="paper", storage=url).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert trials[3].user_attrs["failure"] == "killed by signal 9"
    assert trials[2].user_attrs["values"]["error"] == "nan"


def test_a_trial_that_violates_a_bound_is_not_on_optunas_front(url):
    s = begin(make_spec(objectives=Objectives([Metric("error", "min", at_most=0.5), TrainSeconds()])))
    for trial_id, (value, train_s) in enumerate([(0.4, 9.0), (0.6, 1.0), (0.5, 5.0)]):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(0.0, trial_id, [0])
        s.report(1.0, trial_id, 9, value, train_s, level=9, verdict="stop")
        s.end(1.0, trial_id, "completed", 1.0)
    write_mirror(s.state, url)
    study = optuna.load_study(study_name="paper", storage=url)
    assert sorted(trial.number for trial in study.best_trials) == [0, 2]
    assert "error" in study.trials[1].user_attrs["infeasible"]


def test_a_storage_that_cannot_be(paper, tmp_path):
    for url in ("nowhere", f"sqlite:///{tmp_path}/no/folder.db"):
        with pytest.raises(StorageError, match="cannot write to the storage"):
            write_mirror(paper.state, url)
