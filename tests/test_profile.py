"""`Study.profile` and `hwtune profile` measure real steps of real ranks, and leave only their file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import study_functions as functions
from study_bench import small_study

import lightning_hwtune as hwt

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.training

SPACE = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True), batch_size=hwt.Choice([128]), devices=hwt.NumDevices(1, 2))
METRICS = [hwt.Metric("val_error", "min")]


def train(trial: hwt.Trial) -> None:
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    data = DigitsDataModule(batch_size=trial.per_device_batch_size(trial["batch_size"]))
    trial.fit(DigitsMLP(lr=trial["lr"]), data)


def accumulating(trial: hwt.Trial) -> None:
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    data = DigitsDataModule(batch_size=trial.per_device_batch_size(trial["batch_size"]) // 2)
    trial.fit(DigitsMLP(lr=trial["lr"]), data, accumulate_grad_batches=2)


def with_little_memory(trial: hwt.Trial) -> None:
    if trial.per_device_batch_size(trial["batch_size"]) > 33:
        raise MemoryError("unable to allocate 3.00 TiB")
    train(trial)


def of_one_batch(trial: hwt.Trial) -> None:
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    trial.fit(DigitsMLP(lr=trial["lr"]), DigitsDataModule(batch_size=4096))


@pytest.mark.slow
def test_a_profile_measures_each_number_of_devices_and_smaller_batches(tmp_path: Path) -> None:
    study = small_study(tmp_path, space=SPACE, objectives=METRICS)
    found = study.profile(train, steps=4)
    sizes = {(point.devices, point.global_batch, point.per_device_batch) for point in found.points}
    assert sizes == {(1, 128, 128), (1, 64, 64), (1, 32, 32), (2, 128, 64)}
    assert all(1e-5 < point.seconds < 10 for point in found.points)
    assert (found.global_batch, found.devices_per_node, found.steps, found.notes) == (128, 2, 4, ())
    assert found.config["batch_size"] == 128
    assert found.model().seconds_per_step(2) > 0
    assert hwt.read_profile(study.dir) == found
    assert not (study.dir / "scratch" / "profile").exists()
    with pytest.raises(hwt.StudyNotFoundError):
        study.state()


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    study = small_study(tmp_path, space=SPACE, objectives=METRICS)
    found = study.profile(accumulating, devices=[1], global_batch=66, steps=4)
    assert {(point.accumulate, point.global_batch) for point in found.points} == {(2, 66), (2, 32)}
    assert found.global_batch == 66


@pytest.mark.slow
def test_a_batch_that_runs_out_of_memory_is_noted_and_accumulated_by_the_model(tmp_path: Path) -> None:
    found = small_study(tmp_path, space=SPACE, objectives=METRICS).profile(with_little_memory, global_batch=66, steps=3)
    assert {(point.devices, point.global_batch) for point in found.points} == {(1, 33), (2, 66)}
    assert (found.max_per_device_batch, found.global_batch) == (33, 66)
    assert found.notes == ("not measured on 1 device: it ran out of memory",)
    points = (*found.points, hwt.ScalingPoint(1, 1, 11, 1e-3))
    assert hwt.ScalingModel.fit(points, 2, global_batch=66, max_per_device_batch=33).predict(1).accumulate == 2


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (functions.plain, hwt.TrialError, "trial.fit"),
        (functions.broken, hwt.TrialError, "a bug in the model"),
    ],
)
def test_training_that_cannot_be_profiled_is_refused(
    tmp_path: Path, function: object, error: type[Exception], text: str
) -> None:
    study = small_study(tmp_path)
    with pytest.raises(error, match=text):
        study.profile(function, devices=[1])  # type: ignore[arg-type]
    assert not (study.dir / "profile.json").exists()


def test_an_epoch_of_one_batch_has_no_warm_step(tmp_path: Path) -> None:
    study = small_study(tmp_path, space=SPACE, objectives=METRICS, scheduler=hwt.ASHA(max_epochs=3))
    with pytest.raises(hwt.TrialError, match="too few batches"):
        study.profile(of_one_batch, devices=[1], steps=2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"devices": [4]}, "at most 2"),
        ({"devices": []}, "empty"),
        ({"devices": [1, 1]}, "twice"),
        ({"devices": [0]}, "devices"),
        ({"devices": 2}, "devices"),
        ({"steps": 0}, "steps"),
        ({"steps": 5000}, "steps"),
        ({"global_batch": 7}, "multiple of 2"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, options: dict[str, object], text: str) -> None:
    study = small_study(tmp_path, space=SPACE, objectives=METRICS)
    with pytest.raises(hwt.ArgumentError, match=text):
        study.profile(train, **{"devices": [1, 2], **options})  # type: ignore[arg-type]


STUDY_FILE = """\
study: digits
train: test_profile:train
space:
  lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
  batch_size: {type: choice, options: [128]}
objectives: [{metric: val_error, mode: min}]
scheduler: {name: asha, max_epochs: 9}
pool: {accelerator: cpu, devices: 2}
max_trials: 4
"""


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_the_file(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY_FILE)
    path = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "lightning_hwtune", "profile", "study.yaml", "--steps", "3", "--dir", "here"]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160"}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    done = run("--devices", "1,2", "--global-batch", "66")
    assert done.returncode == 0, done.stderr
    assert "speed_up" in done.stdout
    assert "worth using: " in done.stdout
    stored = json.loads((tmp_path / "here" / "digits" / "profile.json").read_text())
    assert {point["devices"] for point in stored["points"]} == {1, 2}
    wrong = run("--devices", "one")
    assert wrong.returncode == 2
    assert "instead of numbers of devices" in wrong.stderr
