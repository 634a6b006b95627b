"""`Metric(..., best=True)`: a trial is judged by its best report, as long as it still stands on it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, RunToEnd
from lightning_hwtune.core.space import Choice, SearchSpace
from lightning_hwtune.core.spec import Limits

NAN, INF = math.nan, math.inf


def _driver(values: list[float], mode: str = "min", scheduler: Any = None, log: list[ev.Event] | None = None) -> Driver:
    study = spec(
        scheduler=scheduler or RunToEnd(max_epochs=len(values)),
        space=SearchSpace(x=Choice([1])),
        objectives=Objectives([Metric("error", mode, best=True)]),
        devices=1,
    )
    return Driver(study, Limits(max_trials=1), lambda config, epoch: values[epoch - 1], log=log)


def _reported(driver: Driver) -> list[float]:
    return [event.values["error"] for event in driver.log if isinstance(event, ev.Reported)]


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3.0, 1.0, 2.0], [3.0, 1.0, 1.0]),
        ("max", [3.0, 1.0, 4.0], [3.0, 3.0, 4.0]),
        ("min", [3.0, NAN, 2.0], [3.0, 3.0, 2.0]),
        ("min", [3.0, -INF, 2.0], [3.0, 3.0, 2.0]),
        ("max", [3.0, INF, 2.0], [3.0, 3.0, 3.0]),
        ("min", [INF, 5.0, 6.0], [INF, 5.0, 5.0]),
    ],
)
def test_the_value_is_the_best_so_far(mode: str, values: list[float], best: list[float]) -> None:
    driver = _driver(values, mode)
    driver.run()
    assert _reported(driver) == best


@given(st.lists(st.one_of(st.floats(), st.just(NAN)), min_size=1, max_size=6), st.sampled_from(["min", "max"]))
def test_the_best_is_a_running_extreme_of_the_finite_values(values: list[float], mode: str) -> None:
    driver = _driver(values, mode)
    driver.run()
    extreme = min if mode == "min" else max
    for n, found in enumerate(_reported(driver), 1):
        finite = [value for value in values[:n] if math.isfinite(value)]
        assert found == extreme(finite) if finite else not math.isfinite(found)


def test_rungs_compare_the_best() -> None:
    study = spec(
        scheduler=ASHA(max_epochs=9, first_rung=3, eta=3),
        space=SearchSpace(x=Choice([0, 1, 2])),
        objectives=Objectives([Metric("error", "min", best=True)]),
        devices=1,
    )
    # x=1 is the best in epoch 1 only
    driver = Driver(study, Limits(max_trials=3, finishers=0), lambda c, e: 1.0 if (c["x"], e) == (1, 1) else 5 + c["x"])
    driver.run()
    deepest = max(driver.state.trials, key=lambda trial: trial.resource)
    assert deepest.config["x"] == 1


def test_a_report_that_a_crash_took_away_does_not_count() -> None:
    driver = _driver([3.0, 2.0, 0.5, 4.0])
    driver.fill()
    driver.epoch(0)
    driver.epoch(0)
    driver.save(0, 2, 2.0)
    driver.epoch(0)  # the best one, and it is lost
    driver.end(0, "lost")
    driver.curve = lambda config, epoch: {3: 2.5, 4: 4.0}[epoch]
    driver.run()
    assert _reported(driver) == [3.0, 2.0, 0.5, 2.0, 2.0]
    assert [m.values["error"] for m in driver.state.trials[0].measurements] == [3.0, 2.0, 2.0, 2.0]
    assert snapshot(rebuilt_state(driver.controller.spec, driver.log)) == snapshot(driver.state)


def test_a_trial_that_starts_from_scratch_has_no_best_yet() -> None:
    driver = _driver([0.5, 2.0, 3.0])
    driver.fill()
    driver.epoch(0)
    driver.end(0, "lost")  # without a checkpoint
    driver.curve = lambda config, epoch: 4.0
    driver.run()
    assert _reported(driver) == [0.5, 4.0, 4.0, 4.0]


def test_the_checkpoint_of_the_best_report_is_kept_beside_the_newest() -> None:
    driver = _driver([3.0, 1.0, 2.0, 2.5])
    driver.fill()
    for epoch in (1, 2, 3):
        driver.epoch(0)
        path = f"trials/000/checkpoints/{epoch}.ckpt"
        driver.controller.saved(0, path, "00", 10, epoch, float(epoch), driver.now)
    trial = driver.state.trials[0]
    assert (trial.best_at(3), trial.best_at(1)) == (2, 1)
    assert [checkpoint.resource for checkpoint in trial.checkpoints] == [3, 2]
    assert driver.state.known_checkpoints() == {f"trials/000/checkpoints/{n}.ckpt" for n in (2, 3)}
    driver.controller.removed(0, "trials/000/checkpoints/2.ckpt", "a test", driver.now)
    assert [checkpoint.resource for checkpoint in trial.checkpoints] == [3]
    assert trial.checkpoint is not None


def test_the_setting_is_stored_and_old_logs_have_the_default() -> None:
    objectives = Objectives([Metric("a", "min", best=True, across_ranks="max"), Metric("b", "max", "%")])
    assert Objectives.from_dict(objectives.to_dict()) == objectives
    assert objectives.to_dict()[1] == {"name": "b", "mode": "max", "unit": "%"}
