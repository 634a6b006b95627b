"""A limit or an option of a run that is added in one place appears everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_hwtune.core.spec import Limits
from lightning_hwtune.forms.run_options import LIMITS, RUN_OPTIONS
from lightning_hwtune.forms.settings import NEEDED
from lightning_hwtune.forms.study_keys import FILE_KEYS

REPOSITORY = Path(__file__).parents[2]
PLACE = "lightning_hwtune/forms/run_options.py"

# each is one entry, added to one class of the table
ADDED = {
    "max_energy": (
        "RunLimits",
        "float | None",
        'Setting(None, optional(number(0, above=True)), "Kilowatt-hours of the study, over all its runs.")',
    ),
    "max_idle": ("RunLimits", "float | str | None", 'Setting("auto", or_auto(DURATION), "Time idle. None: any.")'),
    "cool_down": ("RunOptions", "float | str | None", 'Setting(None, DURATION, "Time between two segments.")'),
}
GIVEN = {"max_energy": 5, "max_idle": 90, "cool_down": 3}

ASKED = """
import contextlib, inspect, json, sys
sys.path.insert(0, "DOCS")
import site_hooks, write_study_file
from omegaconf import OmegaConf
from typer.testing import CliRunner
import lightning_hwtune as hwt
from hydra_plugins.hwtune_sweeper import HwtuneConf, HwtuneSweeperConf
from lightning_hwtune.apps.hydra.node import HWTUNE_KEYS
from lightning_hwtune.apps.hydra.settings import HYDRA_SPELLING, SweepSettings
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.settings.schema import study_file_schema
from lightning_hwtune.settings.spelling import CLI_TUNE_SPELLING, FILE_SPELLING

name, given = "NAME", GIVEN
space, objectives = {"x": {"type": "float", "low": 0, "high": 1}}, ["train_s"]
scheduler = {"name": "asha", "max_epochs": 3}
searched = hwt.SearchSpace.from_dict(space)
study = hwt.Study("digits", searched, [hwt.TrainSeconds()], max_epochs=3, pool=hwt.Pool("cpu", 1))

def refusal(call):
    try:
        call()
    except hwt.HwTuneError as error:
        return str(error)

def text(*words):
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"}, color=False).output

parameter = inspect.signature(hwt.Study.run).parameters[name]
file = {"study": "digits", "train": "json:dumps", "space": space, "objectives": objectives, "scheduler": scheduler}
read = StudySettings.from_dict({**file, name: given})
node = OmegaConf.structured(HwtuneSweeperConf)
node.hwtune[name] = given
swept = SweepSettings.of(node).study("digits", searched, objectives, scheduler)
limits = read.limits().to_dict()
print(json.dumps({
    "package": hwt.__file__,
    "signature": [str(parameter.annotation), parameter.default],
    "help": hwt.Study.run.__doc__,
    "misspelt": refusal(lambda: study.run(print, **{name + "s": given})),
    "wrong": refusal(lambda: study.run(print, **{name: []})),
    "file": read.run_kwargs()[name],
    "file misspelt": refusal(lambda: StudySettings.from_dict({**file, name + "s": given})),
    "limits": [limits.get(name), Limits(**limits) == read.limits()],
    "node": OmegaConf.to_container(OmegaConf.structured(HwtuneConf))[name],
    "swept": swept.run_kwargs()[name],
    "commands": [text(command, "--help") for command in ("run", "cli-tune")],
    "schema": study_file_schema()["properties"][name],
    "docs": [write_study_file.key_table(), site_hooks.key_table(HWTUNE_KEYS)],
    "messages": [spell(f"`{name}={given}`") for spell in (FILE_SPELLING, CLI_TUNE_SPELLING, HYDRA_SPELLING)],
}))
"""


def answers(folder: Path, name: str) -> dict[str, Any]:
    """Returns what a copy of the package says after the entry was added to it."""
    shutil.copytree(
        REPOSITORY / "lightning_hwtune", folder / "lightning_hwtune", ignore=shutil.ignore_patterns("__pyc*")
    )
    table, (owner, kind, setting) = folder / PLACE, ADDED[name]
    text = table.read_text(encoding="utf-8")
    head = f"class {owner}("
    before, found, after = text.partition(head)
    first, quotes, rest = after.partition('."""\n')
    assert found
    assert quotes
    entry = f"\n    {name}: Annotated[{kind}, {setting}]\n"
    table.write_text(f"{before}{head}{first}{quotes}{entry}{rest}", encoding="utf-8")
    code = ASKED.replace("DOCS", str(REPOSITORY / "docs")).replace("NAME", name).replace("GIVEN", repr(GIVEN[name]))
    paths = os.pathsep.join([str(folder), str(folder / "lightning_hwtune/_hydra")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found_answers: dict[str, Any] = json.loads(done.stdout)
    assert Path(found_answers["package"]).is_relative_to(folder)
    return found_answers


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_in_one_place_appears_everywhere(tmp_path: Path, name: str) -> None:
    owner, kind, setting = ADDED[name]
    is_limit, default = owner == "RunLimits", "auto" if name == "max_idle" else None
    doc = setting.split('"')[-2]
    said = answers(tmp_path, name)
    assert said["signature"] == [kind, default]
    assert f"{name}: {doc}" in said["help"]
    assert f"did you mean '{name}'" in said["misspelt"]
    assert f"`{name}`" in said["wrong"]
    assert said["file"] == GIVEN[name]
    assert f"Did you mean '{name}'?" in said["file misspelt"]
    assert said["limits"] == [GIVEN[name] if is_limit else None, True]
    assert said["node"] == default
    assert said["swept"] == GIVEN[name]
    option = f"--{name.replace('_', '-')}"
    assert [option in text for text in said["commands"]] == [is_limit, is_limit]
    assert all(f"| `{name}` |" in table and doc.replace("None", "null") in table for table in said["docs"])
    assert said["schema"]["default"] == default
    assert "number" in str(said["schema"]["anyOf"])
    in_words = f"{option} {GIVEN[name]}" if is_limit else f"{name}={GIVEN[name]}"
    assert said["messages"] == [
        f"`{name}: {GIVEN[name]}`", f"`{in_words}`", f"`hydra.sweeper.hwtune.{name}={GIVEN[name]}`"
    ]  # fmt: skip


def test_each_limit_is_declared_where_rules_read_it() -> None:
    renamed = {"max_time": "max_time_s", "max_cost": "max_cost_usd"}
    # the class adds limits that it does not declare; all that exist have a rule, so all are declared
    text = (REPOSITORY / "lightning_hwtune/core/spec.py").read_text(encoding="utf-8")
    body = text.partition("class Limits:")[2].partition("def __post_init__")[0]
    assert all(f"    {renamed.get(name, name)}: " in body for name in LIMITS)
    assert list(Limits().to_dict()) == [renamed.get(name, name) for name in LIMITS]


def test_limits_are_named_by_users_and_by_the_log() -> None:
    limits = Limits.of({"max_time": "8h", "max_cost": 3, "max_trials": 5, "executor": "local"})
    assert limits == Limits(max_trials=5, max_time_s=8 * 3600.0, max_cost_usd=3.0)
    assert Limits(**limits.to_dict()) == limits
    assert Limits.of({}) == Limits()


@pytest.mark.parametrize("name", dict.fromkeys([*RUN_OPTIONS, *FILE_KEYS]))
def test_a_setting_has_a_meaning_and_an_allowed_default(name: str) -> None:
    item = RUN_OPTIONS.get(name) or FILE_KEYS[name]
    assert item.doc.endswith(".")
    assert item.summary.endswith(".")
    assert "None" not in item.file_doc
    if item.default is not NEEDED:
        read = item.form.read(name, item.new())
        assert read == (20 * 10**9 if name == "disk_budget" else item.default)
