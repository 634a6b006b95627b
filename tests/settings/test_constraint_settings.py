"""Bounds and constraints in study files, overrides, the schema and the Hydra node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_study_settings import MINIMAL, TEXT, load, settings

import lightning_hwtune as hwt
from lightning_hwtune.apps.hydra.node import HWTUNE_KEYS
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.settings.schema import study_file_schema

PARAMS = {"name": "params", "at_most": 1000}


def test_a_file_gives_bounds_and_constraints(tmp_path: Path) -> None:
    text = TEXT.replace("mode: max,", "mode: max, at_least: 0.5,")
    text += "constraints: [{name: params, at_most: 1e6}, {name: usd, at_most: 1}, {name: peak_memory, at_most: 2GB}]\n"
    spec = load(tmp_path, text).spec()
    assert spec.objectives[0].at_least == 0.5
    assert spec.objectives.constraints == (
        hwt.Constraint("params", at_most=1e6),
        hwt.Constraint("cost_usd", at_most=1),
        hwt.Constraint("peak_memory", at_most=2e9),
    )


@pytest.mark.parametrize(
    ("override", "constraint"),
    [
        ("constraints=[{name: gap, at_least: 0.5, changes: true}]", hwt.Constraint("gap", at_least=0.5, changes=True)),
        ("constraints=[{name: train_s, at_most: 10min}]", hwt.Constraint("train_s", at_most=600)),
        ("constraints=[{name: params, at_most: 1e3}]", hwt.Constraint("params", at_most=1000)),
    ],
)
def test_an_override_sets_constraints(tmp_path: Path, override: str, constraint: hwt.Constraint) -> None:
    assert load(tmp_path, TEXT, override).spec().objectives.constraints == (constraint,)


def test_the_study_gets_only_what_the_file_gives() -> None:
    assert "constraints" not in settings().given_study_kwargs()
    given = settings(constraints=[PARAMS]).given_study_kwargs()
    assert given["constraints"] == (hwt.Constraint("params", at_most=1000),)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"constraints": [{"name": "params"}]}, "constraints.at_most"),
        ({"constraints": ["params"]}, "constraints"),
        ({"constraints": {"name": "params", "at_most": 1}}, "a list such as"),
        ({"constraints": [{"at_most": 1}]}, "`name` is missing"),
        ({"constraints": [{"name": "params", "at_most": "many"}]}, "constraints.at_most"),
        ({"constraints": [{"name": "error", "at_most": 1}]}, r"`Metric\('error', 'min', at_most=1\)`"),
        ({"constraints": [{"name": "usd", "at_most": 1}]}, "only with a price"),
        ({"objectives": [{"metric": "error", "mode": "min", "at_most": 0.1, "at_least": 0.2}]}, "at_least"),
    ],
)
def test_a_wrong_constraint_is_refused_with_its_key(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        settings(**changes)


def test_names_of_keys_are_corrected() -> None:
    with pytest.raises(UnknownArgumentError, match=r"write \{name: params"):
        settings(constraints=[{"metric": "params", "at_most": 1}])
    with pytest.raises(ArgumentError, match="Did you mean 'at_most'"):
        settings(constraints=[{"name": "params", "atmost": 1}])
    with pytest.raises((ArgumentError, UnknownArgumentError), match="constraints"):
        settings(constraint=[PARAMS])


def test_schema_and_hydra_node_have_the_key() -> None:
    schema = study_file_schema()
    assert schema["properties"]["constraints"]["default"] == []
    [part, _] = schema["definitions"]["constraint"]["anyOf"]
    assert set(part["properties"]) == {"name", "at_most", "at_least", "changes"}
    assert HWTUNE_KEYS["constraints"].default == []
    jsonschema = pytest.importorskip("jsonschema")
    for good in ([PARAMS], [{"name": "peak_memory", "at_most": "2GB"}], [{"name": "a", "at_most": "1e6"}]):
        jsonschema.validate({**MINIMAL, "constraints": good}, schema)
    for bad in ([{"at_most": 1}], [{"name": "a", "atmost": 1}], "a"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**MINIMAL, "constraints": bad}, schema)
