"""The ways to run a study that are compared: numbers of devices in a pool, and plans of nodes that are rented."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.advisor import Prediction
from lightning_hwtune.planning.comparison import SEER, Option, Wish
from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.plan import Plan
from lightning_hwtune.planning.rubberband import cheapest_plan, fastest_plan
from lightning_hwtune.planning.seer import Halving, seer_plan
from lightning_hwtune.planning.spread import Spread, spread
from lightning_hwtune.planning.static import static_plans

__all__ = ["expected_stages", "pool_options", "rented_options", "seer_options", "with_spread"]

_MOST_TRIALS = 1000  # with which a SEER-style plan begins


def pool_options(predictions: Iterable[Prediction], pool: Pool, trials: int) -> list[Option]:
    """Returns an option for each number of devices per trial in a fixed pool, which is paid from beginning to end."""

    def usd(seconds: float) -> float:
        return usd_of(pool, pool.size * seconds)

    found = []
    for item in predictions:
        between = Spread(item.least_s, item.most_s, usd(item.least_s), usd(item.most_s))
        cost = None if pool.usd_per_device_hour is None else usd(item.seconds)
        found.append(Option("fixed pool", item.seconds, cost, item, trials, pool.size, between))
    return found


def rented_options(job: Job, kind: NodeKind, wish: Wish) -> list[Option]:
    """Returns every static plan, and the elastic plans that could be best or come closest."""
    asked: tuple[Callable[[], Plan], ...] = (
        lambda: cheapest_plan(job, kind, wish.deadline_s),
        lambda: fastest_plan(job, kind, wish.budget_usd),
        lambda: fastest_plan(job, kind),
        lambda: cheapest_plan(job, kind),
    )
    elastic = [plan for ask in asked if (plan := _or_none(ask)) is not None]
    return [_option(plan, kind) for plan in (*static_plans(job, kind), *elastic)]


def seer_options(study: Halving, kind: NodeKind, wish: Wish) -> list[Option]:
    """Returns the plan with as many trials as deadline and budget allow, if any.

    Rented nodes need both limits. A pool needs one of them, because it does not grow.
    """
    if wish.deadline_s == wish.budget_usd == math.inf or (
        kind.most > 1 and math.inf in (wish.deadline_s, wish.budget_usd)
    ):
        return []
    try:
        found = seer_plan(study, kind, _MOST_TRIALS, deadline_s=wish.deadline_s, budget_usd=wish.budget_usd)
    except ArgumentError:
        return []
    return [_option(dataclasses.replace(found.plan, policy=SEER), kind)]


def with_spread(option: Option, study: Halving, kind: NodeKind, *, variation: float) -> Option:
    """Returns the option of rented nodes with the range of its time and cost; see `planning.spread`."""
    if not isinstance(option.source, Plan):
        return option
    stages = tuple(Stage(stage.trials, stage.units) for stage in option.source.stages)
    job = Job(stages, study.unit_s, study.speeds, study.start_s)
    return dataclasses.replace(option, spread=spread(option.source, job, kind, variation=variation))


def _or_none(ask: Callable[[], Plan]) -> Plan | None:
    """Returns the plan; None if the limit cannot be met."""
    try:
        return ask()
    except ArgumentError:
        return None


def _option(plan: Plan, kind: NodeKind) -> Option:
    return Option(plan.policy, plan.seconds, plan.usd, plan, plan.stages[0].trials, kind.devices)


def expected_stages(scheduler: Scheduler, trials: int) -> tuple[Stage, ...]:
    """Returns how many trials are expected to train to each rung, as stages that follow each other.

    Successive halving trains exactly like this. For an asynchronous scheduler, which begins each stage before the last
    trial of the one before has ended, the stages are an approximation.
    """
    expected = scheduler.expected(trials)
    levels = [0, *(level for level, _ in expected)]
    return tuple(Stage(n, level - below) for (level, n), below in zip(expected, levels, strict=False) if n > 0)
