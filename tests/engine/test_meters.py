"""A study that this machine cannot measure does not start, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.engine.meters import check_meters
from lightning_hwtune.host.energy import rapl_counter


def _has_meter() -> bool:
    try:
        rapl_counter()
    except hwt.ArgumentError:
        return False
    return True


no_meter = pytest.mark.skipif(_has_meter(), reason="this machine has an energy meter")
SPACE = hwt.SearchSpace(lr=hwt.Float(0, 1))
ERROR = hwt.Metric("error", "min")


def never(trial: hwt.Trial) -> None:
    raise AssertionError("the training must not begin")


WAYS: dict[str, Callable[[hwt.Study], object]] = {
    "run": lambda study: study.run(never, max_trials=1),
    "inline": lambda study: study.run(never, max_trials=1, executor="inline"),
    "ask": lambda study: study.ask(),
    "check": lambda study: study.check(never),
}


@no_meter
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_objective", [True, False])
def test_energy_without_a_meter_is_refused_before_anything_is_written(
    way: str, is_objective: bool, tmp_path: Path
) -> None:
    objectives = [ERROR, hwt.Energy()] if is_objective else [ERROR]
    constraints = [] if is_objective else [hwt.Constraint("energy_j", at_most=10)]
    pool = hwt.Pool("cpu", 1)
    study = hwt.Study("s", SPACE, objectives, constraints=constraints, max_epochs=3, pool=pool, dir=tmp_path)
    with pytest.raises(hwt.ArgumentError, match="energy meter") as caught:
        WAYS[way](study)
    assert "/sys/class/powercap" in str(caught.value)
    assert not list(tmp_path.glob("s/*"))


def test_what_is_not_asked_for_needs_no_meter() -> None:
    for item in (hwt.TrainSeconds(), hwt.PeakMemory(), hwt.Metric("energy_j", "min")):
        study = hwt.Study("s", SPACE, [ERROR, item], max_epochs=3, pool=hwt.Pool("cpu", 1))
        check_meters(study.spec.objectives, study.spec.pool)
