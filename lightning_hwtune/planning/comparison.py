"""Plans of several policies, side by side: which of them meet a deadline and a budget, and what would, if none does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.planning.advisor import Prediction
from lightning_hwtune.planning.plan import Plan
from lightning_hwtune.planning.spread import Spread
from lightning_hwtune.text import counted
from lightning_hwtune.views.amounts import duration, money

__all__ = ["DEADLINE", "SEER", "Comparison", "Option", "Wish"]

SEER = "seer"
DEADLINE = "deadline"
"""The policies that choose the number of trials themselves: by a plan, and by training until the deadline."""

_SLACK = 1e-9  # a limit that is exceeded by less than this, relative, is met


@final
@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a study.

    Attributes:
        policy: "fixed pool", "static", "rubberband", "seer" or "deadline".
        seconds: predicted seconds of the whole study. usd: predicted cost; None without a price.
        source: the plan or the prediction.
        trials: how many trials begin.
        held: devices of the pool, or of one rented node.
        spread: the range of time and cost, where trials differ in speed; None if it was not computed.
    """

    policy: str
    seconds: float
    usd: float | None
    source: Plan | Prediction
    trials: int
    held: int
    spread: Spread | None = None

    @property
    def devices_over_time(self) -> list[tuple[float, float, int]]:
        """Begin, end and number of the devices that are paid, one entry per stage; one entry for a pool."""
        if isinstance(self.source, Prediction):
            return [(0.0, self.seconds, self.held)]
        return [(stage.begins_s, stage.ends_s, stage.nodes * self.held) for stage in self.source.stages]

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

    def late_by_s(self, wish: Wish) -> float:
        """Returns by how much it misses the deadline at most, where trials differ in speed; 0 if it does not."""
        most_s = self.seconds if self.spread is None else self.spread.most_s
        return max(most_s - wish.deadline_s, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        found: dict[str, Any] = {"policy": self.policy, "trials": self.trials, "devices": self.devices}
        found |= {"nodes": self.nodes, "seconds": self.seconds, "usd": self.usd}
        if self.spread is not None:
            found |= dataclasses.asdict(self.spread)
        if isinstance(self.source, Prediction):
            return {**found, "used": self.source.used}
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


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """All options, and those to show: each of a pool, and one per policy of rented nodes.

    Attributes:
        alone_usd: the least cost of a single trial, trained to the end; None if it is unknown.
        policy: the policy whose best option is chosen; None for any.
    """

    wish: Wish
    options: Sequence[Option]
    alone_usd: float | None = None
    policy: str | None = None

    @property
    def shown(self) -> list[Option]:
        """The options for a table."""
        rented = [option for option in self.options if isinstance(option.source, Plan)]
        policies = dict.fromkeys(option.policy for option in rented)
        best = [self.wish.shown([option for option in rented if option.policy == policy]) for policy in policies]
        return [*(option for option in self.options if isinstance(option.source, Prediction)), *best]

    @property
    def chosen(self) -> Option | None:
        """The best option within the limits; None if there is none.

        `SEER` and `DEADLINE` have another number of trials, so they are chosen only if they are given as the policy.
        """
        if self.policy is None:
            return self.wish.best(self._with_all_trials)
        return self.wish.best(option for option in self.shown if option.policy == self.policy)

    @property
    def _with_all_trials(self) -> list[Option]:
        return [option for option in self.shown if option.policy not in (SEER, DEADLINE)]

    @property
    def relaxed(self) -> str:
        """What would make a plan possible; empty if there is one."""
        if self.chosen is not None:
            return ""
        text = self.wish.relaxed([option for option in self.options if option.policy not in (SEER, DEADLINE)])
        if self.alone_usd is not None and self.alone_usd > self.wish.budget_usd:
            text += f" One trial alone, trained to the end, costs at least {money(self.alone_usd)}."
        if fewer := [option for option in self.shown if option.policy == SEER]:
            text += (
                f" With {counted(fewer[0].trials, 'trials')}, a SEER-style plan is within the limits (--policy seer)."
            )
        return text
