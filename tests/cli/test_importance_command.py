from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from stored_study import store
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("studies")
    store(path, n_trials=14)
    return path


def hwtune(*words, status=0):
    result = CliRunner().invoke(app, ["importance", *map(str, words)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_all_formats_have_the_same_numbers(folder: Path):
    entries = json.loads(hwtune("--dir", folder, "--format", "json").stdout)
    assert [entry["objective"] for entry in entries] == ["error", "train_s", "cost_usd"]
    listed = [row["importance"] for entry in entries for row in entry["parameters"]]
    rows = list(csv.DictReader(io.StringIO(hwtune("--dir", folder, "--format", "csv").stdout)))
    assert [float(row["importance"]) for row in rows] == listed
    frame = hwt.Study.load("digits", folder).importance()
    assert frame["importance"].tolist() == listed
    assert list(frame.columns) == list(rows[0])
    table = hwtune("--dir", folder).stdout
    assert "importance for train_s" in table
    assert "values at epoch 1, which 14 of 14 measured trials reached; the model explains" in table
    for column in ("importance:", "low, high:", "alone:"):  # the last line says what the columns mean
        assert column in table.splitlines()[-1]


def test_one_objective_at_a_rung(folder: Path):
    [entry] = json.loads(hwtune("--dir", folder, "--objective", "error", "--at", 9, "--format", "json").stdout)
    assert (entry["rung"], entry["parameters"]) == (9, [])
    shown = hwtune("--dir", folder, "--objective", "error", "--at", 9).stdout
    assert "importance needs at least 10 trials" in shown
    assert "low, high:" not in shown  # there is no table
    assert "`at` is 2" in hwtune("--dir", folder, "--at", 2, status=1).stderr
    assert "did you mean 'error'" in hwtune("--dir", folder, "--objective", "eror", status=1).stderr
