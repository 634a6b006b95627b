"""How many configurations a space with conditions has, and how many of its draws the batch rule allows.

The parameters are divided into groups that do not depend on each other, and each group into cases in which the same
parameters are active. So the counts are exact, and no configuration is listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.batch_rule import BatchRule
from lightning_hwtune.core.conditions import Case, Conditions
from lightning_hwtune.core.parameters import Float, Parameter

__all__ = ["Counts", "counts_of"]


@final
@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of a space or of a group of its parameters.

    Attributes:
        allowed: number of configurations that the batch rule allows. all: number of all configurations.
        share: share of all draws that the rule allows.
    """

    allowed: int
    all: int
    share: float


def counts_of(
    params: Mapping[str, Parameter], conditions: Conditions, rule: BatchRule | None, points_per_float: int = 1
) -> Counts:
    """Returns the counts of a space; each `Float` counts as `points_per_float` values.

    Raises:
        ArgumentError: a batch size is not an integer parameter.
    """
    tied = (rule.devices_key, *rule.keys) if rule else ()
    n_allowed, n_all, share = 1, 1, 1.0
    for group in conditions.groups(tied):
        of_group = rule if tied and tied[0] in group else None
        cases = [
            _of_case(case, group, params, conditions, of_group, points_per_float) for case in conditions.cases(group)
        ]
        n_allowed *= sum(case.allowed for case in cases)
        n_all *= sum(case.all for case in cases)
        if of_group is not None:
            share = math.fsum(case.share for case in cases)
    return Counts(n_allowed, n_all, 1.0 if n_allowed == n_all else share)


def _of_case(
    case: Case,
    group: list[str],
    params: Mapping[str, Parameter],
    conditions: Conditions,
    rule: BatchRule | None,
    points_per_float: int,
) -> Counts:
    active = [name for name in group if conditions.is_active_in(name, case)]
    tied = {rule.devices_key, *rule.keys} if rule else set()
    n, mass = 1, 1.0
    for name in active:
        parameter = params[name]
        if name in tied:
            continue
        n *= len(case[name]) if name in case else parameter.n_values or points_per_float
        if name in case and not isinstance(parameter, Float):
            mass *= float(parameter.masses()[case[name]].sum())
    if rule is None:
        return Counts(n, n, mass)
    keys = tuple(key for key in rule.keys if key in active)
    n_tied, n_dividing, share = BatchRule(rule.devices_key, keys).counted(params, case)
    return Counts(n * n_dividing, n * n_tied, mass * share)
