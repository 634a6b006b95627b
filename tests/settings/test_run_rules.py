"""Notes about a whole study that its settings alone give rise to."""

from __future__ import annotations

import pytest

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.parameters import Float, NumDevices
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.settings.run_rules import unjudged_devices

ERROR = Metric("error", "min")


@pytest.mark.parametrize(
    ("objectives", "devices", "is_noted"),
    [
        ([ERROR], NumDevices(1, 2), True),
        ([ERROR, Metric("loss", "min")], NumDevices(1, 2, 4), True),
        ([ERROR, TrainSeconds()], NumDevices(1, 2), False),
        ([ERROR, Cost()], NumDevices(1, 2), False),
        ([DeviceSeconds(), ERROR], NumDevices(1, 2), False),
        ([ERROR], NumDevices(2), False),
        ([ERROR], None, False),
    ],
)
def test_searched_devices_that_nothing_judges_are_noted(
    objectives: list[Objective], devices: NumDevices | None, is_noted: bool
) -> None:
    space = {"lr": Float(0.0, 1.0)} | ({"devices": devices} if devices else {})
    spec = StudySpec(
        name="s", space=SearchSpace(space), objectives=Objectives(objectives), scheduler=ASHA(max_epochs=4),
        searcher=Random(), pool=Pool("cpu", devices=4, usd_per_device_hour=1.0),
    )  # fmt: skip
    assert bool(unjudged_devices(spec)) is is_noted
