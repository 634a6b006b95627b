"""A study within a deadline and a budget: how many trials begin, which continue, and on how many devices.

The principle is that of SEER (see `seer`, which makes the plans and says what is our own): trials begin on one device
each, and speed is bought late, for the few that remain. This policy runs a study by such plans. It is asked when each
stage begins, with what the study has measured, and with the time and the money that are left.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.billing import rule_of
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.policy import AllocationPolicy, powers_of_two
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.schedulers.rungs import quota
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.seer import Halving, SeerPlan, seer_plan
from lightning_hwtune.text import counted
from lightning_hwtune.views.amounts import duration, money

__all__ = ["SeerAllocation", "pool_kind"]

_MOST_TRIALS = 1000
_MOST_NODES = 256
_FEW = 8  # with fewer devices, each of them trains a second trial in the first wave: the first one has to import
# the part of the time and money left that is planned before the first stage ends, and later; the rest is for what takes
# longer than expected. Later, all of it is planned if a deeper rung can be reached only so.
_FIRST, _LATER, _ALL = 0.85, 0.95, 1.0


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class SeerAllocation(AllocationPolicy):
    """As many trials as a deadline and a budget allow, and more devices for the last ones if the deadline requires it.

    For a study with `SuccessiveHalving`, `max_time` or `max_cost`, or both. Each stage is planned when it begins: the
    number of its trials, and the devices of each. The first stage has the most trials for which one can be trained to
    the end within the limits. After each stage, at most one in eta trials continues, and fewer if time or money ran
    short. If no trial can be trained to the end, the last ones train to the deepest rung that they can reach, and the
    best one continues from there until the limits end it.

    Without `unit_s`, the first trials show the pace: one or two per device of the pool, or of one rented node. The
    number of trials is planned when they have reached the first rung. Without `speeds`, trials on g devices are assumed
    to be g ** 0.8 times as fast, until this is measured: if a later stage may need more devices, one trial tries twice
    as many as were measured, unless these are more than a quarter of the pool, and more than two.

    Seconds and costs are given at one device.

    Args:
        max_devices: maximum number of devices per trial; None for the whole pool.
        unit_s: seconds of one epoch (or step, or sample) on one device, used until the study has measured it.
        speeds: mapping from the number of devices to the speed of a trial, in any unit, used until the study has
            measured it.
        start_s: seconds to start a trial, used until the study has measured it.

    Examples:
        >>> space, pool = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Pool("cpu", 6)
        >>> hwt.SeerAllocation().counts(space, pool)
        (1, 2, 4)
    """

    name: ClassVar[str] = "seer"
    plans_stages: ClassVar[bool] = True
    needs_limits: ClassVar[bool] = True
    reference: ClassVar[int | None] = 1
    max_devices: int | None = None
    unit_s: float | None = None
    speeds: Mapping[Any, float] | None = None
    start_s: float = 0.0

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns the powers of two up to the most devices of a trial.

        Raises:
            ArgumentError: `max_devices` is more than the pool has.
        """
        return powers_of_two(self, self.max_devices, pool)

    def first_counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        """Returns all counts, because a stage of few trials may begin on several devices."""
        return self.counts(space, pool)

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        """Returns one device, where no stage is planned."""
        return Allocation(1)

    def begin(self, moment: Moment) -> Allocation:
        """Returns the devices of a trial of the first stage."""
        return self.next(moment)

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices of the stage, or those of its probe, if they divide the trial's batch sizes."""
        stage, allowed = moment.stage, moment.counts
        if stage is None:
            return moment.allocation
        probe = stage.probe
        if probe in allowed and probe not in moment.others and not moment.speeds[probe].is_measured:
            return _on(moment, probe)
        return _on(moment, max((count for count in allowed if count <= stage.devices), default=min(allowed)))

    def stage(self, moment: StageMoment) -> StagePlan:
        """Returns how many trials train in a stage, and on how many devices each."""
        unit_s = moment.unit_s or self.unit_s or 0.0
        most = _MOST_TRIALS if moment.most is None else min(moment.most, _MOST_TRIALS)
        if moment.left_s == moment.left_usd == math.inf:
            n_trials = min(most, math.ceil(moment.eta ** (len(moment.levels) - 1)))
            text = f"{counted(n_trials, 'trials')} train to {moment.next_level}; there is no deadline and no budget"
            return StagePlan(trials=max(n_trials, moment.n_begun), devices=1, reason=text, up_to=moment.levels[-1])
        if unit_s == 0:
            return _first_wave(moment, most)
        found = self._planned(moment, unit_s, most)
        if isinstance(found, SeerPlan):
            return _stage_of(moment, found, self._probe(moment, found))
        text = f"{_left_text(moment)} are not enough to train one trial to {moment.next_level}"
        if moment.reached == 0:
            return StagePlan(trials=moment.n_begun, devices=1, reason=text)
        known = {count: speed for count, (speed, is_known) in self._speeds(moment).items() if is_known}
        fastest = max(known, key=lambda count: (known[count], -count))
        return StagePlan(trials=1, devices=fastest, reason=f"{text}; the best continues until the limits end it")

    def _planned(self, moment: StageMoment, unit_s: float, most: int) -> SeerPlan | None:
        """Returns the plan with the most trials to the deepest rung; of equal ones, that by measured speeds only."""
        every, start_s = self._speeds(moment), moment.start_s or self.start_s
        known = {count: speed for count, (speed, is_known) in every.items() if is_known}
        likely = {count: speed for count, (speed, _) in every.items()}
        best: SeerPlan | None = None
        for part in (_FIRST,) if moment.reached == 0 else (_LATER, _ALL):
            for speeds in (known, likely):
                found = _plan(moment, Halving(moment.levels, moment.eta, unit_s, speeds, start_s), most, part)
                if found is not None and (best is None or _rank(found, part) > _rank(best, part)):
                    best = found
            if best is not None and best.up_to == moment.levels[-1]:
                break
        return best

    def _speeds(self, moment: StageMoment) -> dict[int, tuple[float, bool]]:
        """Returns the speed on each number of devices, and whether it is known."""
        found = {}
        for count, speed in moment.speeds.items():
            own = None if speed.is_measured else (self.speeds or {}).get(str(count))
            found[count] = (speed.factor, speed.is_measured) if own is None else (own, True)
        return found

    def _probe(self, moment: StageMoment, found: SeerPlan) -> int:
        """Returns the devices of the trial that shows how the training scales; 0 if none is due."""
        wanted = max(stage.devices for stage in found.plan.stages)
        unknown = [count for count, (_, is_known) in self._speeds(moment).items() if not is_known]
        if found.trials < 2 or moment.reached == 0 or not unknown or wanted < unknown[0]:
            return 0
        devices = found.plan.stages[0].devices
        return unknown[0] if devices < unknown[0] <= max(moment.pool.size // 4, 2) else 0


def pool_kind(pool: Pool, launch_s: float = 0.0) -> NodeKind:
    """Returns the nodes of a pool: rented ones, the machine itself, or its devices if each is paid while in use."""
    price = (pool.usd_per_device_hour or 0.0) * pool.node_size
    if pool.instance is not None:
        usd_per_hour = pool.instance.price(spot=pool.spot)
        return NodeKind(pool.node_size, min(pool.n_nodes, _MOST_NODES), usd_per_hour, launch_s, rule_of(pool.instance))
    if price == 0 or pool.size > _MOST_NODES:
        return NodeKind(pool.size, 1, price)
    return NodeKind(1, pool.size, price / pool.size)


def _on(moment: Moment, devices: int) -> Allocation:
    return moment.allocation if devices == moment.allocation.devices else Allocation(devices)


def _first_wave(moment: StageMoment, most: int) -> StagePlan:
    """Returns a stage whose trials show the pace."""
    size = moment.pool.node_size
    n_trials = max(min(most, max(size, min(2 * size, _FEW))), moment.n_begun)
    verb = "shows" if n_trials == 1 else "show"
    text = f"{counted(n_trials, 'trials')} {verb} the pace; how many more begin is planned after that"
    return StagePlan(trials=n_trials, devices=1, reason=text, up_to=moment.next_level, nodes=1, is_first_wave=True)


def _plan(moment: StageMoment, study: Halving, most: int, part: float) -> SeerPlan | None:
    """Returns the plan of a part of what is left; None if one trial cannot reach the next rung."""
    study = dataclasses.replace(study, reached=moment.reached, begun=moment.n_begun)
    kind, limits = pool_kind(moment.pool, moment.launch_s), (part * moment.left_s, part * moment.left_usd)
    try:
        return seer_plan(study, kind, max(most, study.begun, 1), deadline_s=limits[0], budget_usd=limits[1])
    except ArgumentError:
        return None


def _rank(plan: SeerPlan, part: float) -> tuple[int, int]:
    """Returns a number that is larger for a better plan; of all that is left, only a deeper rung is better."""
    return plan.up_to, plan.trials if part < _ALL else 0


def _stage_of(moment: StageMoment, found: SeerPlan, probe: int) -> StagePlan:
    """Returns the first stage of a plan of what is left, with the plan in words."""
    more, n_left = list[int](), found.trials
    for _ in (level for level in moment.levels if moment.next_level < level <= found.up_to):
        n_left = max(1, quota(n_left, moment.eta))
        more.append(n_left)
    after = f", then {', '.join(map(str, more))}" if more else ""
    total = f"{duration(found.plan.seconds)}{_cost_text(moment, found.plan.usd)}"
    n_here, first = found.trials - moment.n_begun, found.plan.stages[0]
    if n_here == 0:
        text = f"no further trial begins; {', '.join(map(str, more))} continue to {found.up_to}, in {total}"
        return StagePlan(trials=found.trials, devices=1, reason=text, up_to=found.up_to)
    verb = ("begin" if moment.reached == 0 else "continue") + ("s" if found.trials == 1 else "")
    each = f"{counted(found.trials, 'trials')} {verb} on {counted(first.devices, 'devices')}"
    each += " each" if found.trials > 1 else ""
    text = f"{each}{after}, to {found.up_to}: {total}, of {_left_text(moment)}"
    if probe:
        text += f"; one of them on {counted(probe, 'devices')}, to measure the speed there"
    return StagePlan(
        trials=found.trials,
        devices=first.devices,
        reason=text,
        up_to=found.up_to,
        nodes=first.nodes,
        seconds=first.ends_s - first.begins_s,
        rest_s=found.plan.seconds - first.ends_s,
        probe=probe,
    )


def _cost_text(moment: StageMoment, usd: float) -> str:
    return "" if moment.left_usd == math.inf else f" and {money(usd)}"


def _left_text(moment: StageMoment) -> str:
    """Returns what is left: "2 min 05 s and 0.20 USD"."""
    parts = [duration(moment.left_s)] if moment.left_s < math.inf else []
    parts += [money(moment.left_usd)] if moment.left_usd < math.inf else []
    return " and ".join(parts)
