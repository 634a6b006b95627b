"""Plans of several policies, side by side: which of them meet a deadline and a budget, and what would, if none does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.advisor import Prediction
from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.plan import Plan
from lightning_hwtune.planning.rubberband import cheapest_plan, fastest_plan
from lightning_hwtune.planning.static import static_plans
from lightning_hwtune.views.amounts import duration, money

__all__ = ["Comparison", "Option", "Wish", "expected_stages", "pool_options", "rented_options"]

_SLACK = 1e-9  # a limit that is exceeded by less than this, relative, is met


@final
@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a study.

    Attributes:
        policy: "fixed pool", "static" or "rubberband".
        seconds: predicted seconds of the whole study. usd: predicted cost; None without a price.
        source: the plan or the prediction.
    """

    policy: str
    seconds: float
    usd: float | None
    source: Plan | Prediction

    @property
    def devices(self) -> str:
        """Devices per trial: one number, or that of each stage."""
        if isinstance(self.source, Prediction):
            return str(self.source.devices)
        return ", ".join(str(stage.devices) for stage in self.source.stages)

    @property
    def nodes(self) -> str:
        """Nodes of each stage; empty for a pool."""
        return "" if isinstance(self.source, Prediction) else ", ".join(str(s.nodes) for s in self.source.stages)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        found: dict[str, Any] = {"policy": self.policy, "devices": self.devices, "nodes": self.nodes}
        found |= {"seconds": self.seconds, "usd": self.usd}
        if isinstance(self.source, Prediction):
            spread = {"least_s": self.source.least_s, "most_s": self.source.most_s, "used": self.source.used}
            return {**found, **spread}
        return {**found, "stages": self.source.to_dict()["stages"]}


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """What a study may take: infinity for no limit."""

    deadline_s: float = math.inf
    budget_usd: float = math.inf

    def meets(self, option: Option) -> bool:
        """Return whether an option is within both limits; without a price, a budget is not met."""
        return self._is_paid(option) and self._is_in_time(option)

    def best(self, options: Iterable[Option]) -> Option | None:
        """Returns the cheapest option within both limits, without a deadline the fastest; None if there is none."""
        able = [option for option in options if self.meets(option)]
        key = _by_money if self.deadline_s < math.inf else _by_time
        return min(able, key=key, default=None)

    def shown(self, options: Sequence[Option]) -> Option:
        """Returns the option to show for one policy: the best one; otherwise one that misses only one limit."""
        in_time = [option for option in options if self._is_in_time(option)]
        return self.best(options) or (min(in_time, key=_by_money) if in_time else min(options, key=_by_time))

    def relaxed(self, options: Sequence[Option]) -> str:
        """Returns which limits no option meets, by how much, and what would fit."""
        fastest, cheapest = min(options, key=_by_time), min(options, key=_by_money)
        found = []
        if not self._is_in_time(fastest):
            over = duration(fastest.seconds - self.deadline_s)
            found.append(f"The fastest plan {_text(fastest)}: it misses the deadline by {over}.")
        if not self._is_paid(cheapest):
            found.append(f"The cheapest plan {_text(cheapest)}{self._over(cheapest)}.")
        if not found:
            in_time = min(filter(self._is_in_time, options), key=_by_money)
            paid = min(filter(self._is_paid, options), key=_by_time)
            over = duration(paid.seconds - self.deadline_s)
            found.append(f"Within the deadline, the cheapest plan {_text(in_time)}{self._over(in_time)}.")
            found.append(f"Within the budget, the fastest plan {_text(paid)}: it misses the deadline by {over}.")
        return " ".join(found)

    def _is_in_time(self, option: Option) -> bool:
        return option.seconds <= self.deadline_s * (1 + _SLACK)

    def _is_paid(self, option: Option) -> bool:
        return _by_money(option)[0] <= self.budget_usd * (1 + _SLACK)

    def _over(self, option: Option) -> str:
        return f": {money(option.usd - self.budget_usd)} more than the budget" if option.usd is not None else ""


def _by_time(option: Option) -> tuple[float, float]:
    return option.seconds, option.usd or 0.0


def _by_money(option: Option) -> tuple[float, float]:
    return math.inf if option.usd is None else option.usd, option.seconds


def _text(option: Option) -> str:
    """Returns "(rubberband) takes 12 min 05 s and costs 3.20 USD"."""
    costs = "" if option.usd is None else f" and costs {money(option.usd)}"
    return f"({option.policy}) takes {duration(option.seconds)}{costs}"


def pool_options(predictions: Iterable[Prediction], pool: Pool) -> list[Option]:
    """Returns an option for each number of devices per trial in a fixed pool, which is paid from beginning to end."""

    def usd(found: Prediction) -> float | None:
        return None if pool.usd_per_device_hour is None else usd_of(pool, pool.size * found.seconds)

    return [Option("fixed pool", found.seconds, usd(found), found) for found in predictions]


def rented_options(job: Job, kind: NodeKind, wish: Wish) -> list[Option]:
    """Returns every static plan, and the elastic plans that could be best or come closest."""
    asked: tuple[Callable[[], Plan], ...] = (
        lambda: cheapest_plan(job, kind, wish.deadline_s),
        lambda: fastest_plan(job, kind, wish.budget_usd),
        lambda: fastest_plan(job, kind),
        lambda: cheapest_plan(job, kind),
    )
    elastic = [plan for ask in asked if (plan := _or_none(ask)) is not None]
    return [_option(plan) for plan in (*static_plans(job, kind), *elastic)]


def _or_none(ask: Callable[[], Plan]) -> Plan | None:
    """Returns the plan; None if the limit cannot be met."""
    try:
        return ask()
    except ArgumentError:
        return None


def _option(plan: Plan) -> Option:
    return Option(plan.policy, plan.seconds, plan.usd, plan)


def expected_stages(scheduler: Scheduler, trials: int) -> tuple[Stage, ...]:
    """Returns how many trials are expected to train to each rung, as stages that follow each other.

    Successive halving trains exactly like this. For an asynchronous scheduler, which begins each stage before the last
    trial of the one before has ended, the stages are an approximation.
    """
    expected = scheduler.expected(trials)
    levels = [0, *(level for level, _ in expected)]
    return tuple(Stage(n, level - below) for (level, n), below in zip(expected, levels, strict=False) if n > 0)


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """All options, and those to show: each of a pool, and one per policy of rented nodes.

    Attributes:
        alone_usd: the least cost of a single trial, trained to the end; None if it is unknown.
    """

    wish: Wish
    options: Sequence[Option]
    alone_usd: float | None = None

    @property
    def shown(self) -> list[Option]:
        """The options for a table."""
        rented = [option for option in self.options if isinstance(option.source, Plan)]
        policies = dict.fromkeys(option.policy for option in rented)
        best = [self.wish.shown([option for option in rented if option.policy == policy]) for policy in policies]
        return [*(option for option in self.options if isinstance(option.source, Prediction)), *best]

    @property
    def chosen(self) -> Option | None:
        """The best option within the limits; None if there is none."""
        return self.wish.best(self.shown)

    @property
    def relaxed(self) -> str:
        """What would make a plan possible; empty if there is one."""
        if self.chosen is not None:
            return ""
        text = self.wish.relaxed(self.options)
        if self.alone_usd is not None and self.alone_usd > self.wish.budget_usd:
            text += f" One trial alone, trained to the end, costs at least {money(self.alone_usd)}."
        return text
