"""What every scheduler keeps to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lightning_hwtune.core.decisions import Stop
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler, scheduler_from_settings
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError

SCHEDULERS = [
    ASHA(max_epochs=27),
    ASHA(max_steps=1000, first_rung=10, eta=10),
    ASHA(max_samples=60_000, first_rung=1000, eta=2.5, brackets=2, strict=True, within="hypervolume_contribution"),
    ASHA(max_epochs=9, type="stopping"),
    RunToEnd(9),
    RunToEnd(max_samples=1000),
]

every_scheduler = pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)


@every_scheduler
def test_settings_come_back_from_the_log(scheduler: Scheduler) -> None:
    stored = json.loads(json.dumps(scheduler.settings()))
    again = scheduler_from_settings(stored)
    assert type(again) is type(scheduler)
    assert again.settings() == scheduler.settings()
    assert (again.levels, again.unit, again.max_resource) == (scheduler.levels, scheduler.unit, scheduler.max_resource)
    assert repr(again) == repr(scheduler)


@every_scheduler
def test_the_representation_is_the_call(scheduler: Scheduler) -> None:
    assert eval(repr(scheduler)).settings() == scheduler.settings()


@every_scheduler
def test_levels_rise_to_the_full_training(scheduler: Scheduler) -> None:
    assert list(scheduler.levels) == sorted(set(scheduler.levels))
    assert scheduler.levels[-1] == scheduler.max_resource
    for bracket in {scheduler.draw_bracket(np.random.default_rng(i)) for i in range(20)}:
        level, seen = scheduler.first_target(bracket), []
        while level < scheduler.max_resource:
            seen.append(level)
            level = scheduler.next_target(bracket, level)
        assert (*seen, level) == scheduler.levels[scheduler.levels.index(scheduler.first_target(bracket)) :]
    assert scheduler.next_target(0, scheduler.max_resource) == scheduler.max_resource


@every_scheduler
def test_the_end_of_the_training_is_a_stop_for_every_loss(scheduler: Scheduler) -> None:
    for loss in ([0.0, 1.0], [np.nan, 1.0]):
        verdict = scheduler.fresh(2).verdict(0, 0, scheduler.max_resource, np.array(loss))
        assert isinstance(verdict, Stop)
        assert verdict.reason.rule == "max-resource"
        assert f"{scheduler.max_resource} {scheduler.unit}" in verdict.reason.text


@every_scheduler
def test_questions_have_no_effects(scheduler: Scheduler) -> None:
    asked, silent = scheduler.fresh(2), scheduler.fresh(2)
    rng = np.random.default_rng(0)
    for trial_id in range(30):
        level, loss = scheduler.levels[0], rng.random(2)
        for other in rng.random((2, 2)):
            asked.verdict(trial_id, 0, level, other)
        asked.promotable()
        asked.finishers()
        asked.is_promotable(0, level)
        verdicts = [each.verdict(trial_id, 0, level, loss) for each in (asked, silent)]
        assert verdicts[0] == verdicts[1]
        for each in (asked, silent):
            each.record(trial_id, 0, level, loss, verdicts[0].kind)
    assert asked.finishers() == silent.finishers()
    assert asked.promotable() == silent.promotable()


@every_scheduler
def test_a_withdrawn_trial_is_never_promoted(scheduler: Scheduler) -> None:
    if len(scheduler.levels) == 1 or scheduler.settings().get("type") == "stopping":
        assert scheduler.fresh(1).promotable() is None
        return
    live = scheduler.fresh(1)
    for trial_id in range(20):
        live.record(trial_id, 0, live.levels[0], np.array([float(trial_id)]), "pause")
    live.withdraw(0)
    promoted = set()
    while (promotion := live.promotable()) is not None:
        promoted.add(promotion.trial_id)
        live.promoted(promotion.trial_id, 0, promotion.level)
    assert promoted == set(range(1, int(20 // live.eta)))
    assert not live.is_promotable(0, live.levels[0])


def test_run_to_end_expects_all_trials_at_the_end() -> None:
    scheduler = RunToEnd(27)
    assert scheduler.levels == (27,)
    assert scheduler.first_target(0) == 27
    assert scheduler.expected(12) == ((27, 12),)
    scheduler.record(0, 0, 27, np.array([1.0]), "stop")
    scheduler.promoted(0, 0, 27)
    scheduler.withdraw(0)
    assert scheduler.finishers() == ()
    with pytest.raises(RenamedArgumentError, match="max_epochs"):
        RunToEnd(max_t=3)
    with pytest.raises(ArgumentError, match="exactly one"):
        RunToEnd()


@pytest.mark.parametrize("settings", [{}, {"name": "ahsa", "max_epochs": 3}, {"name": "asha", "max_epoch": 3}])
def test_unknown_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        scheduler_from_settings(settings)
