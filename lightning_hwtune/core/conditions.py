"""Which parameters of a space exist in a configuration: those whose conditions hold.

A parameter with a condition (`when`) exists if each parameter that it names exists and has one of the values named. A
parameter that does not exist is *inactive*: its name is not in the configuration. Its draws and its coordinates are
ignored, so they change nothing.

All conditions are checked when the space is made: names, values, cycles, and whether they can hold at all. The
conditions of a parameter's parents are added to its own. So a parameter is active if and only if each of its ancestors
has one of certain values, and no order of evaluation is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters import Choice, Float, Int, NumDevices, Parameter
from lightning_hwtune.core.parameters.options import option_key
from lightning_hwtune.errors import ArgumentError, nearest, shown

__all__ = ["MAX_CASES", "Case", "Conditions"]

MAX_CASES = 20_000
"""The maximum number of cases that conditions may distinguish; counting them takes a tenth of a second."""

_MAX_VALUES = 100_000  # of an Int that others depend on
_CYCLE = "conditions that do not form a cycle"
T = TypeVar("T")

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Case = Mapping[str, Places]
"""The active parents of one case -> the positions, among their values, that belong to the case."""


@final
class Conditions:
    """The conditions of one space.

    Attributes:
        order: the names, in which parents come before the parameters that depend on them.
    """

    __slots__ = ("_allowed", "_keys", "_params", "order")

    def __init__(
        self, params: Mapping[str, Parameter], keys: Mapping[str, Mapping[str, frozenset[Hashable]]], order: list[str]
    ) -> None:
        self._params, self._keys, self.order = params, keys, tuple(order)
        self._allowed: dict[str, dict[str, Mask]] = {}  # the same as masks of the ancestor's values

    @classmethod
    def of(cls, params: Mapping[str, Parameter]) -> Self:
        """Returns the conditions of these parameters.

        Raises:
            ArgumentError: a condition names an unknown parameter or a value that it does not have, forms a cycle, or
                can never hold.
        """
        for name, parameter in params.items():
            for parent, values in (parameter.when or {}).items():
                _check_parent(name, parameter.when, parent, params)
                for value in values:
                    _check_value(name, parent, value, params[parent])
        keys: dict[str, Mapping[str, frozenset[Hashable]]] = {}
        order = _ordered(params)
        for name in order:
            if params[name].when is not None:
                keys[name] = _with_ancestors(name, params, keys)
        found = cls(params, keys, order)
        if keys:
            found._check_cases()
        return found

    def __bool__(self) -> bool:
        return bool(self._keys)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Returns whether a parameter exists, given the values of the others; only those of its ancestors matter."""
        needed = self._keys.get(name)
        if needed is None:
            return True
        return all(parent in values and option_key(values[parent]) in keys for parent, keys in needed.items())

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Returns the parameters whose values decide whether a parameter exists."""
        return tuple(self._keys.get(name, ()))

    def kept(self, values: Mapping[str, T]) -> dict[str, T]:
        """Returns the values without those of inactive parameters."""
        if not self._keys:
            return dict(values)
        return {name: value for name, value in values.items() if self.is_active(name, values)}

    def reason(self, name: str, values: Mapping[str, Any]) -> str:
        """Returns why a parameter with a condition exists or does not exist in a configuration.

        The reason names the own condition, unless a parent does not exist: then it is that of the parent.
        """
        when = self._params[name].when or {}
        absent = next((parent for parent in when if not self.is_active(parent, values)), None)
        if absent is not None:
            return f"{name} exists only when {when}, and {self.reason(absent, values)}"
        here = " and ".join(f"{parent} is {shown(values[parent])}" for parent in when if parent in values)
        return f"{name} exists only when {when}" + (f"; here {here}" if here else "")

    # ------------------------------------------------------------------ many configurations at once

    def mask(self, name: str, places: Mapping[str, Places], n: int) -> Mask:
        """Returns in which of `n` configurations a parameter is active.

        Args:
            places: the position of each value among the parameter's values, shape `(n,)`; any for an inactive one.
        """
        mask = np.ones(n, dtype=np.bool_)
        for parent in self._keys.get(name, ()):
            mask &= self._allowed_of(name, parent)[places[parent]]
        return mask

    def numbers(self, sizes: Mapping[str, int]) -> Places:
        """Returns the numbers of all distinct combinations, ascending; an inactive parameter has its first value.

        Args:
            sizes: number of values of each parameter. The numbers are those of `Combinations`.
        """
        places: dict[str, Places] = {}
        n = 1
        for name in self.order:
            repeats = np.where(self.mask(name, places, n), sizes[name], 1)
            rows = np.repeat(np.arange(n), repeats)
            first = np.cumsum(repeats) - repeats
            n = len(rows)
            places = {other: found[rows] for other, found in places.items()}
            places[name] = np.arange(n) - first[rows]
        number = np.zeros(n, dtype=np.int64)
        for name, size in sizes.items():
            number = number * size + places[name]
        return np.sort(number)

    # ------------------------------------------------------------------ cases

    def groups(self, joined: Iterable[str] = ()) -> list[list[str]]:
        """Returns the parameters in groups that do not depend on each other.

        Args:
            joined: names that belong together for another reason.
        """
        links = [(name, parent) for name in self._params for parent in self._params[name].when or ()]
        root = {name: name for name in self._params}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        for one, other in (*links, *itertools.pairwise(joined)):
            root[find(one)] = find(other)
        found: dict[str, list[str]] = {}
        for name in self.order:
            found.setdefault(find(name), []).append(name)
        return list(found.values())

    def cases(self, group: Sequence[str]) -> list[Case]:
        """Returns the cases of a group. Within each, the same parameters are active."""
        cases: list[dict[str, Places]] = [{}]
        for name in group:
            parts = self._parts(name)
            if parts:
                cases = [
                    found
                    for case in cases
                    for found in ([{**case, name: part} for part in parts] if self.is_active_in(name, case) else [case])
                ]
            if len(cases) > MAX_CASES:
                raise ArgumentError(
                    name,
                    self._params[name],
                    f"conditions that distinguish at most {MAX_CASES} cases",
                    hint="Conditions on fewer values, or on fewer parameters, distinguish fewer.",
                )
        return list(cases)

    def is_active_in(self, name: str, case: Case) -> bool:
        """Returns whether a parameter is active in a case."""
        return all(
            parent in case and bool(self._allowed_of(name, parent)[case[parent][0]])
            for parent in self._keys.get(name, ())
        )

    def _parts(self, parent: str) -> list[Places]:
        """Returns the positions of a parent's values, in parts between which no condition distinguishes."""
        masks = [self._allowed_of(name, parent) for name, needed in self._keys.items() if parent in needed]
        if not masks:
            return []
        _, part = np.unique(np.array(masks), axis=1, return_inverse=True)
        return [np.flatnonzero(part.reshape(-1) == index) for index in range(int(part.max()) + 1)]

    def _allowed_of(self, name: str, parent: str) -> Mask:
        """Returns which values of a parent allow a parameter, shape `(n_values,)`."""
        of_name = self._allowed.setdefault(name, {})
        if parent not in of_name:
            levels = (option_key(level) for level in _levels(self._params[parent]))
            keys = self._keys[name][parent]
            of_name[parent] = np.array([level in keys for level in levels], dtype=np.bool_)
        return of_name[parent]

    def _check_cases(self) -> None:
        for group in self.groups():
            self.cases(group)


def _levels(parent: Parameter) -> Sequence[Any]:
    assert not isinstance(parent, Float)
    return parent.levels()


def _check_parent(name: str, when: Mapping[str, Any] | None, parent: str, params: Mapping[str, Parameter]) -> None:
    """Refuses a parent that does not exist, or whose values cannot be named."""
    argument, others = f"{name}.when", [other for other in params if other != name]
    if parent == name:
        raise ArgumentError(argument, when, _CYCLE, hint=f"{name} depends on itself.")
    if parent not in params:
        allowed = f"names of other parameters: {', '.join(others) or 'there are none'}{nearest(parent, others)}"
        raise ArgumentError(argument, when, allowed)
    parameter = params[parent]
    if isinstance(parameter, Float):
        hint = f"{parent} is a Float, which almost never has exactly a given value. Use a Choice of its values."
        raise ArgumentError(argument, when, "conditions on a Choice or an Int", hint=hint)
    if isinstance(parameter, NumDevices):
        hint = f"{parent} may change while a trial trains, as after running out of memory. Use trial.num_devices in "
        hint += "the training instead."
        raise ArgumentError(argument, when, "conditions on a Choice or an Int", hint=hint)
    if isinstance(parameter, Int) and parameter.n_values > _MAX_VALUES:
        allowed = f"conditions on a Choice, or on an Int with at most {_MAX_VALUES} values"
        raise ArgumentError(argument, when, allowed)


def _check_value(name: str, parent: str, value: Any, parameter: Parameter) -> None:
    try:
        parameter.check(parent, value)
    except ArgumentError as error:
        near = nearest(value, parameter.options) if isinstance(parameter, Choice) and isinstance(value, str) else ""
        allowed = f"values that {parent} can take: {error.allowed}{near}"
        raise ArgumentError(f"{name}.when", {parent: value}, allowed) from None


def _ordered(params: Mapping[str, Parameter]) -> list[str]:
    """Returns the names, parents first, otherwise in the order of the space.

    Raises:
        ArgumentError: there is a cycle.
    """
    if all(parameter.when is None for parameter in params.values()):
        return list(params)
    done: dict[str, None] = {}
    while len(done) < len(params):
        found = [name for name in params if name not in done and all(up in done for up in params[name].when or ())]
        if not found:
            cycle = _cycle({name: list(params[name].when or ()) for name in params if name not in done}, done)
            hint = f"{', and '.join(f'{one} depends on {other}' for one, other in itertools.pairwise(cycle))}."
            raise ArgumentError(f"{cycle[0]}.when", params[cycle[0]].when, _CYCLE, hint=hint)
        done |= dict.fromkeys(found)
    return list(done)


def _cycle(parents: Mapping[str, Sequence[str]], done: Mapping[str, None]) -> list[str]:
    """Returns the names of a cycle, with the first one again at the end; each name has a parent that is not done."""
    path = [next(iter(parents))]
    while True:
        name = next(parent for parent in parents[path[-1]] if parent not in done)
        if name in path:
            return [*path[path.index(name) :], name]
        path.append(name)


def _with_ancestors(
    name: str, params: Mapping[str, Parameter], keys: Mapping[str, Mapping[str, frozenset[Hashable]]]
) -> dict[str, frozenset[Hashable]]:
    """Returns the values that each ancestor of a parameter must have.

    Raises:
        ArgumentError: an ancestor cannot have such a value.
    """
    when = params[name].when or {}
    found: dict[str, frozenset[Hashable]] = {}
    own = {parent: frozenset(map(option_key, values)) for parent, values in when.items()}
    for needed in (own, *(keys.get(parent, {}) for parent in when)):
        for parent, allowed in needed.items():
            found[parent] = found.get(parent, allowed) & allowed
            if not found[parent]:
                hint = f"The parameters on which {name} depends need other values of {parent}: {name} never exists."
                raise ArgumentError(f"{name}.when", when, "a condition that can hold", hint=hint)
    return found
