"""Several trials on one device: shares in the log, their cost, what is free, and fewer trials per device after one ran
out of memory."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.continuation import kept_pool
from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.objectives import Cost, Energy, Metric, Objectives
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.devices import Slots
from lightning_hwtune.testing.study_driver import Driver, rebuilt_state, snapshot
from lightning_hwtune.training.channel import SegmentOrder
from lightning_hwtune.training.process.rank_main import memory_share


def spec(devices: int = 1, per_device: int = 2, **changes: Any) -> StudySpec:
    settings: dict[str, Any] = {
        "name": "packed",
        "space": hwt.SearchSpace(lr=hwt.Float(0.0, 1.0)),
        "objectives": Objectives([Metric("error", "min"), Cost()]),
        "scheduler": ASHA(max_epochs=9),
        "searcher": Random(),
        "pool": hwt.Pool("cpu", devices, usd_per_device_hour=3600.0, threads_per_device=4, per_device=per_device),
    }
    return StudySpec(**(settings | changes))


def driver(study: StudySpec, **limits: Any) -> Driver:
    return Driver(study, Limits(**({"max_trials": 9} | limits)).resolved(study))


def held(found: Driver) -> dict[int, Fraction]:
    """Returns the part of each device that running segments have."""
    parts: Counter[int] = Counter()
    for segment in found.state.running.values():
        for slot in segment.slots:
            parts[slot] += Fraction(1, segment.allocation.per_device)  # type: ignore[assignment]
    return dict(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("devices", "per_device"), [(1, 1), (1, 2), (1, 8), (2, 2), (3, 4)])
def test_each_device_is_full_and_never_more(devices: int, per_device: int) -> None:
    study = driver(spec(devices, per_device), max_trials=40)
    study.fill()
    assert held(study) == dict.fromkeys(range(devices), 1)
    assert len(study.state.running) == devices * per_device == study.state.places
    while not isinstance(study.fill(), Done):
        study.step()
        assert all(part <= 1 for part in held(study).values())
    assert len(study.state.trials) == 40
    assert snapshot(rebuilt_state(study.state.spec, study.log)) == snapshot(study.state)


def test_cost_is_by_share() -> None:
    study = driver(spec())
    study.run()
    started = [event for event in study.log if isinstance(event, ev.SegmentStarted)]
    assert {(event.allocation.devices, event.allocation.per_device) for event in started} == {(1, 2)}
    ended = [event for event in study.log if isinstance(event, ev.SegmentEnded)]
    assert all(event.device_s == event.wall_s / 2 for event in ended)
    assert all(event.billed_usd == pytest.approx(event.device_s) for event in ended)  # a dollar per device-second
    for trial in study.state.trials:
        assert trial.last is not None
        assert trial.last.device_s == pytest.approx(trial.last.train_s / 2)
        assert trial.last.values["cost_usd"] == pytest.approx(trial.last.train_s / 2)
    assert study.state.billed_usd(study.now) == pytest.approx(sum(event.wall_s for event in ended) / 2)


@pytest.mark.parametrize("max_cost_usd", [3.0, 11.0, 30.0])
def test_a_limit_of_money_holds_with_shares(max_cost_usd: float) -> None:
    study = driver(spec(2, 3), max_trials=None, max_cost_usd=max_cost_usd)
    study.run()
    assert 0.0 < study.state.billed_usd(study.now) <= max_cost_usd


def _out_of_memory(study: Driver, trial_id: int) -> None:
    study.end(trial_id, Outcome.OUT_OF_MEMORY, "out of memory")


@pytest.mark.parametrize(("per_device", "n_errors"), [(2, 1), (4, 1), (4, 2), (4, 3), (8, 5)])
def test_a_packed_trial_without_memory_continues_with_fewer_per_device(per_device: int, n_errors: int) -> None:
    study = driver(spec(1, per_device), max_trials=20)
    for number in range(n_errors):
        study.fill()
        current = study.state.per_device
        newest = max(study.state.running.values(), key=lambda segment: segment.trial_id)
        assert newest.allocation.per_device == current
        _out_of_memory(study, newest.trial_id)
        assert study.state.per_device == current - 1 == per_device - number - 1
        assert not study.state.trials[newest.trial_id].state.is_final
        rebuilt = rebuilt_state(
            study.state.spec, [ev.from_dict(json.loads(json.dumps(ev.to_dict(e)))) for e in study.log]
        )
        assert rebuilt.per_device == study.state.per_device
        for trial_id in list(study.state.running):  # the others keep their part until they end
            study.end(trial_id, Outcome.INTERRUPTED)
    while not isinstance(study.fill(), Done):
        study.step()
        assert all(part <= 1 for part in held(study).values())
    assert Counter(trial.state for trial in study.state.trials)[TrialState.OUT_OF_MEMORY] == 0
    facts = facts_from_data(study.state.spec, json.loads(json.dumps(facts_to_data(study.state))))
    assert facts.per_device == per_device - n_errors


def test_neighbours_that_fail_together_count_once() -> None:
    study = driver(spec(1, 4))
    study.fill()
    for trial_id in list(study.state.running):
        _out_of_memory(study, trial_id)
    assert study.state.per_device == 3
    study.fill()
    assert len(study.state.running) == 3


def test_alone_on_its_device_a_trial_without_memory_ends() -> None:
    study = driver(spec(1, 2))
    study.fill()
    first = min(study.state.running)
    for trial_id in list(study.state.running):
        _out_of_memory(study, trial_id)
    study.fill()
    assert list(study.state.running) == [first]
    _out_of_memory(study, first)
    assert study.state.trials[first].state is TrialState.OUT_OF_MEMORY


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30))
def test_parts_of_devices_fit(wishes: list[tuple[int, bool]]) -> None:
    slots, groups = Slots(2), []
    for per_device, gives_back in wishes:
        if gives_back and groups:
            slots.give_back(*groups.pop(0))
        if slots.n_free(per_device):
            groups.append((slots.take(Allocation(1), per_device), per_device))
        for number in range(2):
            assert sum(Fraction(1, n) for taken, n in groups if number in taken) <= 1
    for taken, per_device in groups:
        slots.give_back(taken, per_device)
    assert slots.n_free() == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": hwt.SearchSpace(devices=hwt.NumDevices(1, 2))}, ["Pool.per_device", "several devices"]),
        ({"allocation": hwt.FixedAllocation(2)}, ["Pool.per_device", "several devices"]),
        ({"objectives": Objectives([Metric("error", "min"), Energy()])}, ["Pool.per_device", "energy"]),
    ],
)
def test_what_cannot_be_packed_is_refused(changes: Any, words: list[str]) -> None:
    with pytest.raises(hwt.ArgumentError) as caught:
        spec(2, 2, **changes)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "two", 65, None])
def test_other_numbers_are_refused(value: Any) -> None:
    with pytest.raises(hwt.ArgumentError, match=r"Pool\.per_device"):
        hwt.Pool("cpu", 1, per_device=value)


def test_a_stored_pool_keeps_its_number() -> None:
    stored = spec(2, 3)
    assert StudySpec.from_dict(json.loads(json.dumps(stored.to_dict()))).pool == stored.pool
    assert "per_device" not in spec(2, 1).to_dict()["pool"]
    assert kept_pool(stored, None).per_device == 3
    assert kept_pool(stored, hwt.Pool("cpu", 1)).per_device == 3
    assert kept_pool(stored, hwt.Pool("cpu", 1, per_device=1)).per_device == 1


@pytest.mark.parametrize(("threads", "per_device", "expected"), [(4, 1, 4), (4, 2, 2), (4, 3, 1), (1, 2, 1), (8, 8, 1)])
def test_trials_share_the_threads_of_their_device(threads: int, per_device: int, expected: int) -> None:
    assert hwt.Pool("cpu", 1, threads_per_device=threads, per_device=per_device).threads(per_device) == expected


def test_trials_share_the_memory_of_their_gpu_less_a_margin() -> None:
    fields: dict[str, Any] = {
        "study": "s", "trial_id": 0, "segment": 1, "config": {}, "seed": 0, "num_devices": 1, "slots": (0,),
        "accelerator": "gpu", "threads_per_device": 1, "trial_dir": "", "resource": 0, "checkpoint": None,
        "unit": "epochs", "max_resource": 1, "levels": (1,), "metrics": (),
    }  # fmt: skip
    assert memory_share(SegmentOrder(**fields)) == 1.0
    for per_device in (2, 4, 8):
        assert 0.8 < memory_share(SegmentOrder(**fields, per_device=per_device)) * per_device < 1.0


def test_allocations_of_logs() -> None:
    for allocation in (hwt.Allocation(2), hwt.Allocation(1, per_device=3)):
        assert hwt.Allocation.from_dict(json.loads(json.dumps(allocation.to_dict()))) == allocation
    assert hwt.Allocation(2).to_dict().keys() == {"instance", "devices", "nodes"}
    with pytest.raises(ValueError, match="not an allocation"):
        hwt.Allocation.from_dict({"instance": "local", "devices": 1, "nodes": 1, "per_device": 0})
