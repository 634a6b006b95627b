"""The chosen plan as a file: `hwtune plan --output`, `hwtune run --plan`, `hwtune plan --compare`; and its picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.deadline_choice import WayChoice

REPOSITORY = Path(__file__).parents[2]
STUDY_FILE = """\
study: toy
train: toy_functions:train
space: {x: {type: float, low: 0, high: 1}}
objectives: [{metric: error, mode: min}]
scheduler: {name: successive_halving, max_epochs: 9}
pool: {accelerator: cpu, devices: 2, usd_per_device_hour: 3.6}
max_trials: 9
check: false
"""
FUNCTIONS = """\
def train(trial):
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if trial.report(epoch, error=trial["x"]).kind != "continue":
            trial.save(epoch)
            return
"""
RENTED = (
    "--scheduler successive_halving:max_epochs=9 --trials 9 --unit-s 60 --instance g4dn.12xlarge --speeds 1=1,2=1.9"
)
POOL = "--unit-s 1 --speeds 1=1,2=1.9"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "study.yaml").write_text(STUDY_FILE)
    (tmp_path / "toy_functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hwtune(command: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == code, result.output
    return result


def planned(folder: Path, command: str = f"study.yaml {POOL}") -> dict[str, Any]:
    hwtune(f"plan {command} --output plan.json")
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found


@pytest.mark.training
def test_a_study_runs_by_a_plan_and_is_compared_with_it(folder: Path) -> None:
    assert planned(folder, "study.yaml --unit-s 1 --trials 4 --deadline 10min")["trials"] == 4
    plan = json.loads((folder / "plan.json").read_text())
    words = [sys.executable, "-m", "lightning_hwtune", "run", "study.yaml", "--plan", "plan.json"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    rows = {row["name"]: row for row in json.loads(hwtune("plan --compare toy --format json").stdout)}
    assert (rows["trials"]["predicted"], rows["trials"]["actual"]) == (4, 4)
    assert (rows["devices per segment"]["predicted"], rows["devices per segment"]["actual"]) == (1, 1)
    assert rows["time"]["predicted"] == plan["seconds"]
    assert rows["time"]["ratio"] == pytest.approx(rows["time"]["actual"] / plan["seconds"])
    assert rows["cost"]["actual"] > 0
    text = hwtune("plan --compare toy").stdout
    assert "devices per segment" in text


SEER = "--unit-s 0.05 --speeds 1=1,2=1.9 --deadline 10min --budget 1 --policy seer"


@pytest.mark.training
def test_a_study_runs_by_a_seer_style_plan_for_its_pool(folder: Path) -> None:
    plan = planned(folder, f"study.yaml {SEER}")
    assert (plan["policy"], plan["instance"], plan["trials"] > 9) == ("seer", None, True)
    assert plan["training"] == {"unit_s": 0.05, "start_s": 0.0, "speeds": {"1": 1.0, "2": 1.9}}
    words = [sys.executable, "-m", "lightning_hwtune", "run", "study.yaml", "--plan", "plan.json", "max_trials=6"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    rows = {row["name"]: row for row in json.loads(hwtune("plan --compare toy --format json").stdout)}
    assert rows["trials"]["actual"] == 6
    assert rows["time"]["actual"] <= 600
    assert rows["cost"]["actual"] <= 1
    assert "stage from rung" in hwtune("why 0 --study toy").stdout


def test_a_seer_style_plan_becomes_the_policy_of_the_study(folder: Path) -> None:
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.planning.seer_policy import SeerAllocation
    from lightning_hwtune.settings import StudySettings

    planned(folder, f"study.yaml {SEER} --start-s 2")
    changes = read_plan(folder / "plan.json").overrides(StudySettings.load(folder / "study.yaml", []).spec(), [])
    settings = StudySettings.load(folder / "study.yaml", changes)
    assert settings.spec().allocation == SeerAllocation(unit_s=0.05, start_s=2.0, speeds={1: 1, 2: 1.9})
    limits = settings.limits()
    assert (limits.max_trials, limits.max_time_s, limits.max_cost_usd) == (None, 600.0, 1.0)
    asha = ["scheduler={name: asha, max_epochs: 9}"]
    with pytest.raises(ArgumentError, match="scheduler: successive_halving"):
        read_plan(folder / "plan.json").overrides(StudySettings.load(folder / "study.yaml", asha).spec(), [])


ASHA_POOL = "--scheduler asha:max_epochs=9,first_rung=1 --trials 9 --unit-s 60 --devices 2 --usd-per-device-hour 1"


def test_the_way_to_train_until_a_deadline_is_chosen_by_simulations(folder: Path) -> None:
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.settings import StudySettings

    command = f"plan {ASHA_POOL} --speeds 1=1,2=1.9 --deadline 5min --policy deadline --format json --output plan.json"
    found = json.loads(hwtune(command).stdout)
    assert found["chosen"]["policy"] == "deadline"
    assert found["chosen"]["seconds"] == 300
    assert "deadline " in found["notes"][0]
    assert "width 1.5 " in found["notes"][0]
    changes = ["scheduler={name: asha, max_epochs: 9, first_rung: 1}", "~max_trials"]
    spec = StudySettings.load(folder / "study.yaml", changes).spec()
    own = read_plan(folder / "plan.json").overrides(spec, [])
    settings = StudySettings.load(folder / "study.yaml", [*changes, *own])
    assert settings.spec().allocation.name in ("deadline", "fixed")
    assert repr(settings.spec().allocation) in found["notes"][1]
    assert settings.limits().max_time_s == 300
    assert settings.limits().max_trials is None


def test_a_larger_pool_is_chosen_for_the_same_money_where_it_can_be_had(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_hwtune.planning import deadline_options
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.settings import StudySettings

    def best(studies: Any, ways: Any) -> WayChoice:
        """Says that more devices are always better."""
        widest = max(ways, key=lambda way: way.width)
        return WayChoice(widest, {way.name: (way.width - 1, 0.1) for way in ways})

    monkeypatch.setattr(deadline_options, "best_way", best)
    command = f"plan {ASHA_POOL} --deadline 5min --policy deadline --format json --output plan.json"
    assert "2 times as many devices would be better" in json.loads(hwtune(command).stdout)["notes"][-1]
    wider = json.loads(hwtune(f"{command} --most-devices 3").stdout)
    assert wider["chosen"]["seconds"] == 200
    assert wider["chosen"]["usd"] == pytest.approx(2 * 300 / 3600)
    assert "on 3 devices, for less time" in wider["notes"][1]
    changes = ["scheduler={name: asha, max_epochs: 9, first_rung: 1}", "~max_trials"]
    own = read_plan(folder / "plan.json").overrides(StudySettings.load(folder / "study.yaml", changes).spec(), [])
    settings = StudySettings.load(folder / "study.yaml", [*changes, *own])
    assert settings.spec().pool.devices == 3
    assert settings.limits().max_time_s == 200
    assert "--most-devices" in hwtune(f"plan {ASHA_POOL} --most-devices 3", 1).stderr


def test_a_way_to_train_until_a_deadline_needs_one(folder: Path) -> None:
    assert "with --policy deadline" in hwtune(f"plan {ASHA_POOL} --policy deadline", 1).stderr


def test_a_plan_for_rented_nodes_becomes_the_policy_of_a_study_on_such_nodes(folder: Path) -> None:
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.settings import StudySettings

    plan = planned(folder, RENTED)
    devices, nodes = ([stage[name] for stage in plan["stages"]] for name in ("devices", "nodes"))
    changes = [f"pool={{instance: g4dn.12xlarge, nodes: {max(nodes)}}}"]
    study = StudySettings.load(folder / "study.yaml", changes)
    own = read_plan(folder / "plan.json").overrides(study.spec(), [])
    settings = StudySettings.load(folder / "study.yaml", [*changes, *own])
    assert settings.spec().allocation == hwt.PlannedAllocation(devices, nodes)
    assert settings.limits().max_trials == plan["trials"] == 9
    for more, text in [
        ([f"pool.nodes={max(nodes) - 1}"], f"a plan for {max(nodes)} nodes"),
        (["pool={instance: p3.8xlarge, nodes: 20}"], "nodes of type p3.8xlarge with 4 devices"),
        (["scheduler={name: asha, max_epochs: 9}"], "a rubberband plan"),
    ]:
        with pytest.raises(ArgumentError, match=text):
            read_plan(folder / "plan.json").overrides(
                StudySettings.load(folder / "study.yaml", [*changes, *more]).spec(), []
            )


@pytest.mark.parametrize("policy", ["pool", "static", "rubberband", "seer"])
def test_the_file_has_the_plan_of_the_policy(folder: Path, policy: str) -> None:
    command = f"{RENTED} --devices 2 --usd-per-device-hour 1 --deadline 2h --budget 30 --policy {policy}"
    plan = planned(folder, command)
    assert plan["policy"] == {"pool": "fixed pool"}.get(policy, policy)
    assert (plan["deadline_s"], plan["budget_usd"]) == (7200, 30)
    assert (plan["instance"] is None) == (policy == "pool")
    assert (plan["stages"] == []) == (policy == "pool")
    assert plan["least_s"] <= plan["most_s"]


def test_a_deadline_and_a_budget_decide_how_many_trials_a_seer_style_plan_begins(folder: Path) -> None:
    found = [planned(folder, f"{RENTED} --deadline 2h --budget {usd} --policy seer") for usd in (10, 20, 40)]
    assert [plan["usd"] <= limit for plan, limit in zip(found, (10, 20, 40), strict=True)] == [True] * 3
    trials = [plan["trials"] for plan in found]
    assert trials == sorted(set(trials))
    assert trials[0] > 9


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [("--policy seer", "static or rubberband"), ("--policy asha --devices 2", "pool or static or rubberband")],
)
def test_a_policy_without_a_plan_is_refused_with_those_that_have_one(folder: Path, limits: str, allowed: str) -> None:
    assert allowed in hwtune(f"plan {RENTED} {limits}", 1).stderr


@pytest.mark.parametrize("name", ["plan.png", "plan.svg"])
def test_the_picture_is_drawn(folder: Path, name: str) -> None:
    hwtune(f"plan {RENTED} --devices 4 --deadline 2h --budget 30 --plot {name}")
    assert (folder / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "text"), [("plan.txt", "the name of an image file"), ("no/such/plan.png", "cannot write")]
)
def test_a_picture_that_cannot_be_written_is_refused(folder: Path, name: str, text: str) -> None:
    assert text in hwtune(f"plan study.yaml {POOL} --plot {name}", 1).stderr


@pytest.mark.parametrize(
    ("command", "changes", "text"),
    [
        (RENTED, "", "a plan (rubberband) for nodes of type g4dn.12xlarge"),
        (f"{RENTED} --deadline 2h --budget 30 --policy seer", "", "a plan (seer) for nodes of type g4dn.12xlarge"),
        (f"study.yaml {POOL} --devices 8", "", "a plan for a pool of 8 devices"),
        (f"study.yaml {POOL}", "scheduler.max_epochs=27", "a plan for the scheduler of the study"),
        (f"study.yaml {POOL}", "+space.n={type:num_devices,counts:[1,2]}", "only for a study that does not search 'n'"),
        ("study.yaml --unit-s 1 --speeds 1=1,1/2=0.99", "", "whole devices per trial"),
    ],
)
def test_a_plan_for_another_study_is_refused(folder: Path, command: str, changes: str, text: str) -> None:
    planned(folder, command)
    assert text in hwtune(f"run study.yaml {changes} --plan plan.json", 1).stderr
    assert not (folder / "hwtune").exists()


def test_what_a_run_would_refuse_is_said_when_the_plan_is_written(folder: Path) -> None:
    space = "+space.n={type:num_devices,counts:[1,2]}"
    for changes, text in (("", ""), (space, "Add ~space.n to `hwtune run`"), ("--devices 8", "a pool of 8 devices")):
        result = hwtune(f"plan study.yaml {POOL} {changes} --output plan.json")
        assert ("will refuse this plan" in result.stderr) == bool(text)
        assert text in result.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not the file of a plan"),
        ("[]", "is not the file of a plan"),
        ('{"form": 2}', "its form is 2 instead of 1"),
        ('{"form": 1}', "is not the file of a plan"),
        ({"trials": 0}, "must be positive integers"),
        ({"trials": "9"}, "must be positive integers"),
        ({"devices": "many"}, "many"),
        ({"devices": 2}, "its devices must be text"),
        ({"seconds": "soon"}, "must be numbers"),
        ({"deadline_s": -1}, "must be numbers"),
        ({"training": 3}, "its training must be a mapping"),
    ],
)
def test_a_damaged_plan_is_refused(folder: Path, content: str | dict[str, Any], text: str) -> None:
    plan = planned(folder)
    (folder / "plan.json").write_text(content if isinstance(content, str) else json.dumps(plan | content))
    assert text in hwtune("run study.yaml --plan plan.json", 1).stderr


def test_without_a_plan_the_message_says_how_to_make_one(folder: Path) -> None:
    assert "--output plan.json" in hwtune("run study.yaml --plan plan.json", 1).stderr


def test_limits_of_the_user_win_over_those_of_the_plan(folder: Path) -> None:
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.settings import StudySettings

    planned(folder, f"study.yaml {POOL} --deadline 10min --budget 5")
    plan, spec = read_plan(folder / "plan.json"), StudySettings.load(folder / "study.yaml", []).spec()
    assert "++max_time=600.0" in plan.overrides(spec, [])
    assert not any("max_time" in text for text in plan.overrides(spec, ["max_time=20min"]))
    assert not any("max_time" in text for text in plan.overrides(spec, ["max_time"]))


@pytest.mark.parametrize("devices", [1, 2])
def test_the_study_gets_trials_and_devices_of_the_plan(folder: Path, devices: int) -> None:
    from lightning_hwtune.core.hardware.policies import FixedAllocation
    from lightning_hwtune.planning.plan_file import read_plan
    from lightning_hwtune.settings import StudySettings

    plan = planned(folder, f"study.yaml {POOL} --trials 5") | {"devices": str(devices)}
    (folder / "plan.json").write_text(json.dumps(plan))
    changes = read_plan(folder / "plan.json").overrides(StudySettings.load(folder / "study.yaml", []).spec(), [])
    settings = StudySettings.load(folder / "study.yaml", changes)
    assert settings.limits().max_trials == 5
    assert settings.spec().allocation == FixedAllocation(devices)
