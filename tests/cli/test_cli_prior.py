"""`hwtune prior show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_study import store
from typer.testing import CliRunner, Result

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.study import Study

OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])
STUDY = """
study: new
train: models.digits_study:train
space: {{lr: {{type: float, low: 1.0e-3, high: 1.0e-1, log: true}}, dropout: {{type: float, low: 0, high: 0.5}}}}
objectives: [{{metric: error, mode: min}}, train_s]
scheduler: {{name: asha, max_epochs: 9, first_rung: 1}}
pool: {{accelerator: cpu, devices: 2}}
dir: {dir}
prior: {prior}
"""


def show(*words: object) -> Result:
    return CliRunner().invoke(app, ["prior", "show", *map(str, words)])


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    store(tmp_path, "earlier", n_trials=12)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(dir=tmp_path, prior="auto"))
    return path


def test_tells_what_a_study_file_would_learn(study_file: Path) -> None:
    result = show(study_file, "--format", "json", "--configs", "5")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["tasks"] == [{"task": "earlier", "points": 12, "used": 12}]
    assert found["parameters"] == {"learned": ["lr"], "random": ["dropout"]}
    assert found["model"] == "trees"
    assert found["trust"].keys() == {"error", "train_s"}
    assert all(0 <= weight <= 1 for weight in found["trust"].values())  # twelve points are few
    assert found["own_share"] == pytest.approx(1 - found["trust"]["error"], abs=0.15)  # of a hundred draws
    assert not found["is_useless"]
    assert len(found["draws"]) == 5
    assert all(1e-3 <= draw["lr"] <= 1e-1 and draw["score.error"] < 3 for draw in found["draws"])
    assert not (study_file.parent / "new").exists()


def test_tells_it_to_people_and_as_csv(study_file: Path) -> None:
    pytest.importorskip("sklearn")
    text = show(study_file).stdout
    for words in (
        "Prior of study new",
        "earlier",
        "learned parameters: lr; drawn at random: dropout",
        "15% of the draws",
    ):
        assert words in text
    assert show(study_file, "--format", "csv").stdout.startswith("draw,lr,dropout,score.error")


@pytest.mark.parametrize("n_trials", [1, 2, 4])
def test_says_that_a_prior_of_few_points_is_useless(tmp_path: Path, n_trials: int) -> None:
    pytest.importorskip("sklearn")
    store(tmp_path, "earlier", n_trials=n_trials)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(dir=tmp_path, prior="auto"))
    assert json.loads(show(path, "--format", "json").stdout)["is_useless"]
    assert "too few" in show(path).stdout


def test_tells_of_a_stored_study(tmp_path: Path) -> None:
    store(tmp_path, "earlier", n_trials=12)
    prior = ParetoPrior.from_studies(Study.load("earlier", tmp_path), objectives=["error", "train_s"])
    space = SearchSpace(lr=Float(1e-3, 1e-1, log=True), devices=NumDevices(1, 2))
    store(tmp_path, "later", n_trials=12, searcher=prior, space=space, objectives=OBJECTIVES)
    result = show("--study", "later", "--dir", tmp_path, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["digest"] == prior.digest
    assert found["draws"][0]["draw"] >= 12


@pytest.mark.parametrize("number", ["100000", "9" * 500, "-1"])
def test_draws_a_number_that_has_an_end(study_file: Path, number: str) -> None:
    result = show(study_file, "--configs", number)
    assert result.exit_code == 2
    assert "--configs" in result.output


def test_refuses_what_has_no_prior(study_file: Path) -> None:
    result = show("--study", "earlier", "--dir", study_file.parent)
    assert result.exit_code == 1
    assert "a study with a prior" in result.output
    assert "not both" in show(study_file, "--study", "earlier").output
