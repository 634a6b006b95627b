"""Whole studies with bounds and constraints: what continues, what is finished, and what ends."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.decisions import Rule
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, RunToEnd, Scheduler
from lightning_hwtune.core.schedulers import SuccessiveHalving as Halving
from lightning_hwtune.core.searchers import TPE, Grid, Random, Searcher, Sobol
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.testing.searcher_contract import check_searcher
from lightning_hwtune.testing.violators import violators_come_last

SPACE = SearchSpace(lr=Float(0.0, 1.0), n=Int(1, 100))
SCHEDULERS: list[Scheduler] = [
    ASHA(max_epochs=27),
    ASHA(max_epochs=9, brackets=2, strict=True, within="weighted"),
    ASHA(max_epochs=9, within="objective:0"),
    ASHA(max_epochs=9, type="stopping"),
    ASHA(max_epochs=9, type="stopping", keep_front=True),
    PASHA(max_epochs=27),
    PASHA(max_epochs=18, quota="quantile", within="crowding"),
    Halving(max_epochs=9),
    Hyperband(max_epochs=9),
    Hyperband(max_epochs=9, type="asynchronous"),
    MedianStopping(max_epochs=9, min_trials=2),
    RunToEnd(9),
]


class Net(Driver):
    """Trains a model whose error falls with the epochs, and whose size is `n`."""

    def metrics(self, config: dict[str, Any], resource: int) -> dict[str, float]:
        error = abs(config["lr"] - 0.5) + 0.3 / resource
        return {"error": error, "params": config["n"], "gap": 1.0 / resource, "peak_memory": 10.0 * resource}


def study(
    objectives: Objectives, scheduler: Scheduler | None = None, searcher: Searcher | None = None, **kwargs: Any
) -> StudySpec:
    pool = Pool("cpu", 2, usd_per_device_hour=3.6)
    return StudySpec("nets", SPACE, objectives, scheduler or ASHA(max_epochs=9), searcher or Random(), pool, **kwargs)


def trained(objectives: Objectives, n_trials: int = 20, finishers: int = 2, **kwargs: Any) -> Net:
    driver = Net(study(objectives, **kwargs), Limits(max_trials=n_trials, finishers=finishers))
    driver.run()
    return driver


def objectives(*constraints: Constraint, at_most: float | None = None) -> Objectives:
    return Objectives([Metric("error", "min", at_most=at_most), TrainSeconds()], constraints)


@pytest.mark.parametrize("n_objectives", [1, 2])
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_no_scheduler_prefers_a_violator(scheduler: Scheduler, n_objectives: int) -> None:
    violators_come_last(scheduler, n_objectives, seed=0, n_steps=80)


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_a_constrained_study_ends_and_is_the_same_after_a_replay(scheduler: Scheduler) -> None:
    goals = objectives(Constraint("params", at_most=50), Constraint("gap", at_most=0.3, changes=True), at_most=0.3)
    driver = trained(goals, scheduler=scheduler)
    assert not driver.state.running
    assert driver.state.n_failed == 0
    assert snapshot(rebuilt_state(driver.controller.spec, driver.log)) == snapshot(driver.state)
    for trial in driver.state.trials:
        ended = trial.config["n"] > 50
        assert (trial.state is TrialState.STOPPED and trial.resource == 1) or not ended
        assert len(trial.measurements) == 1 or not ended


def test_a_violated_constant_ends_the_trial_at_its_first_report_and_does_not_count_in_a_rung() -> None:
    driver = trained(objectives(Constraint("params", at_most=50)), scheduler=ASHA(max_epochs=9, first_rung=3))
    reports = [event for event in driver.log if isinstance(event, ev.Reported)]
    ended = [event for event in reports if event.rule == Rule.CONSTRAINT]
    large = [trial.trial_id for trial in driver.state.trials if trial.config["n"] > 50]
    assert [event.trial_id for event in ended] == large
    assert {event.resource for event in ended} == {1}
    assert all("further training cannot change that" in event.reason for event in ended)
    others = [e for e in reports if e.level == 3 and e.trial_id not in large]
    assert {int(e.reason.split(" of ")[1].split()[0]) for e in others} == set(range(1, len(others) + 1))
    assert {driver.state.trials[i].decided[3] for i in large} == {"stop"}


@pytest.mark.parametrize("constraint", [Constraint("peak_memory", at_most=45), Constraint("train_s", at_most=4.5)])
def test_a_quantity_that_grows_ends_the_trial_when_it_passes_its_bound(constraint: Constraint) -> None:
    driver = trained(objectives(constraint), n_trials=6)
    assert {trial.resource for trial in driver.state.trials} <= {1, 3, 5}
    longest = [trial for trial in driver.state.trials if trial.resource == 5]
    assert longest
    assert all(trial.state is TrialState.STOPPED for trial in longest)
    assert not driver.state.full


def test_a_bound_on_a_metric_ends_nothing_before_the_horizon() -> None:
    driver = trained(objectives(at_most=0.25), scheduler=RunToEnd(9), n_trials=8)
    assert {trial.state for trial in driver.state.trials} == {TrialState.COMPLETED}
    assert 0 < driver.state.n_feasible < driver.state.n_full == 8


@pytest.mark.parametrize("scheduler", [ASHA(max_epochs=9), Halving(max_epochs=9), PASHA(max_epochs=9)], ids=repr)
def test_if_all_violate_the_least_violating_one_is_finished(scheduler: Scheduler) -> None:
    driver = trained(objectives(at_most=-1.0), scheduler=scheduler, n_trials=4, finishers=1)
    full = [driver.state.trials[i] for i in driver.state.full]
    assert full
    least = min(driver.state.trials, key=lambda trial: abs(trial.config["lr"] - 0.5))
    assert least in full
    assert driver.state.n_feasible == 0


def test_a_feasible_trial_is_finished_before_a_violator_of_a_deeper_rung() -> None:
    """Few trials are feasible, and the quota promotes violators, too: finishers then come from the lower rung."""
    goals = objectives(Constraint("params", at_most=15, changes=True))
    driver = trained(goals, n_trials=12, finishers=2)
    feasible = [trial for trial in driver.state.trials if trial.config["n"] <= 15]
    assert len(feasible) >= 2
    assert sum(trial.state is TrialState.COMPLETED for trial in feasible) >= 2


@pytest.mark.parametrize("finishers", [1, 2, 4])
def test_violators_are_finished_only_up_to_the_number_of_finishers(finishers: int) -> None:
    driver = trained(objectives(at_most=-1.0), n_trials=8, finishers=finishers)
    promoted = {e.trial_id for e in driver.log if isinstance(e, ev.SegmentStarted) and e.rule == Rule.FINISHER}
    assert driver.state.n_full == max(finishers, driver.state.n_full - len(promoted))
    assert any("infeasible: error is" in e.reason for e in driver.log if isinstance(e, ev.SegmentStarted)) == bool(
        promoted
    )


def test_the_reason_of_a_rung_names_the_violation() -> None:
    driver = trained(objectives(at_most=0.3), n_trials=6)
    reports = [e for e in driver.log if isinstance(e, ev.Reported) and e.level is not None]
    for event in reports:
        is_infeasible = event.values["error"] > 0.3
        assert ("infeasible: error is" in event.reason) == is_infeasible
    assert {"infeasible: error is" in event.reason for event in reports} == {True, False}


SEARCHERS: list[Searcher] = [Random(), Sobol(), Grid(), TPE(), TPE(rungs="all", min_points=2)]


@pytest.mark.parametrize("searcher", SEARCHERS, ids=repr)
def test_every_searcher_keeps_its_contract_in_a_constrained_study(searcher: Searcher) -> None:
    space = {"optimizer": Choice(["adam", "sgd"]), "width": Int(1, 8)}
    for goals in (objectives(Constraint("params", at_most=5.0, changes=True)), objectives(at_most=0.5)):
        check_searcher(searcher, space, goals)


def test_tpe_learns_from_trials_that_a_constant_has_ended() -> None:
    goals = objectives(Constraint("params", at_most=20))
    driver = trained(goals, n_trials=60, scheduler=ASHA(max_epochs=9, first_rung=3), searcher=TPE(random=0.2))
    last = [trial.config["n"] for trial in driver.state.trials[40:]]
    assert sum(n <= 20 for n in last) > len(last) / 2  # a fifth of random draws is


@pytest.mark.parametrize(
    ("constraints", "text"),
    [([Constraint("usd", at_most=1)], "only with a price"), ([Constraint("cost_usd", at_least=1)], "Pool")],
)
def test_a_bound_on_money_needs_a_price(constraints: list[Constraint], text: str) -> None:
    goals = Objectives(Metric("error", "min"), constraints)
    with pytest.raises(ArgumentError, match=text):
        StudySpec("nets", SPACE, goals, ASHA(max_epochs=9), Random(), Pool("cpu", 1))


@pytest.mark.parametrize(
    ("values", "is_violating"),
    [
        ({"error": 0.1, "train_s": 1.0}, False),
        ({"error": 0.1, "train_s": 1.0, "params": 4.0}, False),
        ({"error": 0.1, "train_s": 1.0, "params": 90.0}, True),
        ({"error": 0.9, "train_s": 1.0}, True),
    ],
)
def test_a_result_from_elsewhere_may_lack_the_values_of_constraints(
    values: dict[str, float], is_violating: bool
) -> None:
    goals = objectives(Constraint("params", at_most=50), at_most=0.5)
    driver = Net(study(goals, searcher=TPE()), Limits(max_trials=12))
    driver.controller.add_result({"lr": 0.5, "n": 3}, values, 9, 0.0)
    driver.run()
    [added] = driver.state.added
    assert (driver.state.violation(added) > 0) == is_violating
    assert snapshot(rebuilt_state(driver.controller.spec, driver.log)) == snapshot(driver.state)


def test_a_stored_study_keeps_its_constraints() -> None:
    whole = spec(objectives=Objectives([Metric("error", "min", at_most=0.5), Cost()], Constraint("params", at_most=5)))
    again = StudySpec.from_dict(json.loads(json.dumps(whole.to_dict())))
    assert again.objectives == whole.objectives
    assert not whole.differences(again)
    other = spec(objectives=Objectives(list(whole.objectives)))
    assert set(whole.differences(other)) == {"constraints"}


def test_a_log_from_before_constraints_has_none() -> None:
    created = ev.to_dict(ev.StudyCreated(at=0.0, study="test", spec=spec().to_dict(), study_id="x"))
    old = {
        **created,
        "form": 2,
        "spec": {k: v for k, v in created["spec"].items() if k != "constraints"},
    }
    event = ev.from_dict(old)
    assert isinstance(event, ev.StudyCreated)
    assert event.spec == created["spec"]


def test_a_study_without_constraints_decides_as_if_there_were_no_such_thing() -> None:
    """A bound that nothing violates changes no decision."""
    plain = trained(objectives())
    bounded = trained(objectives(Constraint("params", at_most=1e9), at_most=1e9))
    for one, other in itertools.zip_longest(plain.log[1:], bounded.log[1:]):
        a, b = ev.to_dict(one), ev.to_dict(other)
        b.get("values", {}).pop("params", None)
        assert a == b
