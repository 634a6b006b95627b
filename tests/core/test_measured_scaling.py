"""The points of a scaling model from the segments of studies whose true seconds are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.policies import DoublingAllocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.measured_scaling import levels, measured_scaling, scaling_points
from lightning_hwtune.core.objectives import DeviceSeconds, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.reference_count import Basis
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.executor import Speeds, simulate

N_SAMPLES = 2048
BATCHES = Choice([64, 128])
DEVICES = NumDevices(1, 2, 4)


def step_s(devices: int, batch: int) -> float:
    """Seconds of a step of the widest nets; others are faster by the same factor on any number of devices."""
    return 0.01 + 0.001 * batch / devices + (0.005 * devices if devices > 1 else 0.0)


class Nets:
    """The seconds depend on the width, the batch and the devices."""

    metrics = ("error",)
    max_resource = 9

    def __init__(self, unit: str = "epochs", *, is_per_device: bool = False) -> None:
        self.unit, self.is_per_device = unit, is_per_device

    def values(self, config: Any, resource: int) -> dict[str, float]:
        return {"error": 1 / (1 + config["width"]) + 0.1 / resource}

    def elapsed_s(self, config: Any, resource: int, num_devices: int) -> float:
        batch = config.get("batch_size", 128) * (num_devices if self.is_per_device else 1)
        steps = {"epochs": N_SAMPLES / batch, "steps": 1.0, "samples": 1 / batch}[self.unit]
        return resource * steps * step_s(num_devices, batch) * math.exp(config["width"])

    def usd_per_s(self, config: Any, num_devices: int) -> float:
        return 0.0


def state(
    n: int = 60, spread: float = 0.02, *, unit: str = "epochs", batch: str = "global", seed: int = 0, **space: Any
) -> StudyFacts:
    made = SearchSpace(width=Float(-1, 1), lr=Float(0, 1), **space)
    made = made.constrained(None) if batch == "per_device" else made
    scheduler = ASHA(**{f"max_{unit}": 9}, first_rung=1)
    spec = StudySpec(
        "s", made, Objectives([Metric("error", "min")]), scheduler, Random(), Pool("cpu", 4), seed=seed, batch=batch
    )
    curves = Nets(unit, is_per_device=batch == "per_device")
    return simulate(spec, curves, Limits(n), speeds=Speeds(spread, seed))


@pytest.mark.parametrize("unit", ["epochs", "steps", "samples"])
def test_the_speed_ups_are_those_of_the_curves_in_every_unit(unit: str) -> None:
    found = {
        (p.devices, p.global_batch): p.seconds
        for p in scaling_points(state(unit=unit, batch_size=BATCHES, devices=DEVICES))
    }
    assert set(found) == {(devices, batch) for devices in (1, 2, 4) for batch in (64, 128)}
    for (devices, batch), seconds in found.items():
        assert seconds / found[1, 64] == pytest.approx(step_s(devices, batch) / step_s(1, 64), rel=0.12)
    if unit == "epochs":  # a step at the largest batch stands for an epoch
        assert found[1, 128] == pytest.approx(N_SAMPLES / 128 * step_s(1, 128), rel=0.5)


def test_the_model_has_the_speed_ups_too() -> None:
    model = measured_scaling(state(batch_size=BATCHES, devices=DEVICES))
    assert model.global_batch == 128
    for devices in (2, 4):
        assert model.speed_up(devices) == pytest.approx(step_s(1, 128) / step_s(devices, 128), rel=0.12)
        assert not model.is_extrapolated(devices)


def test_batches_per_device_become_global_ones() -> None:
    found = {
        (p.devices, p.global_batch)
        for p in scaling_points(state(120, batch="per_device", batch_size=BATCHES, devices=DEVICES))
    }
    assert found == {(1, 64), (1, 128), (2, 128), (2, 256), (4, 256), (4, 512)}


def test_without_a_batch_size_only_the_devices_differ() -> None:
    found = {p.devices: p.seconds for p in scaling_points(state(devices=DEVICES))}
    assert set(found) == {1, 2, 4}
    assert found[1] / found[4] == pytest.approx(step_s(1, 128) / step_s(4, 128), rel=0.12)
    assert {p.global_batch for p in scaling_points(state(devices=DEVICES))} == {4}


@pytest.mark.parametrize("space", [{}, {"batch_size": BATCHES}, {"devices": NumDevices(2)}])
def test_one_number_of_devices_shows_nothing(space: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="hwtune profile"):
        measured_scaling(state(20, **space))


def test_a_study_without_a_segment_has_no_points() -> None:
    assert scaling_points(StudyFacts(state(1, devices=DEVICES).spec)) == ()


def test_two_counts_in_one_trial_outweigh_the_differences_between_trials() -> None:
    rng = np.random.default_rng(0)
    cells, trials, logs = [], [], []
    for trial in range(30):  # by chance, slow trials train on more devices
        own = rng.normal() * 0.3
        counts = [1, 2] if trial < 10 else [2 if own > 0 else 1]
        for count in counts:
            cells.append((count, 64))
            trials.append(trial)
            logs.append(own - math.log(count) * 0.8 + 0.02 * rng.normal())
    found = levels(cells, np.zeros((len(cells), 0)), trials, np.array(logs), 0.05)
    assert found[1, 64] - found[2, 64] == pytest.approx(0.8 * math.log(2), abs=0.08)


def test_levels_that_are_not_known_relative_to_the_others_are_left_out() -> None:
    cells = [(1, 64)] * 6 + [(2, 64)]
    found = levels(cells, np.zeros((7, 0)), list(range(7)), np.zeros(7), 0.05)
    assert set(found) == {(1, 64)}


@pytest.mark.parametrize(("unit", "spread"), [("epochs", 0.0), ("steps", 0.03), ("samples", 0.0)])
def test_trials_whose_devices_double_have_the_seconds_of_those_that_keep_one(unit: str, spread: float) -> None:
    """The law is known: the rungs compare the seconds on one device, whatever the trials have got."""
    for seconds in (TrainSeconds(), DeviceSeconds()):  # at one device, both are the same
        _check_doubled(unit, spread, seconds)


def _check_doubled(unit: str, spread: float, seconds: TrainSeconds | DeviceSeconds) -> None:
    log: list[ev.Event] = []
    curves = Nets(unit)
    spec = StudySpec(
        "s",
        SearchSpace(width=Float(-1, 1), batch_size=BATCHES),
        Objectives([Metric("error", "min"), seconds]),
        ASHA(**{f"max_{unit}": 9}, first_rung=1),
        Random(),
        Pool("cpu", 4),
        allocation=DoublingAllocation(),
    )
    found = simulate(spec, curves, Limits(14), speeds=Speeds(spread, 0), sink=log.extend)
    moved = [event for event in log if isinstance(event, ev.Reported) and event.reference_basis == Basis.MODEL]
    assert len({event.trial_id for event in moved}) > 3
    assert {event.segment for event in moved} >= {2, 3}
    for event in moved:
        alone_s = curves.elapsed_s(found.trials[event.trial_id].config, event.resource, 1)
        if event.segment == 2 or spread > 0:  # a third segment may begin after one that was extrapolated
            assert event.values[seconds.name] == pytest.approx(alone_s, rel=0.01 + 6 * spread)
