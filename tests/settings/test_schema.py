"""The JSON schema of study files: what is valid matches it, and what an editor should underline does not."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.schedulers import SCHEDULERS
from lightning_hwtune.errors import HwTuneError
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.settings.plain_data import read_yaml
from lightning_hwtune.settings.schema import study_file_schema

jsonschema = pytest.importorskip("jsonschema")

REPOSITORY = Path(__file__).parents[2]
BLOCKS = re.compile(r"^```yaml[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FILE: dict[str, Any] = {
    "study": "digits",
    "train": "models.digits_study:train",
    "space": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "model.width": {"type": "int", "low": 8, "high": 128, "step": 8},
        "kind": {"type": "choice", "options": ["a", 3, None, {"x": [1]}], "ordered": False},
        "devices": {"type": "num_devices", "counts": [1, 2]},
    },
    "objectives": [{"metric": "val_loss", "mode": "min"}, "train_s"],
    "scheduler": {"name": "asha", "max_epochs": 27, "eta": 2.5},
    "pool": {"accelerator": "cpu", "devices": 2},
}

# place in the file -> values that are read, and values that are refused
RIGHT = {
    "max_trials": [20, None, 1e3],
    "max_time": [30, 0.5, "8h", None],
    "finishers": ["auto", 3, 0],
    "hang_timeout": ["auto", None, "10min", 90],
    "disk_budget": ["20GB", None, 10**9],
    "executor": ["local", "lightning_hwtune.engine.local:LocalExecutor"],
    "preload": [[], ["json", "models.net"]],
    "scheduler": [
        {"name": "asha", "max_epochs": 27, "eta": "5/2"},
        {"name": "hyperband", "max_steps": 81, "brackets": None},
        {"name": "run_to_end", "max_samples": 10},
        {"name": "lightning_hwtune.core.schedulers:ASHA", "max_epochs": 9},
    ],
    "searcher": [
        "tpe",
        {"name": "grid", "points_per_float": 3},
        {"name": "tpe", "good": 0.2},
        {"name": "gp", "start": 6},
    ],
    "allocation": [None, "searched"],
    "objectives": [
        [{"metric": "val/acc", "mode": "max", "unit": "%", "across_ranks": None, "best": True}],
        ["train_s", {"metric": "loss", "mode": "minimize"}],
    ],
    "space": [
        {"lr": {"type": "float", "low": "1e-4", "high": 1}, "devices": {"type": "num_devices", "counts": [1]}},
        {"n": {"type": "int", "low": 1, "high": 9, "log": True}},
        {
            "optimizer": {"type": "choice", "options": ["adam", "sgd"]},
            "momentum": {"type": "float", "low": 0, "high": 1, "when": {"optimizer": "sgd"}},
            "n": {"type": "int", "low": 1, "high": 9, "when": {"optimizer": ["adam", "sgd"]}},
            "x": {"type": "choice", "options": [1, 2], "when": None},
        },
    ],
    "pool": [{}, {"accelerator": "cuda", "devices": "auto"}, {"usd_per_device_hour": 0.5, "devices": 4}],
    "batch": ["global", "per_device"],
    "prior": [None, "auto"],
    "seed": [0, 2**64 - 1],
    "enqueue": [[], [{"lr": 0.01, "model.width": 16, "kind": "a", "devices": 1}]],
}
WRONG = {
    "max_trials": [0, 2.5, "20", True],
    "max_time": [0, -3, []],
    "finishers": ["all", -1],
    "batch": ["local", None],
    "prior": ["none"],
    "executor": ["lokal", 3],
    "scheduler": [
        {"name": "asha", "max_epoch": 27},
        {"name": "ahsa", "max_epochs": 27},
        {"name": "pasha", "max_epochs": 27, "brackets": 2},
        {"name": "hyperband", "max_epochs": 27, "type": "stopping"},
        {"max_epochs": 27},
        "ahsa",
        3,
    ],
    "searcher": ["tpes", {"name": "grid", "points": 3}, {"name": "tpe", "good": 1}, {"name": "gp", "start": 1}, None],
    "objectives": [[], "train_s", ["train"], [{"metric": "loss"}], [{"metric": "loss", "mode": "low"}]],
    "space": [{}, {"lr": {"type": "float", "low": 0}}, {"lr": {"type": "real", "low": 0, "high": 1}}, {"lr": 0.1}]
    + [{"lr": {"type": "float", "low": 0, "high": 1, "when": when}} for when in ("optimizer", ["sgd"], {})]
    + [{"n": {"type": "num_devices", "counts": [1], "when": {"a": 1}}, "a": {"type": "int", "low": 0, "high": 1}}],
    "pool": [{"device": 2}, {"devices": 0}, {"accelerator": "tpu"}],
    "enqueue": [{}, [3]],
    "preload": ["json"],
    "max_trial": [20],
    "n_trials": [20],
}


@pytest.fixture(scope="module")
def schema() -> Mapping[str, Any]:
    made = study_file_schema()
    jsonschema.Draft7Validator.check_schema(made)
    return made


def matches(schema: Mapping[str, Any], data: Any) -> bool:
    return bool(jsonschema.Draft7Validator(schema).is_valid(data))


def changed(key: str, value: object) -> dict[str, Any]:
    data = {**copy.deepcopy(FILE), key: value}
    if key == "space":
        data.pop("enqueue", None)
    return data


def is_read(data: Mapping[str, Any]) -> bool:
    try:
        StudySettings.from_dict(data)
    except HwTuneError:
        return False
    return True


def study_files() -> dict[str, dict[str, Any]]:
    """Every study file in the repository: of configs/, and in the pages of the guide."""
    found = {str(path): read_yaml(path, "a mapping") for path in (REPOSITORY / "configs").rglob("*.yaml")}
    for page in (REPOSITORY / "docs").rglob("*.md"):
        for index, block in enumerate(BLOCKS.findall(page.read_text(encoding="utf-8"))):
            data = yaml.safe_load(re.sub(r"(\d)e-", r"\1.0e-", block))
            found[f"{page.name} {index}"] = data if isinstance(data, dict) else {}
    return {place: data for place, data in found.items() if {"train", "space", "objectives"} <= data.keys()}


def test_every_study_file_of_the_repository_matches(schema: Mapping[str, Any]) -> None:
    files = study_files()
    assert len(files) >= 2
    assert [place for place, data in files.items() if not matches(schema, data)] == []


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RIGHT.items() for value in values], ids=str)
def test_what_is_read_matches(schema: Mapping[str, Any], key: str, value: object) -> None:
    data = changed(key, value)
    assert matches(schema, data)
    assert is_read(data)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values], ids=str)
def test_what_is_refused_does_not_match(schema: Mapping[str, Any], key: str, value: object) -> None:
    data = changed(key, value)
    assert not matches(schema, data)
    assert not is_read(data)


@pytest.mark.parametrize("key", FILE_KEYS)
def test_a_misspelt_key_does_not_match(schema: Mapping[str, Any], key: str) -> None:
    assert matches(schema, FILE)
    assert not matches(schema, {**FILE, f"{key}s": FILE.get(key)})
    assert "description" in schema["properties"][key]


@pytest.mark.parametrize("key", ["study", "train", "space", "objectives"])
def test_a_missing_key_does_not_match(schema: Mapping[str, Any], key: str) -> None:
    assert not matches(schema, {name: value for name, value in FILE.items() if name != key})


@pytest.mark.parametrize("value", ["${oc.env:N}", "${seed}"])
@pytest.mark.parametrize("key", ["max_trials", "batch", "pool", "space", "seed"])
def test_an_interpolation_matches_everywhere(schema: Mapping[str, Any], key: str, value: str) -> None:
    assert matches(schema, {**FILE, key: value})


def test_the_command_prints_it(schema: Mapping[str, Any]) -> None:
    ran = CliRunner().invoke(app, ["schema"])
    assert ran.exit_code == 0
    assert json.loads(ran.output) == schema


def test_options_have_the_texts_of_the_docs(schema: Mapping[str, Any]) -> None:
    forms = [form for form in schema["properties"]["scheduler"]["anyOf"] if "const" in str(form.get("properties", {}))]
    assert [form["properties"]["name"]["const"] for form in forms] == list(SCHEDULERS)
    assert all(
        "description" in option for form in forms for name, option in form["properties"].items() if name != "name"
    )
