"""`hwtune instances`, and catalogue files of the user."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.hardware.catalogue import COLUMNS


def instances(*words: str) -> str:
    result = CliRunner().invoke(app, ["instances", *words])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str) -> str:
    result = CliRunner().invoke(app, ["instances", *words])
    assert result.exit_code == 1, result.output
    return result.output


def test_types_are_listed_in_each_format_the_cheapest_first() -> None:
    words = ("--min-devices", "4", "--max-usd-per-hour", "6", "--provider", "aws")
    table = instances(*words)
    assert table.index("g4dn.12xlarge") < table.index("g6.12xlarge") < table.index("g5.12xlarge")
    found = json.loads(instances(*words, "--format", "json"))
    assert [item["name"] for item in found] == ["g4dn.12xlarge", "g6.12xlarge", "g5.12xlarge"]
    assert all(set(item) == set(COLUMNS) for item in found)
    rows = list(csv.DictReader(io.StringIO(instances(*words, "--format", "csv"))))
    assert [row["usd_per_hour"] for row in rows] == ["3.912", "4.6016", "5.672"]
    assert len(json.loads(instances("--format", "json"))) == len(hwt.Catalogue.builtin())


def test_no_match_is_an_empty_list_and_a_wrong_name_is_an_error() -> None:
    assert "no instance type" in instances("--min-devices", "9", "--max-usd-per-hour", "0.1")
    assert json.loads(instances("--max-usd-per-hour", "0", "--format", "json")) == []
    assert "'aws'" in refused("--provider", "amazon")
    assert "min_devices" in refused("--min-devices", "-1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.csv", "name,usd_per_hour,devices\nrig,0.25,2\n"),
        ("own.CSV", "\ufeffname,usd_per_hour,devices\r\nrig,0.25,2\r\n"),
        ("own.toml", '[[instances]]\nname = "rig"\nusd_per_hour = 0.25\ndevices = 2\n'),
    ],
)
def test_a_file_adds_types(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert hwt.read_catalogue(path)["rig"] == hwt.InstanceType("rig", 0.25, devices=2)
    assert hwt.read_catalogue(str(path))["g4dn.12xlarge"].usd_per_hour == 3.912
    found = json.loads(instances("--catalogue", str(path), "--provider", "local", "--format", "json"))
    assert [item["name"] for item in found] == ["rig"]


def test_a_file_that_cannot_be_used_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("name,usd_per_hour,devices\nrig,-1,2\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "own.json").write_text("{}")
    (tmp_path / "folder.csv").mkdir()
    assert "own.csv, line 2: usd_per_hour" in refused("--catalogue", str(tmp_path / "own.csv"))
    assert "UTF-8" in refused("--catalogue", str(tmp_path / "binary.csv"))
    assert "ends in .csv or .toml" in refused("--catalogue", str(tmp_path / "own.json"))
    assert "readable file" in refused("--catalogue", str(tmp_path / "folder.csv"))
    assert "No such file" in refused("--catalogue", str(tmp_path / "absent.toml"))
