"""The rules that every scheduler follows."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from started_race import started
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.decisions import Start, Stop
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.reference_count import Conversion
from lightning_hwtune.core.schedulers import (
    ASHA,
    PASHA,
    SCHEDULERS,
    Hyperband,
    MedianStopping,
    Race,
    RunToEnd,
    Scheduler,
    SuccessiveHalving,
    scheduler_from_settings,
)
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.testing import scheduler_contract as contract
from lightning_hwtune.testing.random_race import answers_of
from lightning_hwtune.testing.scheduler_studies import rough_curve

EXAMPLES = [
    ASHA(max_epochs=27),
    ASHA(max_steps=1000, first_rung=10, eta=10),
    ASHA(max_samples=60_000, first_rung=1000, eta=2.5, brackets=2, strict=True, within="hypervolume_contribution"),
    ASHA(max_epochs=9, type="stopping"),
    PASHA(max_epochs=27),
    PASHA(max_steps=40, first_rung=2, eta=2, within="hypervolume_contribution"),
    PASHA(max_epochs=18, quota="quantile"),
    SuccessiveHalving(max_epochs=9),
    SuccessiveHalving(max_epochs=12, first_rung=2, eta=2.5, bracket_size=7),
    Hyperband(max_epochs=9),
    Hyperband(max_epochs=9, brackets=2, eta=2, within="hypervolume_contribution"),
    Hyperband(max_epochs=9, type="asynchronous"),
    MedianStopping(max_epochs=9),
    MedianStopping(max_epochs=20, first_rung=4, every=3, min_trials=2),
    RunToEnd(9),
    RunToEnd(max_samples=1000),
]
SHORT = [scheduler for scheduler in EXAMPLES if scheduler.max_resource <= 40]

every_scheduler = pytest.mark.parametrize("scheduler", EXAMPLES, ids=repr)
every_short_scheduler = pytest.mark.parametrize("scheduler", SHORT, ids=repr)


@every_scheduler
def test_settings_come_back_from_the_log(scheduler: Scheduler) -> None:
    contract.settings_come_back(scheduler)
    again = scheduler_from_settings(json.loads(json.dumps(scheduler.settings())))
    assert (type(again), again.settings()) == (type(scheduler), scheduler.settings())


@every_scheduler
@pytest.mark.slow
def test_the_shipped_suite_holds(scheduler: Scheduler) -> None:
    contract.check_scheduler(scheduler, n_objectives=[2])


@every_scheduler
def test_the_representation_is_the_call(scheduler: Scheduler) -> None:
    assert eval(repr(scheduler)).settings() == scheduler.settings()


@every_scheduler
def test_levels_rise_to_the_full_training(scheduler: Scheduler) -> None:
    contract.levels_rise_to_the_full_training(scheduler)


@every_scheduler
def test_the_end_of_the_training_is_a_stop_for_every_loss(scheduler: Scheduler) -> None:
    for loss in ([0.0, 1.0], [np.nan, 1.0]):
        verdict = started(scheduler, 2).verdict(0, 0, scheduler.max_resource, np.array(loss))
        assert isinstance(verdict, Stop)
        assert verdict.reason.rule == "max-resource"
        assert f"{scheduler.max_resource} {scheduler.unit}" in verdict.reason.text


@every_scheduler
@settings(max_examples=12)
@given(n_objectives=st.integers(1, 3), seed=st.integers(0, 10_000), n_steps=st.integers(0, 150))
def test_the_same_writes_give_the_same_answers_and_questions_change_nothing(
    scheduler: Scheduler, n_objectives: int, seed: int, n_steps: int
) -> None:
    contract.same_writes_give_the_same_answers(scheduler, n_objectives, seed, n_steps)


@every_scheduler
@settings(max_examples=12)
@given(n_objectives=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_no_trial_leaves_a_rung_twice(scheduler: Scheduler, n_objectives: int, seed: int) -> None:
    contract.no_trial_leaves_a_rung_twice(scheduler, n_objectives, seed, 150)


@every_scheduler
def test_fresh_ones_share_nothing(scheduler: Scheduler) -> None:
    contract.fresh_races_share_nothing(scheduler, 2)


def joined(scheduler: Scheduler, n_trials: int) -> Race:
    """Returns a race of one objective with trials paused at the first level of bracket 0; trial 0 is best."""
    live = started(scheduler, 1)
    for trial_id in range(n_trials):
        live.joined(trial_id, 0)
    for trial_id in range(n_trials):
        live.record(trial_id, 0, live.levels[0], np.array([float(trial_id)]), "pause")
        live.observe(trial_id, 0, live.levels[0], np.array([float(trial_id)]))
    return live


PROMOTING = [ASHA(max_epochs=27), PASHA(max_epochs=27), SuccessiveHalving(max_epochs=27), Hyperband(max_epochs=27)]


@pytest.mark.parametrize("scheduler", PROMOTING, ids=repr)
def test_a_withdrawn_trial_is_never_promoted(scheduler: Scheduler) -> None:
    live = joined(scheduler, 27)
    assert live.promotable() is not None
    live.withdraw(0)
    promoted = []
    while (promotion := live.promotable()) is not None:
        promoted.append(promotion.trial_id)
        live.promoted(promotion.trial_id, 0, promotion.level)
    assert promoted[:8] == list(range(1, 9))
    assert not live.is_promotable(0, live.levels[0])
    assert 0 not in [trial_id for trial_id, _ in live.finishers()]


@pytest.mark.parametrize("scheduler", PROMOTING, ids=repr)
def test_a_constant_objective_decides_nothing(scheduler: Scheduler) -> None:
    live, plain = started(scheduler, 2), started(scheduler, 1)
    rng = np.random.default_rng(0)
    for trial_id in range(27):
        live.joined(trial_id, 0)
        plain.joined(trial_id, 0)
    for trial_id, loss in enumerate(rng.permutation(27).astype(float)):
        live.record(trial_id, 0, live.levels[0], np.array([7.0, loss]), "pause")
        plain.record(trial_id, 0, plain.levels[0], np.array([loss]), "pause")
    for _ in range(9):
        first, second = live.promotable(), plain.promotable()
        assert first is not None
        assert second is not None
        assert first.trial_id == second.trial_id
        live.promoted(first.trial_id, 0, first.level)
        plain.promoted(first.trial_id, 0, first.level)


def one_device(scheduler: Scheduler, objectives: list[Any]) -> StudySpec:
    """A study whose trials never wait for more devices than are free."""
    return spec(
        scheduler=scheduler, objectives=Objectives(objectives), space=SearchSpace(lr=Float(1e-4, 1e-1, log=True))
    )


@every_short_scheduler
@pytest.mark.parametrize("n_trials", [1, 4, 23])
def test_whole_studies_end_and_respect_their_totals(scheduler: Scheduler, n_trials: int) -> None:
    for study in (spec(scheduler=scheduler), one_device(scheduler, [Metric("error", "min")])):
        driver = Driver(study, Limits(max_trials=n_trials, finishers=2), rough_curve)
        done = driver.run()
        assert done.reason.rule == "limit:max_trials"
        assert len(driver.state.trials) == n_trials
        assert not driver.state.running
        assert not driver.state.waiting
        assert driver.state.n_full <= n_trials
        for trial in driver.state.trials:
            assert trial.resource <= scheduler.max_resource
            assert set(trial.decided) <= set(scheduler.levels)
            if trial.state is TrialState.COMPLETED:
                assert trial.resource == scheduler.max_resource


BETWEEN_RUNGS = [
    ASHA(max_steps=1000),
    ASHA(max_steps=1000, first_rung=30, strict=True, brackets=2),
    ASHA(max_steps=1000, type="stopping", keep_front=True),
    PASHA(max_steps=1000),
    PASHA(max_steps=1000, first_rung=100),
    SuccessiveHalving(max_steps=1000, bracket_size=3),
    SuccessiveHalving(max_steps=1000, first_rung=100),
    Hyperband(max_steps=1000),
    Hyperband(max_steps=1000, first_rung=100, type="asynchronous"),
    MedianStopping(max_steps=1000, first_rung=150, every=70, min_trials=2),
    RunToEnd(max_steps=1000),
]


@pytest.mark.parametrize("scheduler", BETWEEN_RUNGS, ids=repr)
@pytest.mark.parametrize("coarse", [0, 5, 11])
def test_reports_that_fall_on_no_rung_hold_nobody(scheduler: Scheduler, coarse: int) -> None:
    def stride(trial_id: int) -> int:
        return 400 if trial_id == coarse else 100

    study = one_device(scheduler, [Metric("error", "min"), TrainSeconds()])
    driver = Driver(study, Limits(max_trials=12, finishers=1), rough_curve, stride=stride)
    assert driver.run().reason.rule == "limit:max_trials"
    assert not driver.state.running
    assert any(trial.state is TrialState.COMPLETED and trial.resource == 1000 for trial in driver.state.trials)
    for trial in driver.state.trials:
        every = stride(trial.trial_id)
        passed = [min(resource, 1000) for resource in range(every, trial.resource + every, every)]
        assert [measurement.resource for measurement in trial.measurements] == passed
    again = rebuilt_state(study, driver.log)
    assert snapshot(again) == snapshot(driver.state)
    assert answers_of(again.race) == answers_of(driver.state.race)


@every_short_scheduler
def test_the_same_seed_gives_the_same_log(scheduler: Scheduler) -> None:
    def log(seed: int) -> list[ev.Event]:
        driver = Driver(spec(scheduler=scheduler, seed=seed), Limits(max_trials=15), rough_curve)
        driver.run()
        return driver.log

    assert log(3) == log(3)
    assert log(3) != log(4)


@every_short_scheduler
def test_a_killed_study_decides_as_the_unkilled_one(scheduler: Scheduler) -> None:
    contract.killed_study_decides_alike(scheduler, 2)


@every_short_scheduler
def test_an_interrupted_study_goes_on_to_its_end(scheduler: Scheduler) -> None:
    study, limits = spec(scheduler=scheduler), Limits(max_trials=14, finishers=1)
    first = Driver(study, limits, rough_curve)
    for _ in range(40):
        first.fill()
        if not first.due:
            break
        first.step()
    second = Driver(study, limits, rough_curve, log=list(first.log))
    second.run()
    assert len(second.state.trials) == 14
    assert not second.state.running
    assert second.state.n_failed == 0


@every_short_scheduler
def test_the_limit_of_trials_may_grow(scheduler: Scheduler) -> None:
    study = spec(scheduler=scheduler)
    first = Driver(study, Limits(max_trials=5, finishers=1), rough_curve)
    first.run()
    first.close()
    second = Driver(study, Limits(max_trials=16, finishers=1), rough_curve, log=list(first.log))
    second.run()
    assert len(second.state.trials) == 16
    assert not second.state.running


@pytest.mark.parametrize("cls", SCHEDULERS.values())
def test_wrong_habits_are_answered(cls: Any) -> None:
    for habit in ("max_t", "grace_period", "reduction_factor"):
        with pytest.raises(UnknownArgumentError, match=": use `"):
            cls(**{habit: 3})
    with pytest.raises(UnknownArgumentError, match="max_epochs"):
        cls(27, max_epoch=3)
    with pytest.raises(ArgumentError, match="exactly one"):
        cls()
    with pytest.raises(ArgumentError, match="exactly one"):
        cls(27, max_steps=27)


@every_scheduler
def test_settings_never_change(scheduler: Scheduler) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        scheduler.max_epochs = 3  # type: ignore[misc]
    again = eval(repr(scheduler))
    assert (again, hash(again)) == (scheduler, hash(scheduler))
    assert not isinstance(scheduler, Race)


def test_run_to_end_expects_all_trials_at_the_end() -> None:
    scheduler = RunToEnd(27)
    assert scheduler.levels == (27,)
    assert scheduler.expected(12) == ((27, 12),)
    race = started(scheduler)
    assert race.first_target(0) == 27
    race.record(0, 0, 27, np.array([1.0]), "stop")
    race.promoted(0, 0, 27)
    race.withdraw(0)
    assert race.finishers() == ()


@pytest.mark.parametrize("settings", [{}, {"name": "ahsa", "max_epochs": 3}, {"name": "asha", "max_epoch": 3}])
def test_unknown_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises((ArgumentError, UnknownArgumentError)):
        scheduler_from_settings(settings)


def _one_device(scheduler: Scheduler) -> StudySpec:
    objectives = Objectives([Metric("error", "min")])
    return spec(scheduler=scheduler, space=SearchSpace(lr=Float(1e-4, 1e-1)), objectives=objectives, devices=1)


class IgnoringDriver(Driver):
    """A driver whose trials train to the end of each segment's horizon, whatever the answers say."""

    saves = True

    def epoch(self, trial_id: int) -> None:
        segment, top = self.state.running[trial_id], self.controller.race.max_resource
        answers, told = [], segment.resource
        for resource in range(segment.resource + 1, top + 1):
            metrics = {"error": self.curve(dict(self.state.trials[trial_id].config), resource)}
            verdict = self.controller.report(trial_id, resource, metrics, float(resource), self.now)
            if not answers or answers[-1] == "continue":
                told = resource
            answers.append(verdict.kind)
        first = next((i for i, kind in enumerate(answers) if kind != "continue"), len(answers))
        assert len(set(answers[first:])) <= 1, "the answer changed after a pause or stop"
        if self.saves:
            self.save(trial_id, told, 1.0)
        self.end(trial_id, "done")


@pytest.mark.parametrize("saves", [True, False])
@pytest.mark.parametrize("scheduler", SHORT, ids=repr)
def test_trials_that_ignore_their_verdicts_are_never_offered_a_move_they_cannot_make(
    scheduler: Scheduler, saves: bool
) -> None:
    driver = IgnoringDriver(_one_device(scheduler), Limits(max_trials=7, finishers=2))
    driver.saves = saves
    driver.run()
    state = driver.state
    assert len(state.trials) == 7
    assert state.n_full >= 1
    assert snapshot(rebuilt_state(state.spec, driver.log)) == snapshot(state)
    obedient = Driver(_one_device(scheduler), Limits(max_trials=7, finishers=2))
    obedient.run()
    assert [trial.decided for trial in state.trials] == [trial.decided for trial in obedient.state.trials]


@pytest.mark.parametrize("scheduler", SHORT, ids=repr)
def test_a_log_of_trials_that_trained_on_after_a_pause_continues(scheduler: Scheduler) -> None:
    """Version 0.1 took reports after a pause, so that such a trial was complete and still waited at its rungs."""
    study, limits, n_old = _one_device(scheduler), Limits(max_trials=12, finishers=3), 5
    driver = Driver(study, limits, lambda config, epoch: 1.0 / epoch)
    for trial_id in range(n_old):
        decision = driver.controller.ask(driver.now, 1)
        assert isinstance(decision, Start)
        driver.begin(decision)
        _train_on_as_version_0_1_did(driver, trial_id)
        assert driver.state.trials[trial_id].state is TrialState.COMPLETED
    again = Driver(study, limits, lambda config, epoch: 10.0 / epoch, log=driver.log)  # the old trials stay the best
    again.run()
    state = again.state
    assert len(state.trials) == 12
    assert [trial.state for trial in state.trials[:n_old]] == [TrialState.COMPLETED] * n_old
    assert all(segment.trial_id >= n_old or segment.number == 1 for segment in state.segments)
    assert snapshot(rebuilt_state(study, again.log)) == snapshot(state)


def _train_on_as_version_0_1_did(driver: Driver, trial_id: int) -> None:
    """Writes what its controller wrote where a loop ignored every answer: rungs are judged, pauses are passed over."""
    state, write, judge = driver.state, driver.controller._write, driver.controller._judge
    for resource in range(1, state.race.max_resource + 1):
        trial, segment = state.trials[trial_id], state.running[trial_id]
        error = driver.curve(dict(trial.config), resource)
        measurement = judge.measure(segment, resource, {"error": error}, float(resource), Conversion(1.0, 1))
        loss = state.spec.objectives.loss(measurement.values)
        level, verdict, target = judge.judge_rung(trial, measurement, loss, driver.now, is_inside=False)
        write(
            ev.Reported(
                at=driver.now, trial_id=trial_id, segment=1, resource=resource, values=dict(measurement.values),
                train_s=float(resource), device_s=float(resource), level=level, verdict=verdict.kind, target=target,
                rule=verdict.reason.rule, reason=verdict.reason.text,
            )
        )  # fmt: skip
    write(
        ev.SegmentEnded(
            at=driver.now, trial_id=trial_id, segment=1, outcome="done", state="completed", error="", wall_s=1.0,
            device_s=1.0, billed_usd=0.0, world_size=1, next_allocation=Allocation(1),
        )
    )  # fmt: skip
    driver.due.pop(trial_id, None)
