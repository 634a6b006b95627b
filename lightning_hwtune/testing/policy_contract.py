"""The contract of an allocation policy: by itself, and in a simulated study.

Each function checks one rule and raises an AssertionError if it is broken. `check_policy` checks all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.hardware.allocator import Allocator
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY
from lightning_hwtune.core.hardware.policy import AllocationPolicy, divides
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.parameters import Parameter
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.schedulers import ASHA, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.rebuilding import rebuilt, settings_return
from lightning_hwtune.testing.study_driver import Driver
from lightning_hwtune.text import counted

__all__ = [
    "answers_depend_only_on_the_arguments",
    "answers_fit_the_pool_and_the_configuration",
    "check_policy",
    "killed_study_allocates_alike",
    "questions_change_nothing",
]

T = TypeVar("T")

_N_CONFIGS = 60
_OUT_OF_MEMORY = 4  # in the simulated study, every fourth trial runs out of memory on its first allocation


def check_policy(policy: AllocationPolicy, space: SearchSpace | Mapping[str, Parameter], pool: Pool) -> None:
    """Checks that an allocation policy keeps the rules that studies rely on. Nothing is trained; all seeds are fixed.

    Its settings can be restored from the log. An answer depends only on the settings and the arguments, also for a
    policy rebuilt from its settings, and asking has no effects. Each answer is one of the policy's counts, fits into
    the pool and divides the configuration's batch sizes. `larger` rises and ends. `next` is asked in simulated studies.
    A study that is killed and rebuilt gives its trials the same devices as one that is not.

    Args:
        policy: the policy, with the settings to check.
        space: a space that it suits.
        pool: the devices of the studies that use it; `devices` is a number.

    Raises:
        AssertionError: a rule is broken; the message has the rule and what was observed.
        ArgumentError: the log cannot store this policy, or it refuses the space or the pool.

    Examples:
        >>> from lightning_hwtune import Float, NumDevices, Pool, SearchedAllocation
        >>> check_policy(SearchedAllocation(), {"lr": Float(0, 1), "devices": NumDevices(1, 2)}, Pool("cpu", 2))
    """
    space = space if isinstance(space, SearchSpace) else SearchSpace(space)
    settings_return(POLICY_REGISTRY, policy)
    _study(policy, space, pool)
    answers_fit_the_pool_and_the_configuration(policy, space, pool)
    answers_depend_only_on_the_arguments(policy, space, pool)
    questions_change_nothing(policy, space, pool)
    killed_study_allocates_alike(policy, space, pool)


def answers_fit_the_pool_and_the_configuration(policy: AllocationPolicy, space: SearchSpace, pool: Pool) -> None:
    """Checks that each answer is one of the counts, fits the pool, and divides the configuration's batch sizes."""
    allocator = Allocator(policy, space, pool)
    counts = _kept("`counts` are positive integers, ascending, and fit into the pool.", lambda: allocator.counts)
    demand(max(counts) <= pool.size, "`counts` fit into the pool.", f"{counts} on {counted(pool.size, 'devices')}.")
    for config in _configs(space):
        for answer in _chain(allocator, config):
            rule = "An allocation divides the configuration's batch sizes among its devices."
            demand(divides(space, config, answer.devices), rule, f"{answer} for {config}.")


def answers_depend_only_on_the_arguments(policy: AllocationPolicy, space: SearchSpace, pool: Pool) -> None:
    """Checks that the same question has the same answer, in any order, and for a policy made from its settings."""
    configs, again = _configs(space), rebuilt(POLICY_REGISTRY, policy)
    first = [_chain(Allocator(policy, space, pool), config) for config in configs]
    same_space, same_pool = SearchSpace.from_dict(space.to_dict()), Pool(**pool.to_dict())
    rule = "The same question has the same answer."
    for who, other in (("the same policy", policy), ("the policy rebuilt from its settings", again)):
        for config, answers in reversed(list(zip(configs, first, strict=True))):
            later = _chain(Allocator(other, same_space, same_pool), config)
            demand(later == answers, rule, f"{config}: first {answers}, later {who} answered {later}.")


def questions_change_nothing(policy: AllocationPolicy, space: SearchSpace, pool: Pool) -> None:
    """Checks that asking changes neither the configuration nor the settings."""
    settings = json.dumps(policy.settings())
    for config in _configs(space):
        given = dict(config)
        _chain(Allocator(policy, space, pool), given)
        demand(given == config, "Asking changes nothing.", f"The configuration was {config}; now it is {given}.")
    after = json.dumps(policy.settings())
    demand(after == settings, "Asking changes nothing.", f"The settings were {settings}; now {after}.")


def killed_study_allocates_alike(policy: AllocationPolicy, space: SearchSpace, pool: Pool) -> None:
    """Checks that a study continued from a part of its log gives its trials what the uninterrupted one gives them."""
    limits = Limits(max_trials=12, max_parallel=1, max_time_s=60.0 if policy.plans_stages else None)

    def curve(config: dict[str, Any], epoch: int) -> float:
        return abs(float(space.encode(config)[0]) - 0.4) + 1.0 / epoch

    unkilled = Driver(_study(policy, space, pool), limits, curve)
    _kept("Each answer of `next` is one of the moment's counts, or the present devices.", lambda: _run(unkilled))
    ends = [place for place, event in enumerate(unkilled.log) if isinstance(event, ev.SegmentEnded)]
    for after in ends[1:10:3]:
        resumed = Driver(
            _study(rebuilt(POLICY_REGISTRY, policy), space, pool), limits, curve, log=list(unkilled.log[: after + 1])
        )
        _run(resumed)
        whole, continued = (
            [(s.trial_id, s.allocation) for s in driver.state.segments] for driver in (unkilled, resumed)
        )
        rule = "A killed study that continues from its log gives its trials the same devices as an uninterrupted one."
        demand(continued == whole, rule, f"Uninterrupted: {whole}", f"killed after event {after}: {continued}")


def _run(driver: Driver) -> None:
    """Runs a study to its end. Some trials run out of memory on their first allocation."""
    while not isinstance(driver.fill(), Done):
        running = min(driver.due, key=lambda trial_id: (driver.due[trial_id], trial_id))
        if running % _OUT_OF_MEMORY == 0 and driver.state.trials[running].segment == 1:
            driver.end(running, Outcome.OUT_OF_MEMORY, "out of memory")
        else:
            driver.step()


def _chain(allocator: Allocator, config: Mapping[str, Any]) -> list[Allocation]:
    """Returns the first allocation of a configuration and all larger ones."""
    rule = "An answer is one of the policy's counts, and `larger` is larger."
    found = [_kept(rule, lambda: allocator.first(config))]
    while (larger := _kept(rule, lambda: allocator.larger(config, found[-1]))) is not None:
        found.append(larger)
    return found


def _kept(rule: str, ask: Callable[[], T]) -> T:
    """Returns an answer; one that the study would refuse breaks the rule."""
    try:
        return ask()
    except ArgumentError as error:
        raise AssertionError(f"{rule}\n  {error}") from error


def _study(policy: AllocationPolicy, space: SearchSpace, pool: Pool) -> StudySpec:
    objectives = Objectives([Metric("error", "min")])
    scheduler = SuccessiveHalving(max_epochs=9) if policy.plans_stages else ASHA(max_epochs=9)
    return StudySpec("contract", space, objectives, scheduler, Random(), pool, allocation=policy)


def _configs(space: SearchSpace) -> list[dict[str, Any]]:
    return [space.sample(stream(0, "contract", number)) for number in range(_N_CONFIGS)]
