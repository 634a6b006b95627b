"""Objectives: what a study optimises. Only this module turns named values into a vector of losses to minimise.

The kinds of objectives are in `core.objective_kinds`. Inside the core every objective is minimised. A value that is not
finite becomes NaN there and ranks below all others. Values that are equal up to the resolution of their objective
become the same loss (`core.resolution`). If a value violates a bound, the trial's losses put it behind all feasible
ones (`core.feasibility`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.constraints import MEASURED_IN_TRAINING, Constraint, Violation, violation_text
from lightning_hwtune.core.feasibility import LARGEST_LOSS, place_of
from lightning_hwtune.core.objective_kinds import (
    MEASURED,
    RESOLUTION,
    Cost,
    DeviceSeconds,
    Energy,
    Metric,
    Objective,
    PeakMemory,
    TrainSeconds,
    changed_settings,
    objective_from_data,
)
from lightning_hwtune.core.resolution import rounded
from lightning_hwtune.errors import ArgumentError, MetricError, nearest
from lightning_hwtune.forms import checked_call, elements

__all__ = [
    "RESOLUTION",
    "Cost",
    "DeviceSeconds",
    "Energy",
    "Metric",
    "Objective",
    "Objectives",
    "PeakMemory",
    "TrainSeconds",
]

_MAX_OBJECTIVES = 1000  # with more, practically every trial is on the front
_LIST = elements("a list such as [Metric('val_loss', 'min'), TrainSeconds()]", _MAX_OBJECTIVES)
_CONSTRAINTS = elements("a list such as [Constraint('params', at_most=1e6)]", _MAX_OBJECTIVES)


@final
class Objectives(Sequence[Objective]):
    """The objectives of a study, in order, and its constraints. The first objective breaks ties and determines the best
    trial.

    Raises:
        ArgumentError: a bare string (its direction would be a guess), an empty list, or two objectives of one name.
    """

    __slots__ = ("_bounds", "_cells", "_constraints", "_items", "_names", "_plain_signs", "_recorded", "_signs")

    @checked_call("Objectives")
    def __init__(
        self, items: Iterable[Objective] | Objective, constraints: Iterable[Constraint] | Constraint = ()
    ) -> None:
        given = [items] if isinstance(items, Objective) else items
        listed = list(given) if isinstance(given, Objectives) else _LIST.read("objectives", given)
        for item in listed:
            if isinstance(item, Constraint):
                raise ArgumentError(
                    "objectives", item, "objectives only", hint=f"Give it as a constraint: constraints=[{item!r}]."
                )
            if not isinstance(item, Objective):
                wanted = f"Metric({item!r}, 'min'), Metric({item!r}, 'max')" if isinstance(item, str) else "Metric(...)"
                raise ArgumentError(
                    "objectives",
                    item,
                    ", ".join([wanted, *(f"{cls.__name__}()" for cls in MEASURED.values())]),
                    hint="An objective needs a direction.",
                )
        if not listed:
            raise ArgumentError("objectives", listed, "at least one objective")
        names = [item.name for item in listed]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ArgumentError(
                "objectives", names, "objectives with different names", hint=f"{twice[0]!r} occurs twice."
            )
        self._items: tuple[Objective, ...] = tuple(listed)
        self._plain_signs = [1.0 if item.mode == "min" else -1.0 for item in listed]
        self._signs = np.array(self._plain_signs)
        self._names = tuple(names)
        self._cells = [(index, item.resolution, item.is_measured) for index, item in enumerate(listed)]
        self._cells = [cell for cell in self._cells if cell[1] > 0]
        inherited = items.constraints if isinstance(items, Objectives) else ()
        self._constraints = (*inherited, *_checked_constraints(constraints, listed, inherited))
        self._recorded = tuple(dict.fromkeys([*names, *(item.name for item in self._constraints)]))
        bounded = [item for item in listed if isinstance(item, Metric) and _is_bounded(item)]
        self._bounds: list[tuple[str, float | None, float | None]] = [
            *((item.name, item.at_most, item.at_least) for item in bounded),
            *((item.name, *item.bounds) for item in self._constraints),
        ]

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Objective]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objectives):
            return False
        return (self._items, self._constraints) == (other._items, other._constraints)

    def __hash__(self) -> int:
        return hash((self._items, self._constraints))

    def __repr__(self) -> str:
        more = f", {list(self._constraints)!r}" if self._constraints else ""
        return f"Objectives({list(self._items)!r}{more})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return self._names

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names that the training code must log, those of constraints last."""
        return tuple(item.name for item in (*self._items, *self._constraints) if not item.is_measured)

    @property
    def logged(self) -> tuple[str, ...]:
        """The names of the objectives that the training code must log."""
        return tuple(item.name for item in self._items if not item.is_measured)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The bounds on quantities that are not objectives."""
        return self._constraints

    @property
    def bounds(self) -> Sequence[tuple[str, float | None, float | None]]:
        """Name, `at_most` and `at_least` of every quantity that has a bound: objectives first, then constraints."""
        return self._bounds

    @property
    def is_constrained(self) -> bool:
        """Whether any quantity has a bound."""
        return bool(self._bounds)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names of all values that a measurement has: those of the objectives, then those of constraints."""
        return self._recorded

    @property
    def measured_in_training(self) -> tuple[str, ...]:
        """The names of quantities that the process of a training measures and reports with the metrics."""
        measured = [*(item for item in self._items if item.is_measured), *self._constraints]
        return tuple(dict.fromkeys(item.name for item in measured if item.name in MEASURED_IN_TRAINING))

    @property
    def across_ranks(self) -> dict[str, str]:
        """Name -> the rule that combines the values of several ranks; "mean" for names that are not in it."""
        rules = {item.name: item.across_ranks for item in self._items if isinstance(item, Metric)}
        return rules | dict.fromkeys(self.measured_in_training, "sum")

    @property
    def best_so_far(self) -> tuple[Metric, ...]:
        """The metrics for which a trial keeps its best value."""
        return tuple(item for item in self._items if isinstance(item, Metric) and item.best)

    @property
    def exact(self) -> Objectives:
        """The same objectives without resolutions, for example to measure what a simulated study has found."""
        return Objectives([dataclasses.replace(item, resolution=0.0) for item in self._items], self._constraints)

    def require(self, values: Mapping[str, float]) -> None:
        """Checks that every objective and every constraint has a value.

        Raises:
            MetricError: one has no value.
        """
        self._require(self._recorded, values)

    def _require(self, names: Sequence[str], values: Mapping[str, float]) -> None:
        for name in names:
            if name not in values:
                kind = "objective" if name in self._names else "constraint"
                raise MetricError(
                    f"no value for {kind} {name!r}; values were logged for {sorted(values)}{nearest(name, values)}"
                )

    def loss(self, values: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """Returns the loss vector to minimise, shape `(n_objectives,)`; a value that is not finite becomes NaN.

        Each value is rounded to the resolution of its objective. If all are finite and a bound is violated, all losses
        are the violator's place; see `feasibility`. Bounds apply to exact values.

        Raises:
            MetricError: an objective has no value.
        """
        self._require(self._names, values)
        raw = [float(values[name]) for name in self.names]
        for index, resolution, is_relative in self._cells:
            raw[index] = rounded(raw[index], resolution, is_relative=is_relative)
        # plain floats are several times faster than arrays at this length, and every report passes through here
        pairs = zip(raw, self._plain_signs, strict=True)
        loss = np.array([value * sign if math.isfinite(value) else math.nan for value, sign in pairs])
        if not self._bounds or not np.isfinite(loss).all():
            return loss
        violation = self.violation(values)
        return np.full(len(loss), place_of(violation)) if violation > 0 else np.minimum(loss, LARGEST_LOSS)

    def violations(self, values: Mapping[str, float]) -> list[Violation]:
        """Returns the bounds that these values violate; a quantity without a value violates nothing."""
        found = (
            Violation.of(name, float(values[name]), at_most, at_least)
            for name, at_most, at_least in self._bounds
            if name in values
        )
        return [violation for violation in found if violation is not None]

    def violation(self, values: Mapping[str, float]) -> float:
        """Returns the sum of the relative amounts by which bounds are violated; 0 for a feasible trial."""
        return sum(item.relative for item in self.violations(values)) if self._bounds else 0.0

    def infeasible(self, values: Mapping[str, float]) -> str:
        """Returns which bounds are violated and by how much, as text; empty for a feasible trial."""
        return violation_text(self.violations(values)) if self._bounds else ""

    def final_violations(self, values: Mapping[str, float]) -> list[Violation]:
        """Returns the violations that further training cannot change; see `Constraint.is_final`."""
        final = {item.name for item in self._constraints if item.is_final(float(values.get(item.name, math.nan)))}
        return [item for item in self.violations(values) if item.name in final] if final else []

    def losses(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Returns the loss matrix of `values`, shape `(n_points, n_objectives)`, as `loss` does for one row.

        Bounds are not considered here, because the values of constraints are not among `values`.

        Raises:
            ArgumentError: the number of columns is wrong.
        """
        raw = np.asarray(values, dtype=np.float64)
        if raw.ndim != 2 or raw.shape[1] != len(self):
            raise ArgumentError("values", f"shape {raw.shape}", f"shape (n_points, {len(self)})")
        if self._cells:
            raw = raw.copy()
        for index, resolution, is_relative in self._cells:  # one by one, so that both ways give exactly the same
            raw[:, index] = [rounded(x, resolution, is_relative=is_relative) for x in raw[:, index].tolist()]
        return np.where(np.isfinite(raw), raw * self._signs, math.nan)

    def to_dict(self) -> list[dict[str, Any]]:
        """Returns plain data for the log; `from_dict` reads it back."""
        return [
            {"name": item.name, "mode": item.mode, "unit": item.unit, **changed_settings(item)} for item in self._items
        ]

    @classmethod
    def from_dict(cls, data: Sequence[Mapping[str, Any]], constraints: Sequence[Any] = ()) -> Objectives:
        """Returns the objectives that `to_dict` described, with the constraints of `Constraint.to_dict`.

        Raises:
            ArgumentError, UnknownArgumentError: the data has another form.
        """
        items = [objective_from_data(form) for form in _FORMS.read("objectives", data)]
        return cls(items, [Constraint.from_dict(form) for form in constraints])


def _is_bounded(item: Metric) -> bool:
    return item.at_most is not None or item.at_least is not None


def _checked_constraints(
    given: object, objectives: Sequence[Objective], others: Sequence[Constraint]
) -> tuple[Constraint, ...]:
    """Returns the given constraints as a tuple.

    Raises:
        ArgumentError: one is not a `Constraint`, two have one name, or one bounds a metric that is an objective.
    """
    listed = [given] if isinstance(given, Constraint) else _CONSTRAINTS.read("constraints", given)
    metrics = {item.name: item for item in objectives if isinstance(item, Metric)}
    seen = {other.name for other in others}
    for item in listed:
        if not isinstance(item, Constraint):
            raise ArgumentError("constraints", item, "Constraint('params', at_most=1e6)")
        if (metric := metrics.get(item.name)) is not None:
            at_most, at_least = item.bounds
            bounds = {"at_most": at_most, "at_least": at_least}
            given_bounds = ", ".join(f"{key}={value:g}" for key, value in bounds.items() if value is not None)
            hint = f"Write the bound in the objective: `Metric({item.name!r}, {metric.mode!r}, {given_bounds})`."
            raise ArgumentError(
                "constraints", item, "constraints on quantities that are not metrics to optimise", hint=hint
            )
        if item.name in seen:
            hint = f"{item.name!r} occurs twice. One Constraint takes both `at_most` and `at_least`."
            raise ArgumentError("constraints", [other.name for other in listed], "different names", hint=hint)
        seen.add(item.name)
    return tuple(listed)


_FORMS = elements("a list such as [{'name': 'val_loss', 'mode': 'min'}]", _MAX_OBJECTIVES)
