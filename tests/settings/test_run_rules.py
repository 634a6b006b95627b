"""Notes about a whole study, and refusals of runs, that its settings alone give rise to."""

from __future__ import annotations

import pytest

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.parameters import Float, NumDevices
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.settings.run_rules import check_run, unjudged_devices

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


@pytest.mark.parametrize(("usd", "is_enough"), [(0.05, False), (0.0651, False), (0.0653, True), (5.0, True)])
def test_a_budget_below_the_shortest_bill_of_a_machine_is_refused(usd: float, is_enough: bool) -> None:
    study = StudySpec(
        "s", SearchSpace(lr=Float(0.0, 1.0)), Objectives([ERROR]), ASHA(max_epochs=4), Random(),
        Pool(instance="g4dn.12xlarge"),
    )  # fmt: skip
    if is_enough:
        check_run(study, Limits(max_cost_usd=usd), executor="local")
        return
    with pytest.raises(ArgumentError, match=r"`max_cost` is .* at least 0.0652, the bill of 'g4dn.12xlarge'"):
        check_run(study, Limits(max_cost_usd=usd), executor="local")
