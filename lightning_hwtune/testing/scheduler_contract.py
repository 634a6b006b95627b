"""The contract of a scheduler: by itself, in random races, and in whole simulated studies.

Each function checks one rule and raises an AssertionError if it is broken. `check_scheduler` checks all of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_hwtune.core.decisions import Rule, Stop, VerdictKind
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, Scheduler
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.random_race import RandomRace, answers_of, rebuilt, started
from lightning_hwtune.testing.rebuilding import settings_return
from lightning_hwtune.testing.scheduler_studies import (
    interrupted_study_continues,
    killed_study_decides_alike,
    limit_may_grow,
    same_seed_gives_the_same_log,
    whole_study_ends,
)

__all__ = [
    "check_scheduler",
    "fresh_races_share_nothing",
    "full_training_is_a_stop",
    "levels_rise_to_the_full_training",
    "no_trial_leaves_a_rung_twice",
    "same_writes_give_the_same_answers",
    "settings_come_back",
    "settings_never_change",
]

_SEEDS = (0, 1, 2)
_N_STEPS = 150


def check_scheduler(scheduler: Scheduler, n_objectives: Sequence[int] = (1, 2, 3)) -> None:
    """Checks that a scheduler keeps the rules that studies rely on. Nothing is trained, and all seeds are fixed.

    Its settings can be restored from the log and never change. The same writes give the same answers, and questions
    have no effects. No trial leaves a rung twice, a promotion is promotable, and a trial whose loss is not finite is
    never promoted. A simulated study ends within its limits, and one that is killed and rebuilt makes the same
    decisions.

    Args:
        scheduler: the scheduler, with the settings to check.
        n_objectives: the numbers of objectives that it supports.

    Raises:
        AssertionError: a rule is broken; the message has the rule and what was observed.
        ArgumentError: the log cannot store this scheduler.

    Examples:
        >>> from lightning_hwtune import ASHA
        >>> check_scheduler(ASHA(max_epochs=9))
    """
    settings_come_back(scheduler)
    settings = json.dumps(scheduler.settings())
    for n in n_objectives:
        levels_rise_to_the_full_training(scheduler, n)
        full_training_is_a_stop(scheduler, n)
        fresh_races_share_nothing(scheduler, n)
        for seed in _SEEDS:
            same_writes_give_the_same_answers(scheduler, n, seed, _N_STEPS)
            no_trial_leaves_a_rung_twice(scheduler, n, seed, _N_STEPS)
        for n_trials in (1, 4, 23):
            whole_study_ends(scheduler, n, n_trials)
        same_seed_gives_the_same_log(scheduler, n)
        killed_study_decides_alike(scheduler, n)
        interrupted_study_continues(scheduler, n)
        limit_may_grow(scheduler, n)
    settings_never_change(scheduler, json.loads(settings))


def settings_come_back(scheduler: Scheduler) -> None:
    """Checks that the log keeps the settings as plain data, and that a scheduler made from them is the same."""
    again = settings_return(SCHEDULER_REGISTRY, scheduler)
    rule = "A scheduler that is rebuilt from its settings equals the original."
    for name in ("unit", "levels", "max_resource", "pauses"):
        was, now = getattr(scheduler, name), getattr(again, name)
        demand(now == was, rule, f"{name} was {was!r}; in the rebuilt one it is {now!r}.")
    demand(repr(again) == repr(scheduler), rule, f"{scheduler!r} became {again!r}.")


def settings_never_change(scheduler: Scheduler, before: dict[str, Any]) -> None:
    """Checks that a scheduler has only settings, so that many studies can share it."""
    after = json.loads(json.dumps(scheduler.settings()))
    demand(after == before, "A scheduler never changes.", f"Its settings were {before}, and are now {after}.")
    try:
        scheduler.max_epochs = scheduler.max_epochs  # type: ignore[misc]
    except dataclasses.FrozenInstanceError:
        return
    demand(False, "A scheduler never changes.", "Decorate its class with `@dataclass(frozen=True, repr=False)`.")


def levels_rise_to_the_full_training(scheduler: Scheduler, n_objectives: int = 1) -> None:
    """Checks that the levels rise, and that a trial's targets climb them one by one up to the full training."""
    levels, last = tuple(scheduler.levels), scheduler.max_resource
    demand(list(levels) == sorted(set(levels)), "The levels are ascending.", f"They are {levels}.")
    demand(
        levels[-1] == last,
        "The last level is the full training.",
        f"They are {levels}, and the full training is {last}.",
    )
    race = started(scheduler, n_objectives)
    for bracket in {race.draw_bracket(np.random.default_rng(i)) for i in range(20)}:
        seen = [race.first_target(bracket)]
        while seen[-1] < last and len(seen) <= len(levels):
            seen.append(race.next_target(bracket, seen[-1]))
        rule = "`first_target` and `next_target` climb the levels one by one."
        is_climb = seen[0] in levels and tuple(seen) == levels[levels.index(seen[0]) :]
        demand(is_climb, rule, f"The levels are {levels}; bracket {bracket} climbs {seen}.")
    top = race.next_target(0, last)
    demand(top == last, "`next_target` of the full training is the full training.", f"It is {top}, not {last}.")


def full_training_is_a_stop(scheduler: Scheduler, n_objectives: int = 1) -> None:
    """Checks that the verdict at the end of the training is a stop, whatever the loss."""
    for first in (0.0, np.nan):
        loss = np.array([first] + [1.0] * (n_objectives - 1))
        verdict = started(scheduler, n_objectives).verdict(0, 0, scheduler.max_resource, loss)
        is_stop = isinstance(verdict, Stop) and verdict.reason.rule == Rule.MAX_RESOURCE
        demand(is_stop, "The full training ends with a stop by the rule max-resource.", f"It ended with {verdict}.")


def same_writes_give_the_same_answers(scheduler: Scheduler, n_objectives: int, seed: int, n_steps: int) -> None:
    """Checks that two races with the same writes give the same answers, even if only one was asked in between."""
    asked, silent = (RandomRace(scheduler, n_objectives, seed) for _ in range(2))
    for _ in range(n_steps):
        answers_of(asked.race)
        asked.step()
        silent.step()
        rule = "Questions change nothing: a race gives the same answers, however often it is asked."
        demand(asked.answers == silent.answers, rule, asked.answers[-1:], silent.answers[-1:], asked.writes[-3:])
    live, again = answers_of(asked.race), answers_of(rebuilt(scheduler, n_objectives, asked.writes))
    rule = "The same writes give the same answers, because a killed study continues from its log."
    demand(again == live, rule, f"The race that ran answers {live}", f"the rebuilt one {again}")
    demand(answers_of(silent.race) == live, "Questions change nothing.", live)


def no_trial_leaves_a_rung_twice(scheduler: Scheduler, n_objectives: int, seed: int, n_steps: int) -> None:
    """Checks that each trial is promoted from a level, or continues past it, at most once."""
    race = RandomRace(scheduler, n_objectives, seed)
    for _ in range(n_steps):
        race.step()
    left = Counter(
        (arguments[0], arguments[2])
        for method, arguments in race.writes
        if method == "promoted" or (method == "record" and arguments[4] == VerdictKind.CONTINUE)
    )
    twice = [place for place, n in left.items() if n > 1]
    demand(not twice, "No trial leaves a rung twice.", f"(trial, level): {twice}")


def fresh_races_share_nothing(scheduler: Scheduler, n_objectives: int = 1) -> None:
    """Checks that one race does not affect another one of the same scheduler."""
    busy, untouched = RandomRace(scheduler, n_objectives, 0), started(scheduler, n_objectives)
    before = answers_of(untouched)
    for _ in range(_N_STEPS):
        busy.step()
    for race in (untouched, started(scheduler, n_objectives)):
        after = answers_of(race)
        demand(after == before, "Two races of one scheduler share nothing.", f"Before {before}", f"after {after}")
