"""A scheduler's contract in whole studies: they end within their limits, and killed ones decide as before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Rule
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.study_driver import Driver, rebuilt_state, snapshot
from lightning_hwtune.text import counted

__all__ = [
    "interrupted_study_continues",
    "killed_study_decides_alike",
    "limit_may_grow",
    "rough_curve",
    "same_seed_gives_the_same_log",
    "whole_study_ends",
]

_REPORTS_PER_TRIAL = 40  # at most; trials with more epochs report less often
_ONE_DEVICE = SearchSpace(lr=Float(1e-4, 1e-1, log=True))
_SOME_DEVICES = SearchSpace(lr=Float(1e-4, 1e-1, log=True), batch_size=Choice([32, 64]), devices=NumDevices(1, 2))


def rough_curve(config: dict[str, Any], epoch: int) -> float:
    """Returns a value of curves that cross, and that diverge if the learning rate is high."""
    rate = config["lr"]
    if rate > 0.08 and epoch > 2:
        return float("nan")
    return float(abs(np.log10(rate) + 2) * (0.3 + 0.7 / epoch) + 0.3 * np.sin(1000 * rate * epoch))


def whole_study_ends(scheduler: Scheduler, n_objectives: int, n_trials: int) -> None:
    """Checks that a study ends at its trial limit: none is left running or trained too far, and rungs are levels."""
    for space in (_ONE_DEVICE, _SOME_DEVICES):
        driver = _driver(scheduler, n_objectives, Limits(max_trials=n_trials, finishers=2), space=space)
        _run(driver)
        state = driver.state
        _ended(state, n_trials)
        for trial in state.trials:
            rule = "No trial trains further than the full training, and a completed one trained that far."
            is_full = trial.state is TrialState.COMPLETED
            is_within = (
                trial.resource == scheduler.max_resource if is_full else trial.resource <= scheduler.max_resource
            )
            demand(is_within, rule, f"trial {trial.trial_id} is {trial.state.value} after {trial.resource}")
            known = set(trial.decided) <= set(scheduler.levels)
            demand(known, "Trials are judged only at the levels.", f"{trial.decided} of {scheduler.levels}")


def same_seed_gives_the_same_log(scheduler: Scheduler, n_objectives: int) -> None:
    """Checks that everything in a study follows from its settings and its seed."""
    logs = []
    for seed in (3, 3, 4):
        driver = _driver(scheduler, n_objectives, Limits(max_trials=15), seed=seed)
        _run(driver)
        logs.append(driver.log)
    same = "The same seed gives the same study."
    demand(logs[0] == logs[1], same, *_first_difference(logs[0], logs[1]))
    demand(logs[0] != logs[2], "Another seed gives another study.")


def killed_study_decides_alike(scheduler: Scheduler, n_objectives: int) -> None:
    """Checks that a study rebuilt from a part of its log takes every decision in the rest of it."""
    driver = _driver(scheduler, n_objectives, Limits(max_trials=12, finishers=1), space=_ONE_DEVICE)
    _run(driver)
    log, spec = driver.log, driver.controller.spec
    whole, rule = snapshot(driver.state), "A study that is rebuilt from its log is the same study."
    demand(snapshot(rebuilt_state(spec, log)) == whole, rule)
    for n_events in range(3, len(log), max(1, len(log) // 7)):
        state = rebuilt_state(spec, log[:n_events])
        for event in log[n_events:]:
            _decided_alike(state, event)
            state.apply(event)


def interrupted_study_continues(scheduler: Scheduler, n_objectives: int) -> None:
    """Checks that a study that was killed in the middle continues to its end."""
    first = _driver(scheduler, n_objectives, Limits(max_trials=14, finishers=1))
    for _ in range(40):
        first.fill()
        if not first.due:
            break
        first.step()
    second = _driver(scheduler, n_objectives, first.limits, log=list(first.log))
    _run(second)
    _ended(second.state, 14)
    demand(
        second.state.n_failed == 0,
        "No trial fails because its study was killed.",
        f"{counted(second.state.n_failed, 'trials')} failed",
    )


def limit_may_grow(scheduler: Scheduler, n_objectives: int) -> None:
    """Checks that a finished study continues up to a higher limit."""
    first = _driver(scheduler, n_objectives, Limits(max_trials=5, finishers=1))
    _run(first)
    first.close()
    second = _driver(scheduler, n_objectives, Limits(max_trials=16, finishers=1), log=list(first.log))
    _run(second)
    _ended(second.state, 16)


def _driver(
    scheduler: Scheduler,
    n_objectives: int,
    limits: Limits,
    *,
    space: SearchSpace = _SOME_DEVICES,
    seed: int = 0,
    log: list[ev.Event] | None = None,
) -> Driver:
    items: list[Objective] = [Metric("error", "min"), TrainSeconds()]
    items += [Metric(f"error_{i}", "min") for i in range(2, n_objectives)]
    study = StudySpec("contract", space, Objectives(items[:n_objectives]), scheduler, Random(), Pool("cpu", 2), seed)
    stride = -(-scheduler.max_resource // _REPORTS_PER_TRIAL)
    return Driver(study, limits, rough_curve, log=log, stride=lambda trial_id: stride)


def _run(driver: Driver) -> None:
    n_trials = driver.limits.max_trials or 0
    driver.run(2 * (n_trials + 2) * (_REPORTS_PER_TRIAL + len(driver.controller.race.levels)))


def _ended(state: StudyState, n_trials: int) -> None:
    rule = f"A study ends at its limit of {n_trials} trials, and no trial is left running or waiting to run."
    is_ended = len(state.trials) == n_trials and not state.running and not state.waiting
    demand(
        is_ended,
        rule,
        f"{counted(len(state.trials), 'trials')}; running {sorted(state.running)}, waiting {list(state.waiting)}",
    )


def _decided_alike(state: StudyState, event: ev.Event) -> None:
    rule = "A killed study that is rebuilt makes the same decisions as an uninterrupted one."
    if isinstance(event, ev.Reported) and event.level is not None and event.rule not in (Rule.CLEARED, Rule.REPEATED):
        trial, loss = state.trials[event.trial_id], state.spec.objectives.loss(event.values)
        verdict = state.race.verdict(trial.trial_id, trial.bracket, event.level, loss)
        text = event.reason.partition("; infeasible: ")[0]  # which the controller adds
        now, then = (verdict.kind, verdict.reason.rule, verdict.reason.text), (event.verdict, event.rule, text)
        demand(now == then, rule, f"The log has {then}", f"the rebuilt study has {now}")
    if isinstance(event, ev.SegmentStarted) and event.rule == Rule.PROMOTION:
        promotion = state.race.promotable(exclude=state.running)
        is_same = promotion is not None and (promotion.trial_id, promotion.reason.text) == (
            event.trial_id,
            event.reason,
        )
        demand(is_same, rule, f"The log has the promotion of trial {event.trial_id}: {event.reason}", promotion)


def _first_difference(one: Sequence[ev.Event], other: Sequence[ev.Event]) -> tuple[object, ...]:
    return next(((a, b) for a, b in zip(one, other, strict=False) if a != b), (len(one), len(other)))
