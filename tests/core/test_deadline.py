"""Studies with a limit of time or money: something is fully trained in the end, and no limit is exceeded."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, rebuilt_state

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.decisions import Done, Resume, Start
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.remaining import full_trainings
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, RunToEnd, Scheduler, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

TOP, UNIT_S, START_S = 27, 10.0, 3.0
SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), width=Float(0.0, 1.0), decay=Float(0.0, 1.0))
FULL_S = TOP * UNIT_S


def spec(
    devices: int, scheduler: Scheduler | None = None, *, seed: int = 0, n_objectives: int = 1, space: Any = SPACE
) -> StudySpec:
    objectives = [Metric("error", "min"), TrainSeconds()][:n_objectives]
    return StudySpec(
        "deadline", space, Objectives(objectives), scheduler or ASHA(max_epochs=TOP), Random(),
        Pool("cpu", devices, usd_per_device_hour=3.6), seed=seed,
    )  # fmt: skip


def limits(kind: str, full_trainings: float, devices: int, **more: Any) -> Limits:
    """Returns a limit of so many full trainings of median pace, or of what the pool costs meanwhile."""
    seconds = full_trainings * FULL_S
    if kind == "time":
        return Limits(max_time_s=seconds, **more)
    return Limits(max_cost_usd=seconds * devices * 3.6 / 3600, **more)


def used(state: StudyState) -> float:
    """Returns the part of the limit that was used."""
    if state.limits.max_time_s is not None:
        return state.wall_s(state.last_at) / state.limits.max_time_s
    assert state.limits.max_cost_usd is not None
    return state.billed_usd(state.last_at) / state.limits.max_cost_usd


def simulated(
    study: StudySpec, bound: Limits, seed: int = 0, crossing: float = 0.3
) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    curves = SyntheticCurves(study.space, TOP, seed, crossing=crossing, unit_s=UNIT_S)
    return simulate(study, curves, bound, start_s=START_S, restore_s=START_S, sink=log.extend), log


def could_end(state: StudyState, seed: int = 0, crossing: float = 0.3) -> bool:
    """Returns whether one of the trials, trained alone from the start, would have ended within the limit."""
    curves, limits = SyntheticCurves(SPACE, TOP, seed, crossing=crossing, unit_s=UNIT_S), state.limits
    device_s = limits.max_time_s if limits.max_time_s is not None else (limits.max_cost_usd or 0.0) * 3600 / 3.6
    return any(START_S + curves.elapsed_s(trial.config, TOP, 1) <= device_s for trial in state.trials)


@pytest.mark.parametrize("kind", ["time", "money"])
@pytest.mark.parametrize(("devices", "n_objectives"), [(1, 1), (1, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("length", [1.5, 2.3])
def test_a_limit_leaves_a_fully_trained_model_and_is_not_exceeded(
    kind: str, devices: int, n_objectives: int, length: float
) -> None:
    for seed in range(3):
        bound = limits(kind, length, devices)
        state, _ = simulated(spec(devices, seed=seed, n_objectives=n_objectives), bound, seed)
        assert (state.n_full > 0) == could_end(state, seed)
        assert used(state) <= 1.0 + 1e-9


@pytest.mark.parametrize("kind", ["time", "money"])
@pytest.mark.parametrize(
    "scheduler", [Hyperband(max_epochs=TOP), SuccessiveHalving(TOP, bracket_size=9), RunToEnd(TOP)]
)
def test_the_same_holds_for_other_schedulers(kind: str, scheduler: Scheduler) -> None:
    for seed in range(3):
        state, _ = simulated(spec(2, scheduler, seed=seed), limits(kind, 2.0, 2), seed)
        assert (state.n_full > 0) == could_end(state, seed)
        assert used(state) <= 1.0 + 1e-9


@pytest.mark.parametrize("kind", ["time", "money"])
def test_the_next_action_is_the_same_after_a_restart_from_every_prefix(kind: str) -> None:
    space = SearchSpace({**dict(SPACE.items()), "devices": NumDevices(1, 2)})
    study = spec(3, n_objectives=2, space=space)
    driver = Driver(study, limits(kind, 0.13, 3))
    n_asked = 0
    while True:
        answer = driver.controller.ask(driver.now, driver.free)
        assert NextAction(rebuilt_state(study, driver.log)).ask(driver.now, driver.free) == answer
        n_asked += 1
        driver.controller.reserve(answer, driver.now)
        if isinstance(answer, Done):
            break
        if isinstance(answer, Start | Resume):
            driver.begin(answer)
        else:
            driver.step()
    assert driver.state.n_full > 0
    assert n_asked > 20


@pytest.mark.parametrize("kind", ["time", "money"])
def test_each_answer_plans_the_finishers_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filler of draining devices is judged by the plan of the same question."""
    planned, plan = [], Deadline.plan
    monkeypatch.setattr(Deadline, "plan", lambda self, *given: (planned.append(given), plan(self, *given))[1])
    space = SearchSpace({**dict(SPACE.items()), "devices": NumDevices(1, 3)})
    driver, n_fillers = Driver(spec(4, n_objectives=2, space=space), limits(kind, 0.4, 4)), 0
    while not isinstance(answer := driver.controller.ask(driver.now, driver.free), Done):
        assert len(planned) <= 1
        n_fillers += isinstance(answer, Start | Resume) and answer.reservation is not None
        driver.controller.reserve(answer, driver.now)
        if isinstance(answer, Start | Resume):
            driver.begin(answer)
        else:
            driver.step()
        planned.clear()
    assert n_fillers > 0


@pytest.mark.parametrize("far", [{"max_time_s": 1e9}, {"max_cost_usd": 1e9}])
@pytest.mark.parametrize(
    "scheduler", [ASHA(max_epochs=9), ASHA(max_epochs=9, type="stopping"), PASHA(max_epochs=9), Hyperband(max_epochs=9)]
)
@pytest.mark.parametrize("n_objectives", [1, 2])
def test_a_limit_that_is_far_away_changes_nothing(
    far: dict[str, float], scheduler: Scheduler, n_objectives: int
) -> None:
    space = SearchSpace({**dict(SPACE.items()), "devices": NumDevices(1, 2)})
    begun = []
    for bound in (Limits(max_trials=14, finishers=3), Limits(max_trials=14, finishers=3, **far)):
        driver = Driver(spec(3, scheduler, n_objectives=n_objectives, space=space), bound)
        driver.run()
        begun.append([(s.trial_id, s.rule, s.started_at, s.slots, s.reached) for s in driver.state.segments])
    assert begun[0] == begun[1]


def test_a_finisher_begins_at_the_last_moment_and_survivors_get_the_rest() -> None:
    """One second per epoch, one device: after the finisher has begun, no further trial would have fitted."""
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True))
    driver = Driver(spec(1, space=space), Limits(max_time_s=40.0))
    driver.run()
    [finisher] = [segment for segment in driver.state.segments if segment.rule == "finisher"]
    needed_s = (TOP - finisher.resource) * 1.1 + 1.0
    assert 0.0 <= 40.0 - finisher.started_at - needed_s < 2.0  # a new trial might take twice the usual second
    assert driver.state.n_full == 1
    later = [segment for segment in driver.state.segments if segment.started_at > finisher.started_at]
    assert later
    assert {segment.rule for segment in later} <= {"promotion", "survivor"}
    assert 39.0 <= driver.now <= 40.0


@pytest.mark.parametrize("max_time_s", [3.5, 5.0, 8.5])
def test_nothing_begins_that_cannot_end_where_trials_train_to_the_end(max_time_s: float) -> None:
    driver = Driver(spec(1, RunToEnd(3)), Limits(max_time_s=max_time_s))
    done = driver.run()
    assert done.reason.rule == "limit:max_time"
    assert len(driver.state.trials) == driver.state.n_full == math.floor(max_time_s / 3.0)
    assert driver.now == 3.0 * driver.state.n_full


@pytest.mark.parametrize("finishers", [0, 1, 2])
def test_only_the_wanted_number_is_finished_early(finishers: int) -> None:
    state, _ = simulated(spec(4), limits("time", 1.5, 4, finishers=finishers))
    rules = [segment.rule for segment in state.segments]
    assert rules.count("finisher") <= finishers
    assert (state.n_full > 0) == (finishers > 0) or "promotion" in rules


def test_a_trial_that_would_keep_the_devices_of_a_finisher_pauses_at_its_rung() -> None:
    """It is among those that continue, but the best of the deepest rung must begin now."""
    seen = []
    for seed in range(12):
        state, log = simulated(spec(1, seed=seed), limits("time", 1.6, 1), seed)
        seen += [event for event in log if isinstance(event, ev.Reported) and event.rule == "finisher"]
        assert state.n_full > 0
    assert seen
    assert all(event.verdict == "pause" and event.target == event.level for event in seen)
    assert "must begin now to be fully trained in time" in seen[0].reason


def curve(config: Mapping[str, Any], epoch: int) -> float:
    """Returns an error that is the distance from 1, so that the size and the error are a trade-off."""
    return (1.0 - config["lr"]) ** 3 + 1.0 / epoch if epoch < 100 else float(config["lr"] ** 3)


class Crossed(Driver):
    """The smaller x, the smaller the first loss and the greater the second one; the knee is in the middle."""

    def epoch(self, trial_id: int) -> None:
        segment, x = self.state.running[trial_id], self.state.trials[trial_id].config["x"]
        resource = segment.reached + 1
        metrics = {"a": x**3, "b": (1.0 - x) ** 3}
        verdict = self.controller.report(trial_id, resource, metrics, resource - segment.resource, self.now)
        if verdict.kind == "continue":
            self.due[trial_id] = self.now + 1.0
            return
        if verdict.kind == "pause" or resource >= self.state.ladder.top:
            self.save(trial_id, resource, resource - segment.resource)
        self.end(trial_id, "done")


@pytest.mark.parametrize("n", [6, 9])
@pytest.mark.parametrize("is_limited", [False, True])
def test_the_first_finisher_of_several_objectives_is_the_knee(n: int, is_limited: bool) -> None:
    """Trials with x from 0 to 1 have the losses x**3 and (1 - x)**3: the knee is in the middle."""
    space = SearchSpace(x=Float(0.0, 1.0))
    objectives = Objectives([Metric("a", "min"), Metric("b", "min")])
    study = StudySpec("knee", space, objectives, ASHA(max_epochs=9, first_rung=3), Random(), Pool("cpu", 1))
    bound = Limits(max_trials=n, finishers=2, max_time_s=10_000.0 if is_limited else None)
    driver = Crossed(study, bound)
    driver.run()
    first = next((segment for segment in driver.state.segments if segment.rule == "finisher"), None)
    full = [driver.state.trials[i].config["x"] for i in driver.state.full]
    others = [trial.config["x"] for trial in driver.state.trials]
    middle = min(others, key=lambda x: x**6 + (1.0 - x) ** 6)
    assert any(abs(x - middle) < 0.15 for x in full)
    if first is not None:
        x = driver.state.trials[first.trial_id].config["x"]
        assert x not in (min(others), max(others))


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("kind", ["time", "money"])
def test_the_number_of_full_trainings_that_fit_is_that_of_the_median_pace(kind: str, devices: int) -> None:
    driver = Driver(spec(devices, RunToEnd(5)), limits(kind, 0.2, devices))  # 54 s, one second per epoch
    assert full_trainings(driver.state, 0.0, SeenPaces(driver.state)) is None
    for _ in range(5 * devices):
        driver.fill()
        driver.step()
    found = full_trainings(driver.state, driver.now, SeenPaces(driver.state))
    assert found is not None
    n, seconds = found
    assert seconds == pytest.approx(5.0)
    assert n == devices * 9 if kind == "time" else n in (devices * 9, math.floor(devices * 9.8))
    passed = full_trainings(driver.state, driver.now, SeenPaces(driver.state), passed_s=24.5)
    assert passed is not None
    assert passed[0] == (devices * 4 if kind == "time" else n)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("length", [1.4, 1.5])
def test_with_time_for_one_finisher_it_is_the_best_of_the_first_objective(length: float, seed: int) -> None:
    space, objectives = SearchSpace(x=Float(0.0, 1.0)), Objectives([Metric("a", "min"), Metric("b", "min")])
    study = StudySpec("one", space, objectives, ASHA(TOP, first_rung=3), Random(), Pool("cpu", 1), seed=seed)
    driver = Crossed(study, Limits(max_time_s=length * TOP))
    driver.run()
    finishers = [segment for segment in driver.state.segments if segment.rule == "finisher"]
    assert len(finishers) == 1
    first, rung = finishers[0], finishers[0].resource
    before = [s for s in driver.state.segments if s.reached >= rung and s.ended_at <= first.started_at]
    known = {segment.trial_id: driver.state.trials[segment.trial_id].config["x"] for segment in before}
    assert len(known) > 1
    assert known[first.trial_id] == min(known.values())
