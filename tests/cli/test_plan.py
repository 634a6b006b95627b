"""`hwtune plan`: the table, its JSON, what is chosen, and what is said if nothing fits."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from stored_study import store
from typer.testing import CliRunner, Result

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.host.cpus import n_cpus

STUDY_FILE = """\
study: digits
train: no_such_module:train
space: {lr: {type: float, low: 1e-3, high: 1e-1, log: true}}
objectives: [{metric: error, mode: min}]
scheduler: {name: successive_halving, max_epochs: 9}
pool: {accelerator: cpu, devices: 2, usd_per_device_hour: 3.6}
max_trials: 9
"""
RENTED = "--scheduler successive_halving:max_epochs=9 --trials 9 --unit-s 60 --instance rig"
SPEEDS = "--speeds 1=10,2=19,3=15,4=30,1/2=5.5"


@pytest.fixture
def rig(tmp_path: Path) -> str:
    """A node of two devices for one cent per second, billed exactly."""
    path = tmp_path / "own.toml"
    path.write_text('[[instances]]\nname = "rig"\nusd_per_hour = 36\ndevices = 2\n')
    return f"--catalogue {path} --launch-s 0"


def plan(command: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["plan", *command.split()])
    assert result.exit_code == code, result.output
    return result


def found(command: str, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(plan(f"{command} --format json", code).stdout)
    return document


def test_rented_nodes_are_compared_and_the_cheapest_in_time_is_chosen(rig: str) -> None:
    document = found(f"{RENTED} {rig} {SPEEDS} --deadline 12min --most 6")
    assert [item["policy"] for item in document["plans"]] == ["static", "rubberband"]
    static, elastic = document["plans"]
    assert document["chosen"]["policy"] == "rubberband"
    assert [item["chosen"] for item in document["plans"]] == [False, True]
    assert elastic["usd"] < static["usd"]
    assert max(static["seconds"], elastic["seconds"]) <= document["deadline_s"] == 720
    assert [stage["trials"] for stage in elastic["stages"]] == [9, 3, 1]
    assert elastic["usd"] == pytest.approx(
        sum(stage["nodes"] * (stage["ends_s"] - stage["begins_s"]) for stage in elastic["stages"]) / 100
    )
    assert document["notes"] == ["trials on 3 devices are not faster than on fewer, so no plan uses them"]
    assert document["relaxed"] == ""


def test_without_a_deadline_the_fastest_plan_that_the_budget_pays_is_chosen(rig: str) -> None:
    free = found(f"{RENTED} {rig} {SPEEDS} --most 6")["chosen"]
    paid = found(f"{RENTED} {rig} {SPEEDS} --budget 7 --most 6")["chosen"]
    assert paid["usd"] <= 7 < free["usd"]
    assert free["seconds"] < paid["seconds"]


def test_a_pool_is_simulated_with_each_number_of_devices(rig: str) -> None:
    command = "--scheduler run_to_end:max_epochs=3 --trials 4 --unit-s 60 --variation 1 --devices 4"
    document = found(f"{command} {SPEEDS} --usd-per-device-hour 36")
    seconds = {item["devices"]: item["seconds"] for item in document["plans"]}
    assert seconds == pytest.approx({"1/2": 180 / 0.55, "1": 180, "2": 2 * 180 / 1.9, "4": 4 * 180 / 3})
    assert document["chosen"]["devices"] == "1"
    assert document["chosen"]["usd"] == pytest.approx(4 * 0.01 * 180)
    assert found(f"{command} {SPEEDS}")["chosen"]["usd"] is None
    both = found(f"{command} {SPEEDS} --usd-per-device-hour 36 --instance rig {rig} --deadline 1h")
    assert {item["policy"] for item in both["plans"]} == {"fixed pool", "static", "rubberband"}


def test_a_study_file_gives_scheduler_trials_pool_and_limits(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE)
    document = found(f"{path} max_time=2h max_cost=100 --unit-s 60 --speeds 1=1,2=1.5")
    assert (document["deadline_s"], document["budget_usd"]) == (7200, 100)
    assert [item["devices"] for item in document["plans"]] == ["1", "2", "1, 1, 1"]  # the last one is SEER-style
    assert document["plans"][0]["usd"] == pytest.approx(2 * 3.6 * document["plans"][0]["seconds"] / 3600)
    assert found(f"{path} --unit-s 60 --trials 3 --deadline 1h")["deadline_s"] == 3600
    elsewhere = found(f"{path} pool.accelerator=gpu pool.devices=64 --unit-s 60 --speeds 1=1,64=20")
    assert [item["devices"] for item in elsewhere["plans"]] == ["1", "64"]


@pytest.mark.parametrize("pool", ["pool.usd_per_device_hour=null", "pool={accelerator:cpu,devices:2,nodes:1}"])
def test_the_price_of_the_command_line_is_that_of_the_pool_of_the_study_file(tmp_path: Path, pool: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE)
    document = found(f"{path} {pool} --unit-s 60 --usd-per-device-hour 7.2 --budget 100")
    assert document["plans"][0]["usd"] == pytest.approx(2 * 7.2 * document["plans"][0]["seconds"] / 3600)
    own = found(f"{path} --unit-s 60 --devices 4 --budget 100")["plans"][0]
    assert own["usd"] == pytest.approx(4 * 3.6 * own["seconds"] / 3600)  # the price of the file, for other devices


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--instance g4dn.xlarge", "the price of a device of a pool"),
        ("STUDY pool={instance:g4dn.12xlarge}", "left out, because the pool consists of g4dn.12xlarge"),
    ],
)
def test_a_price_that_no_pool_can_have_is_refused(tmp_path: Path, options: str, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE)
    command = f"--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --usd-per-device-hour 1 {options}"
    assert text in plan(command.replace("STUDY", str(path)), 1).stderr


def test_nodes_of_an_allocation_are_planned_with_the_devices_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE.replace("devices: 2, usd_per_device_hour: 3.6", "nodes: auto"))
    assert (
        "pool.nodes=1 pool.devices=2. Or add the devices of all: --devices 2." in plan(f"{path} --unit-s 6", 1).stderr
    )
    one = found(f"{path} pool.nodes=1 pool.devices=2 --unit-s 6")["plans"]
    assert found(f"{path} --unit-s 6 --devices 2")["plans"] == one
    rented = found(f"{path} --unit-s 6 --instance g4dn.xlarge")
    assert {item["policy"] for item in rented["plans"]} == {"static", "rubberband"}
    assert "only rented nodes are compared" in rented["notes"][0]


def test_a_pool_without_a_number_is_that_of_this_host(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE.replace("devices: 2, ", ""))
    [only] = found(f"{path} --unit-s 60")["plans"]
    assert only["usd"] == pytest.approx(n_cpus() * 3.6 * only["seconds"] / 3600)


@pytest.mark.parametrize(
    ("limits", "texts"),
    [
        ("--deadline 60s", ["The fastest plan (rubberband) takes", "misses the deadline by"]),
        ("--budget 1", ["The cheapest plan (", "more than the budget", "One trial alone", "costs at least"]),
        ("--deadline 60s --budget 1", ["misses the deadline by", "more than the budget"]),
        (
            "--deadline 5min --budget 6.7",
            ["Within the deadline, the cheapest", "Within the budget, the fastest", "With 8 trials, a SEER-style plan"],
        ),
    ],
)
def test_if_no_plan_fits_the_message_says_what_would(rig: str, limits: str, texts: list[str]) -> None:
    result = plan(f"{RENTED} {rig} {SPEEDS} --most 6 {limits}", 1)
    assert all(text in result.stderr for text in texts), result.stderr
    assert "exceeds a limit" in result.stdout
    document = found(f"{RENTED} {rig} {SPEEDS} --most 6 {limits}", 1)
    assert document["chosen"] is None
    assert document["relaxed"] in result.stderr
    assert {item["policy"] for item in document["plans"] if item["within_limits"]} <= {"seer"}


def test_the_table_marks_the_chosen_plan_and_shows_its_stages(rig: str) -> None:
    text = plan(f"{RENTED} {rig} {SPEEDS} --deadline 12min --most 6").stdout
    assert "chosen" in next(line for line in text.splitlines() if line.startswith("rubberband"))
    assert "stages of the chosen plan" in text
    assert "trials on 3 devices are not faster" in text
    rows = list(csv.DictReader(io.StringIO(plan(f"{RENTED} {rig} {SPEEDS} --format csv").stdout)))
    assert [row["policy"] for row in rows] == ["static", "rubberband"]


def profile_file(folder: Path, points: list[tuple[int, int, int, float]], devices_per_node: int = 2) -> str:
    measured = tuple(hwt.ScalingPoint(*point) for point in points)
    profile = hwt.ScalingProfile("digits", {"lr": 0.1}, "gpu", devices_per_node, 64, 20, measured)
    (folder / "profile.json").write_text(json.dumps(profile.to_dict()))
    return str(folder)


def test_a_profile_gives_the_speeds_and_the_seconds_of_an_epoch(tmp_path: Path) -> None:
    folder = profile_file(tmp_path, [(1, 1, 64, 0.5), (1, 1, 32, 0.3), (2, 1, 64, 0.3)])
    command = f"--scheduler run_to_end:max_epochs=3 --trials 4 --devices 4 --variation 1 --profile {folder}"
    document = found(f"{command} --samples 6400")
    assert {item["devices"]: item["seconds"] for item in document["plans"]} == pytest.approx({"1": 150, "2": 180})
    [note] = document["notes"]
    assert note.startswith("4 devices: ")
    assert "one probe on 2 full nodes (4 devices)" in note
    assert found(f"{command} --unit-s 10")["plans"][0]["seconds"] == pytest.approx(30)


def test_speeds_beyond_the_profile_are_predicted_and_noted(tmp_path: Path) -> None:
    points = [(1, 1, 64, 0.5), (1, 1, 32, 0.3), (1, 1, 16, 0.2), (2, 1, 64, 0.3), (4, 2, 64, 0.2)]
    command = f"--scheduler run_to_end:max_epochs=3 --trials 1 --devices 8 --profile {profile_file(tmp_path, points)}"
    document = found(f"{command} --samples 6400")
    assert [item["devices"] for item in document["plans"]] == ["1", "2", "4", "8"]
    assert [note for note in document["notes"] if note.startswith("the speed of 8 devices is extrapolated")]


@pytest.mark.parametrize(
    ("points", "extra", "text"),
    [
        ([(2, 1, 64, 0.3), (1, 1, 32, 0.3)], "--samples 64", "one device at the global batch"),
        ([(1, 1, 64, 0.5)], "", "--samples"),
        ([(1, 1, 64, 0.5)], "--samples 64 --speeds 1=1", "--speeds"),
    ],
)
def test_a_profile_that_gives_no_speeds_is_refused(
    points: list[tuple[int, int, int, float]], extra: str, text: str, tmp_path: Path
) -> None:
    folder = profile_file(tmp_path, points)
    command = f"--scheduler asha:max_epochs=9 --trials 4 --devices 2 --profile {folder} {extra}"
    assert text in plan(command, 1).stderr


def test_a_profile_of_one_point_plans_one_device_per_trial(tmp_path: Path) -> None:
    folder = profile_file(tmp_path, [(1, 1, 64, 0.5)])
    command = f"--scheduler run_to_end:max_epochs=3 --trials 4 --devices 2 --variation 1 --profile {folder}"
    document = found(f"{command} --samples 640")
    assert [item["devices"] for item in document["plans"]] == ["1"]
    assert "no speed is predicted" in document["notes"][0]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("--trials 4 --unit-s 1 --devices 2", "--scheduler"),
        ("--scheduler asha:max_epochs=9 --unit-s 1 --devices 2", "--trials"),
        ("--scheduler asha:max_epochs=9 --trials 4 --devices 2", "`--unit-s` is missing: the seconds"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1", "--devices"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 0 --devices 2", "unit_s"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --speeds 1", "--speeds"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --speeds 1=1,1=2", "each number once"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --speeds 2=1", "one device"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --speeds 1=1,2=-1", "speeds[2]"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --budget 5", "only with a price"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --deadline soon", "'1h30min'.\n"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --devices 2 --budget -3", "number of US dollars.\n"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --instance no.such", "no.such"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --instance g4dn.xlarge --most 999", "most"),
        ("--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --instance g4dn.xlarge --launch-s -1", "launch_s"),
        (
            "--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --instance g4dn.xlarge --speeds 1=1,x=2",
            "number of",
        ),
        (
            "--scheduler asha:max_epochs=9 --trials 4 --unit-s 1 --instance g4dn.xlarge --speeds 1=1,1.5=2",
            "number of",
        ),
        ("--scheduler asha:max_epochs=9 --trials 4 --devices 2 --profile nowhere", "profile"),
        ("--scheduler asha:max_epochs=9 --trials 4 --devices 2 --samples 100", "--profile"),
        ("--scheduler ahsa:max_epochs=9 --trials 4 --unit-s 1 --devices 2", "asha"),
    ],
)
def test_wrong_options_are_refused(command: str, text: str) -> None:
    result = plan(command, 1)
    assert text in result.stderr
    assert result.stdout == ""


def test_an_earlier_study_gives_seconds_and_speeds(tmp_path: Path) -> None:
    store(tmp_path, n_trials=20)
    command = f"--scheduler run_to_end:max_epochs=3 --trials 4 --variation 1 --devices 2 --dir {tmp_path}"
    document = found(f"{command} --measured-by digits")
    seconds = {item["devices"]: item["seconds"] for item in document["plans"]}
    assert seconds == pytest.approx({"1": 2 * 3 * 1.0, "2": 4 * 3 * 0.5}, rel=0.1)
    assert found(f"{command} --measured-by digits --unit-s 60")["plans"][0]["seconds"] == pytest.approx(360)
    for more, text in [("--speeds 1=1", "left out with --measured-by"), ("--samples 5", "left out with --measured-by")]:
        assert text in plan(f"{command} --measured-by digits {more}", 1).stderr
    steps = command.replace("max_epochs", "max_steps")
    assert "which counts epochs" in plan(f"{steps} --measured-by digits", 1).stderr
