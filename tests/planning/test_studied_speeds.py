"""Speeds and seconds for a plan, from what an earlier study has measured."""

from __future__ import annotations

from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.planning.profiled import studied_speeds
from lightning_hwtune.simulation.executor import Speeds, simulate

UNIT_S = {1: 60.0, 2: 33.0, 4: 20.0}


class Known:
    """Trainings whose seconds depend on the devices, and on the batch if they count epochs."""

    metrics = ("error",)
    max_resource = 9

    def values(self, config: Any, resource: int) -> dict[str, float]:
        return {"error": config["lr"] / resource}

    def elapsed_s(self, config: Any, resource: int, num_devices: int) -> float:
        return resource * UNIT_S[num_devices] * 128 / config.get("batch_size", 128)

    def usd_per_s(self, config: Any, num_devices: int) -> float:
        return 0.0


def studied(unit: str = "epochs", n_trials: int = 40, **space: Any) -> Any:
    made = hwt.SearchSpace(lr=hwt.Float(0, 1), **space)
    objectives, scheduler = Objectives([Metric("error", "min")]), hwt.ASHA(**{f"max_{unit}": 9}, first_rung=1)
    spec = StudySpec("earlier", made, objectives, scheduler, hwt.Random(), hwt.Pool("cpu", 4))
    return simulate(spec, Known(), Limits(n_trials), speeds=Speeds(0.02, 0))


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_seconds_and_speeds_are_those_of_the_trainings(unit: str) -> None:
    space = {"batch_size": hwt.Choice([64, 128])} if unit == "epochs" else {}
    found = studied_speeds(studied(unit, devices=hwt.NumDevices(1, 2, 4), **space), 4)
    expected_s = 60.0 if not space or found.unit_s < 90 else 120.0  # at the batch that was measured most
    assert found.unit_s == pytest.approx(expected_s, rel=0.1)
    assert found.speeds == pytest.approx({count: 60 / seconds for count, seconds in UNIT_S.items()}, rel=0.1)
    assert found.notes == ()


def test_more_devices_than_were_measured_are_predicted_with_a_note() -> None:
    found = studied_speeds(studied(devices=hwt.NumDevices(1, 2)), 4)
    assert found.speeds[1] < found.speeds[2] < found.speeds[4] < 4
    assert any("4 devices" in note and "extrapolated" in note for note in found.notes)


def test_a_study_on_one_device_gives_the_seconds_and_says_so() -> None:
    found = studied_speeds(studied(), 4)
    assert found.speeds == {1: 1.0}
    assert found.unit_s == pytest.approx(60, rel=0.1)
    assert "one device only" in found.notes[0]


def test_a_study_without_one_device_is_refused() -> None:
    with pytest.raises(hwt.ArgumentError, match="one device"):
        studied_speeds(studied(devices=hwt.NumDevices(2, 4)), 4)


@pytest.mark.parametrize("n_trials", [3, 4, 5])
def test_a_few_trials_on_two_numbers_of_devices_give_an_uncertain_speed(n_trials: int) -> None:
    state = studied(n_trials=n_trials, devices=hwt.NumDevices(1, 2), batch_size=hwt.Choice([64, 128]))
    assert {trial.num_devices for trial in state.trials} == {1, 2}
    found = studied_speeds(state, 2)
    assert found.speeds[1] == 1.0
    assert 1.2 < found.speeds[2] < 2.0  # the truth is 1.8
    assert any("2 devices is partly a guess, because earlier has trained too little" in note for note in found.notes)
    assert not any("one device only" in note for note in found.notes)


def test_start_ups_are_those_of_the_study() -> None:
    made = hwt.SearchSpace(lr=hwt.Float(0, 1))
    objectives = Objectives([Metric("error", "min")])
    spec = StudySpec("earlier", made, objectives, hwt.ASHA(max_epochs=9), hwt.Random(), hwt.Pool("cpu", 4))
    state = simulate(spec, Known(), Limits(10), start_s=20.0, restore_s=20.0)
    assert studied_speeds(state, 1).start_s == pytest.approx(20.0, rel=0.1)
    assert studied_speeds(studied(), 1).start_s == pytest.approx(0.0, abs=1.0)
