"""Energy and the peak of the memory as objectives: over segments, in forecasts, in simulations and in the log."""

from __future__ import annotations

from typing import Any

import pytest
from study_driver import Driver, spec

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Energy, Metric, Objective, Objectives, PeakMemory, TrainSeconds
from lightning_hwtune.core.outlook import outlook
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.searchers.trust import metric_columns
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.simulation.executor import simulate

ERROR = Metric("error", "min")


class Metered(Driver):
    """Each epoch of one device needs 50 J and two hold 10 B more than one."""

    def metrics(self, config: dict[str, Any], resource: int) -> dict[str, float]:
        segment = next(s for s in self.state.running.values() if self.state.trials[s.trial_id].config == config)
        own = {"energy_j": 50.0 * (resource - segment.resource), "peak_memory": 10.0 * segment.num_devices}
        wanted = self.controller.spec.objectives.measured_in_training
        return {"error": self.curve(config, resource), **{name: own[name] for name in wanted}}


def metered(*items: Objective, constraints: Any = (), n: int = 12) -> Metered:
    driver = Metered(spec(objectives=Objectives([ERROR, *items], constraints)), Limits(n))
    driver.run()
    return driver


def test_energy_is_added_up_over_segments_and_of_the_memory_the_most_counts() -> None:
    driver = metered(Energy(), PeakMemory())
    assert any(trial.segment > 1 for trial in driver.state.trials)
    for trial in driver.state.trials:
        for report in trial.measurements:
            assert report.values["energy_j"] == 50.0 * report.resource
            assert report.values["peak_memory"] == 10.0 * trial.num_devices


def test_energy_after_lost_work_counts_from_the_checkpoint() -> None:
    driver = Metered(spec(objectives=Objectives([ERROR, Energy()]), scheduler=RunToEnd(9)), Limits(1))
    driver.fill()
    for _ in range(2):
        driver.step()
    [segment] = driver.state.running.values()
    assert driver.state.trials[0].resource == 2
    driver.end(0, Outcome.LOST)
    assert segment.ended_at is not None
    driver.run()
    assert [m.values["energy_j"] for m in driver.state.trials[0].measurements] == [50.0 * n for n in range(1, 10)]


@pytest.mark.parametrize(
    ("items", "constraints"),
    [
        ([PeakMemory()], []),
        ([Energy(), TrainSeconds()], []),
        ([], [Constraint("peak_memory", at_most=1e6)]),
        ([], [Constraint("energy_j", at_most=1e6)]),
    ],
)
def test_a_forecast_knows_what_trainings_measure(items: list[Objective], constraints: list[Constraint]) -> None:
    driver = Metered(spec(objectives=Objectives([ERROR, *items], constraints)), Limits(12))
    for _ in range(15):
        driver.fill()
        driver.step()
    assert outlook(driver.state, driver.now, SeenPaces(driver.state)).left_s > 0


def test_a_bound_on_energy_ends_a_trial_beyond_it() -> None:
    driver = metered(constraints=[Constraint("energy_j", at_most=120.0)], n=4)
    assert max(trial.resource for trial in driver.state.trials) == 3  # 150 J


class Net:
    """The energy of a configuration is cumulative, as in a table."""

    metrics = ("error", "energy_j", "peak_memory")
    max_resource = 9

    def values(self, config: Any, resource: int) -> dict[str, float]:
        return {"error": config["lr"] / resource, "energy_j": 5.0 * resource, "peak_memory": 100.0}

    def elapsed_s(self, config: Any, resource: int, num_devices: int) -> float:
        return float(resource)

    def usd_per_s(self, config: Any, num_devices: int) -> float:
        return 0.0


def test_a_simulated_study_has_the_energy_of_its_curves() -> None:
    space = SearchSpace(lr=Float(0, 1))
    state = simulate(spec(space=space, objectives=Objectives([ERROR, Energy(), PeakMemory()])), Net(), Limits(9))
    assert any(trial.segment > 1 for trial in state.trials)
    assert all(m.values["energy_j"] == 5.0 * m.resource for trial in state.trials for m in trial.measurements)


def test_both_come_back_from_the_log_and_so_does_a_metric_of_the_same_name() -> None:
    """A study of an earlier version may have logged such a value itself."""
    measured = Objectives([ERROR, Energy(resolution=0.1), PeakMemory()])
    assert Objectives.from_dict(measured.to_dict()) == measured
    logged = Objectives([Metric("peak_memory", "min", "B"), Metric("energy_j", "max")])
    assert Objectives.from_dict(logged.to_dict()) == logged
    assert logged.metrics == ("peak_memory", "energy_j")
    assert measured.metrics == ("error",)
    assert measured.measured_in_training == ("energy_j", "peak_memory")
    assert measured.across_ranks["energy_j"] == "sum"


def test_neither_of_them_is_a_metric() -> None:
    assert metric_columns(Objectives([ERROR, Energy(), PeakMemory()])) == [0]
    assert [item.is_noisy for item in (ERROR, Energy(), PeakMemory(), TrainSeconds())] == [False, True, False, True]
