"""Where a trial continues after running out of memory: smaller batches that are accumulated, or more devices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.testing.study_driver import Driver, rebuilt_state, snapshot

MEMORY = Outcome.OUT_OF_MEMORY


def driver(pool: hwt.Pool | None = None, n_trials: int = 1, **changes: Any) -> Driver:
    settings: dict[str, Any] = {
        "name": "memory",
        "space": hwt.SearchSpace(lr=hwt.Float(0, 1), batch_size=hwt.Choice([64]), devices=hwt.NumDevices(1, 2)),
        "objectives": Objectives([Metric("error", "min")]),
        "scheduler": hwt.ASHA(max_epochs=9),
        "searcher": hwt.Random(),
        "pool": pool or hwt.Pool("cpu", 2),
    }
    return Driver(StudySpec(**(settings | changes)), Limits(max_trials=n_trials))


def begun(study: Driver) -> int:
    answer = study.controller.ask(study.now, study.free)
    assert isinstance(answer, Start | Resume)
    return study.controller.begin(answer, range(answer.num_devices), study.now).trial_id


def on_one_device(study: Driver) -> list[int]:
    return [trial_id for trial_id, segment in study.state.running.items() if segment.num_devices == 1]


def end(study: Driver, trial_id: int, global_batch: int) -> TrialState:
    return study.controller.tell(trial_id, study.now, MEMORY, error="out of memory", global_batch=global_batch)


def attempts(study: Driver, global_batch: int) -> list[tuple[int, int | None]]:
    """Lets trial 0 run out of memory until it fits nowhere; returns devices and limit of each attempt."""
    found = []
    while True:
        trial = study.state.trials[begun(study)]
        found.append((trial.num_devices, trial.max_per_device_batch))
        if end(study, 0, global_batch) is TrialState.OUT_OF_MEMORY:
            return found


def test_batches_are_halved_before_the_trial_gets_more_devices() -> None:
    study = driver()
    study.controller.enqueue({"lr": 0.5, "batch_size": 64, "devices": 1}, 0.0)
    halved = [(1, None), (1, 32), (1, 16), (1, 8), (1, 4), (1, 2), (1, 1)]
    assert attempts(study, 64) == [*halved, (2, 1)]


def test_a_training_that_divides_no_batch_gets_more_devices_as_before() -> None:
    study = driver()
    study.controller.enqueue({"lr": 0.5, "batch_size": 64, "devices": 1}, 0.0)
    assert attempts(study, 0) == [(1, None), (2, None)]


@given(batch=st.integers(1, 2000), devices=st.sampled_from([1, 2, 3, 4]))
def test_each_limit_divides_the_share_that_did_not_fit(batch: int, devices: int) -> None:
    space = hwt.SearchSpace(lr=hwt.Float(0, 1))
    study = driver(hwt.Pool("cpu", devices), space=space, allocation=hwt.FixedAllocation(devices))
    limits = [limit for _, limit in attempts(study, batch * devices)][1:]
    for before, after in zip([batch, *limits], limits, strict=False):
        assert after is not None
        assert before % after == 0
        assert after <= before / 2
    assert not limits or limits[-1] == 1


def test_the_limit_stays_and_is_read_back_from_log_and_cache() -> None:
    study = driver()
    study.controller.enqueue({"lr": 0.5, "batch_size": 64, "devices": 1}, 0.0)
    begun(study)
    end(study, 0, 64)
    begun(study)
    study.controller.tell(0, study.now, Outcome.INTERRUPTED)
    assert study.state.trials[0].max_per_device_batch == 32
    assert snapshot(rebuilt_state(study.controller.spec, study.log)) == snapshot(study.state)
    data = json.loads(json.dumps(facts_to_data(study.state)))
    assert facts_from_data(study.state.spec, data).trials[0].max_per_device_batch == 32


def test_an_end_of_an_older_log_has_no_limit() -> None:
    study = driver()
    begun(study)
    end(study, 0, 64)
    written = ev.to_dict(next(event for event in study.log if isinstance(event, ev.SegmentEnded)))
    assert written["max_per_device_batch"] is not None
    old = {key: value for key, value in written.items() if key != "max_per_device_batch"} | {"form": 2}
    event = ev.from_dict(old)
    assert isinstance(event, ev.SegmentEnded)
    assert event.max_per_device_batch is None


def test_a_checkpoint_inside_an_epoch_counts_batches_so_they_keep_their_size() -> None:
    study = driver(scheduler=hwt.ASHA(max_steps=90))
    study.controller.enqueue({"lr": 0.5, "batch_size": 64, "devices": 1}, 0.0)
    begun(study)
    study.controller.report(0, 30, {"error": 0.5}, 1.0, study.now)
    study.controller.saved(0, "trials/000/a.ckpt", "ab", 1, 30, 1.0, study.now)
    end(study, 0, 64)
    trial = study.state.trials[0]
    assert (trial.num_devices, trial.max_per_device_batch) == (2, None)


@pytest.mark.parametrize(("exponent", "expected"), [(0.8, (1, 32)), (1.2, (2, 32))])
def test_more_devices_are_chosen_where_the_study_has_measured_that_they_cost_less(
    exponent: float, expected: tuple[int, int]
) -> None:
    study = driver(n_trials=40)
    study.epoch_s = lambda devices: 10.0 / devices**exponent  # type: ignore[method-assign]
    study.fill()
    while len(study.state.trials) < 30 or not (alone := on_one_device(study)):
        study.step()
        study.fill()
    trial_id = alone[0]
    end(study, trial_id, 64)
    trial = study.state.trials[trial_id]
    assert (trial.num_devices, trial.max_per_device_batch) == expected
