from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from stored_study import store
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("studies")
    lr, width = Float(1e-3, 1e-1, log=True), Choice([[8, 8], [16], None])
    store(path, space=SearchSpace(lr=lr, width=width, devices=NumDevices(1, 2)))
    return path


def export(*words, status=0):
    result = CliRunner().invoke(app, ["export", *map(str, words)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_only_csv(folder: Path, tmp_path: Path):
    export("--to", "csv", "--dir", folder, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["front.csv", "trials.csv"]


def test_parquet_has_the_frames(folder: Path, tmp_path: Path):
    pytest.importorskip("pyarrow")
    export("--to", "parquet", "--dir", folder, "--out", tmp_path)
    study = hwt.Study.load("digits", folder)
    found, trials = pd.read_parquet(tmp_path / "trials.parquet"), study.trials()
    assert list(found.columns) == list(trials.columns)
    assert found["error"].tolist() == trials["error"].tolist()
    texts = {None: None, "[8, 8]": [8, 8], "[16]": [16]}
    assert [texts[None if pd.isna(cell) else cell] for cell in found["width"]] == trials["width"].tolist()
    assert len(pd.read_parquet(tmp_path / "front.parquet")) == len(study.front())


def test_a_study_of_optuna(folder: Path, tmp_path: Path):
    optuna = pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    assert "9 trials in study mine of " in export(url, "--to", "optuna", "--name", "mine", "--dir", folder).stdout
    front = hwt.Study.load("digits", folder).front()["trial"].tolist()
    found = optuna.load_study(study_name="mine", storage=url).best_trials
    assert sorted(trial.user_attrs["trial"] for trial in found) == sorted(front)


def test_runs_of_mlflow(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytest.importorskip("mlflow")
    assert "9 trials below run " in export((tmp_path / "runs").as_uri(), "--to", "mlflow", "--dir", folder).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "optuna"], "--to optuna needs a URL"),
        (["sqlite:///x.db"], "is for --to optuna"),
        (["--to", "csv", "--name", "x"], "is for --to optuna"),
        (["sqlite:///x.db", "--to", "optuna", "--out", "x"], "--out is for files"),
        (["--to", "excel"], "excel"),
    ],
)
def test_wrong_exports(folder: Path, words, said):
    assert said in " ".join(export(*words, "--dir", folder, status=2).stderr.replace("│", "").split())
