"""How many trials share a device if the study chooses it: by threads on CPUs, by measured memory on GPUs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.continuation import kept_pool
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.hardware.packing import packing
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.testing.study_driver import Driver, rebuilt_state, snapshot

GPUS = hwt.Pool("gpu", 2, per_device="auto")
GB = 10**9


def spec(pool: hwt.Pool = GPUS, **changes: Any) -> StudySpec:
    settings: dict[str, Any] = {
        "name": "packed",
        "space": hwt.SearchSpace(lr=hwt.Float(0.0, 1.0)),
        "objectives": Objectives([Metric("error", "min")]),
        "scheduler": hwt.ASHA(max_epochs=9),
        "searcher": hwt.Random(),
        "pool": pool,
    }
    return StudySpec(**(settings | changes))


def driver(pool: hwt.Pool = GPUS) -> Driver:
    return Driver(spec(pool), Limits(max_trials=60))


@given(peak=st.integers(1, 200 * GB), total=st.integers(1, 200 * GB))
def test_the_margin_is_kept_and_one_more_trial_would_not_fit(peak: int, total: int) -> None:
    found = packing(GPUS, peak, total)
    assert 1 <= found.per_device <= 8
    if found.per_device > 1:
        assert 1.5 * peak * found.per_device <= total
    if found.per_device < 8:
        assert 1.5 * peak * (found.per_device + 1) > total * (1 - 1e-9)


def test_trials_share_a_gpu_as_the_check_has_measured() -> None:
    study = driver()
    assert study.state.per_device == 1  # nothing is measured yet
    study.controller.choose_packing(study.now, 10 * GB, 80 * GB)
    study.fill()
    assert (study.state.per_device, len(study.state.running)) == (5, 10)
    assert {segment.allocation.per_device for segment in study.state.running.values()} == {5}
    study.controller.choose_packing(study.now, 1 * GB, 80 * GB)  # chosen once
    assert study.state.per_device == 5
    chosen = [event for event in study.log if isinstance(event, ev.PackingChosen)]
    assert [event.reason for event in chosen] == [
        "a trial needs 10 GB of the 80 GB of a GPU, so 5 trials train on each (room for 1.5 times the memory is left)"
    ]
    assert snapshot(rebuilt_state(study.controller.spec, study.log)) == snapshot(study.state)
    data = json.loads(json.dumps(facts_to_data(study.state)))
    assert facts_from_data(study.state.spec, data).per_device == 5


def test_running_out_of_memory_lowers_the_chosen_number() -> None:
    study = driver()
    study.controller.choose_packing(study.now, 10 * GB, 80 * GB)
    study.fill()
    study.end(0, Outcome.OUT_OF_MEMORY)
    assert study.state.per_device == 4


def test_without_a_measurement_each_trial_has_its_gpu_to_itself() -> None:
    study = driver()
    study.controller.choose_packing(study.now)
    study.fill()
    assert (study.state.per_device, len(study.state.running)) == (1, 2)
    assert "no check has measured" in next(e.reason for e in study.log if isinstance(e, ev.PackingChosen))


def test_on_cpus_each_trial_gets_one_thread_and_nothing_is_measured() -> None:
    study = driver(hwt.Pool("cpu", 2, threads_per_device=3, per_device="auto"))
    study.controller.choose_packing(study.now, 10 * GB, 80 * GB)
    study.fill()
    assert (study.state.per_device, len(study.state.running)) == (3, 6)
    assert not [event for event in study.log if isinstance(event, ev.PackingChosen)]
    assert study.controller.spec.pool.threads(3) == 1


def test_a_continued_study_keeps_it_and_the_log_has_it() -> None:
    stored = spec()
    assert stored.pool.to_dict()["per_device"] == "auto"
    assert StudySpec.from_dict(stored.to_dict()).pool.per_device == "auto"
    assert kept_pool(stored, hwt.Pool("gpu", 2)).per_device == "auto"
    assert kept_pool(stored, hwt.Pool("gpu", 2, per_device=2)).per_device == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"space": hwt.SearchSpace(lr=hwt.Float(0.0, 1.0), devices=hwt.NumDevices(1, 2))},
        {"objectives": Objectives([Metric("error", "min"), hwt.Energy()])},
    ],
)
def test_trials_that_need_their_devices_alone_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(hwt.ArgumentError, match="per_device"):
        spec(**changes)


def test_other_words_are_refused() -> None:
    with pytest.raises(hwt.ArgumentError, match="from 1 to 64, or 'auto'"):
        hwt.Pool("gpu", 2, per_device="all")
    with pytest.raises(hwt.ArgumentError, match="several nodes"):
        hwt.Pool("gpu", 2, nodes=2, per_device="auto")
