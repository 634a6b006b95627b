"""The search of a multirun: Hydra's overrides, converted to parameters and fixed overrides, and back to overrides.

Hydra itself parses the text. A key keeps its `+` or `++` for the command line, but not in the name of the parameter.
A tag that is itself an override is a condition: `tag("optimizer=sgd", interval(0, 1))` exists only with this optimizer.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException

from lightning_hwtune.apps.hydra.grammar import naming_mistakes
from lightning_hwtune.apps.hydra.tags import Tags
from lightning_hwtune.core.conditions import Conditions
from lightning_hwtune.core.parameters import Choice, Float, Int, Parameter
from lightning_hwtune.core.parameters.options import option_key
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import reading

__all__ = ["Key", "Search", "quoted", "read_search"]

_MAX_LISTED = 100_000


@final
@dataclass(frozen=True, slots=True)
class Key:
    """How to write a parameter on the app's command line.

    Attributes:
        text: the key, with its `+` or `++`.
        options: for a choice, each option and its text; other values are numbers and are written as they are.
    """

    text: str
    options: tuple[tuple[Any, str], ...] = ()

    def override(self, value: Any) -> str:
        """Returns the override that sets this value."""
        for option, text in self.options:
            if option_key(option) == option_key(value):
                return f"{self.text}={text}"
        return f"{self.text}={value!r}"


@final
@dataclass(slots=True)
class Search:
    """The content of a multirun's overrides.

    Attributes:
        parameters: name -> parameter.
        keys: name -> how the parameter is written, with the same names.
        fixed: name -> override, for keys with one value. A deletion is stored under the name with its `~`, so that the
            key may be added again after it.
        notes: lines to print for the user.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def always(self) -> list[str]:
        """The names of the parameters without a condition. The app's own values of the others count in some trials."""
        return [name for name, parameter in self.parameters.items() if parameter.when is None]

    @property
    def conditions(self) -> Conditions:
        """The conditions of the parameters.

        Raises:
            ArgumentError: a condition cannot hold.
        """
        return Conditions.of(self.parameters)

    def overrides(self, config: Mapping[str, Any]) -> list[str]:
        """Returns the app's overrides for a configuration: first the fixed ones, then those of the parameters."""
        return [*self.fixed.values(), *(self.keys[name].override(value) for name, value in config.items())]


def read_search(params: Mapping[str, Any] | None, arguments: Sequence[str], config_loader: Any = None) -> Search:
    """Reads `hydra.sweeper.params` and the command line, which takes precedence.

    Args:
        config_loader: Hydra's loader, which finds the options of `glob`.

    Raises:
        ArgumentError: a text is not an override, or its range cannot be searched.
    """
    parser = OverridesParser.create(config_loader=config_loader)
    search = Search()
    for text in [*itertools.starmap(_written, (params or {}).items()), *arguments]:
        with naming_mistakes(text):
            _take(search, parser.parse_override(text))
    _decide_fixed(search, parser)
    return search


def _written(key: str, value: Any) -> str:
    """Returns a key and a value from a configuration file as an override."""
    with reading("hydra.sweeper.params", value, "plain values"):
        return f"{key}={_plain(value)}"


def quoted(text: str) -> str:
    """Returns a text quoted so that Hydra reads exactly this text; interpolations are kept."""
    return QuotedString(text, Quote.single).with_quotes()


def _plain(value: Any) -> str:
    """Returns a value from a configuration file as the text of an override."""
    return value if isinstance(value, str) else Override._get_value_element_as_str(value)


def _take(search: Search, override: Override) -> None:
    """Adds an override, which replaces an earlier one with the same name."""
    name = _name(override)
    prefix = _forget(search, name)
    if override.is_delete():
        if prefix != "+":
            search.fixed[f"~{name}"] = str(override.input_line)
        return
    text = override.get_key_element()
    if override.type is OverrideType.CHANGE:
        text = prefix + text
    if not override.is_sweep_override():
        search.fixed[name] = f"{text}={override.get_value_element_as_str()}"
        return
    sweep = override.value()
    tags = Tags.of(name, sweep if isinstance(sweep, Sweep) else None)
    when = _condition(name, tags.conditions)
    if isinstance(sweep, IntervalSweep):
        search.parameters[name], search.keys[name] = _interval(name, sweep, tags, when), Key(text)
    elif isinstance(sweep, RangeSweep) and not sweep.shuffle:
        search.parameters[name], search.keys[name] = _range(name, sweep, tags, when), Key(text)
    else:
        is_shuffled = bool(getattr(sweep, "shuffle", False))
        search.parameters[name], options = _choice(name, override, is_shuffled, when)
        search.keys[name] = Key(text, tuple(options))
    search.parameters[name] = _with_prior(name, search.parameters[name], tags.priors)


def _with_prior(name: str, parameter: Parameter, tags: Sequence[str]) -> Parameter:
    """Returns the parameter with the value that a tag `prior=VALUE` names; unchanged without one.

    Raises:
        ArgumentError: the value is not one of the parameter, or several are named.
    """
    if not tags:
        return parameter
    values = _values(OverridesParser.create().parse_override(tags[0]))
    if len(tags) > 1 or len(values) != 1:
        raise ArgumentError(name, list(tags), 'one tag such as "prior=3e-4", with one value')
    try:
        if isinstance(parameter, Choice):
            return parameter.replaced(parameter.when, values[0])
        return dataclasses.replace(parameter, prior=values[0]) if isinstance(parameter, Float | Int) else parameter
    except ArgumentError as error:
        raise ArgumentError(f"{name}: prior", error.received, error.allowed, hint=error.hint) from None


def _condition(name: str, tags: Sequence[str]) -> dict[str, list[Any]] | None:
    """Returns the condition that tags describe, each `key=value` or `key=value,value`; None without tags.

    Raises:
        ArgumentError: a tag is not an override with plain values, or two tags have the same key.
    """
    found: dict[str, list[Any]] = {}
    parser = OverridesParser.create()
    for tag in tags:
        try:
            override = parser.parse_override(tag)
        except HydraException as error:
            hint = f"({str(error).partition(chr(10))[0]})"
            raise ArgumentError(
                name, tag, "a condition such as optimizer=sgd or optimizer=sgd,adam", hint=hint
            ) from None
        key = _name(override)
        if override.type is not OverrideType.CHANGE or key in found:
            hint = "Name each parameter once, without + or ~, and list its values: optimizer=sgd,adam."
            raise ArgumentError(name, tag, "a condition such as optimizer=sgd or optimizer=sgd,adam", hint=hint)
        found[key] = _values(override)
    return found or None


def _values(override: Override) -> list[Any]:
    """Returns the values of an override as options."""
    elements: list[Any] = _elements(override) if override.is_sweep_override() else [override.value()]
    return [_option(element, Transformer.str(element)) for element in elements]


def _name(override: Override) -> str:
    return override.key_or_group if override.package is None else f"{override.key_or_group}@{override.package}"


def _decide_fixed(search: Search, parser: OverridesParser) -> None:
    """Decides conditions on keys with one value, such as one that the command line fixes."""
    fixed = {name: _values(parser.parse_override(text))[0] for name, text in search.fixed.items() if "=" in text}
    left_out: dict[str, str] = {}
    has_changed = True
    while has_changed:  # a parameter that is left out decides the conditions of those that depend on it
        n_before = len(left_out)
        for name, parameter in search.parameters.items():
            for parent, values in (parameter.when or {}).items():
                if parent in left_out:
                    left_out.setdefault(name, left_out[parent])
                elif parent in fixed and option_key(fixed[parent]) not in map(option_key, values):
                    left_out.setdefault(name, f"{parent} is {fixed[parent]}")
        has_changed = len(left_out) > n_before
    for name, reason in left_out.items():
        search.notes.append(f"{name} is not searched, because {reason}")
        _forget(search, name)
    for name, parameter in search.parameters.items():
        when = {parent: values for parent, values in (parameter.when or {}).items() if parent not in fixed}
        if len(when) < len(parameter.when or {}):
            search.parameters[name] = _with_condition(parameter, when or None)


def _with_condition(parameter: Parameter, when: Mapping[str, Any] | None) -> Parameter:
    if isinstance(parameter, Choice):
        return parameter.replaced(when, parameter.prior)
    return dataclasses.replace(parameter, when=when) if isinstance(parameter, Float | Int) else parameter


def _forget(search: Search, name: str) -> str:
    """Drops earlier overrides of a key, except a deletion; returns the `+` or `++` that the key had.

    Without this prefix, the key could not be added to the app's configuration.
    """
    key = search.keys.pop(name, None)
    text = search.fixed.pop(name, "") if key is None else key.text
    search.parameters.pop(name, None)
    return text[: len(text) - len(text.lstrip("+"))]


def _interval(name: str, sweep: IntervalSweep, tags: Tags, when: Mapping[str, Any] | None) -> Parameter:
    low, high = cast("float", sweep.start), cast("float", sweep.end)
    is_int = tags.is_int or (isinstance(low, int) and isinstance(high, int))
    try:
        if is_int and (int(low), int(high)) != (low, high):
            hint = "Write integers, or leave the tag `int` out."
            raise ArgumentError("interval", [low, high], "two integers, because of the tag `int`", hint=hint)
        if is_int:
            return Int(int(low), int(high), log=tags.is_log, when=when)
        return Float(low, high, log=tags.is_log, when=when)
    except ArgumentError as error:
        raise _located(name, error) from None


def _range(name: str, sweep: RangeSweep, tags: Tags, when: Mapping[str, Any] | None) -> Parameter:
    """Converts a range, which excludes its end as in Python."""
    values = sweep.range()
    try:
        if isinstance(values, range) and values and values[0] != values[-1]:
            low, high = sorted((values[0], values[-1]))
            return Int(low, high, log=tags.is_log, step=abs(values.step), when=when)
        return Choice(_bounded(name, values), when=when)
    except ArgumentError as error:
        raise _located(name, error) from None


def _choice(
    name: str, override: Override, is_shuffled: bool, when: Mapping[str, Any] | None
) -> tuple[Choice, Iterable[tuple[Any, str]]]:
    """Converts a list; options that are not plain values are represented by their text."""
    elements = _elements(override)
    texts = [Transformer.str(element) for element in elements]
    options = [_option(element, text) for element, text in zip(elements, texts, strict=True)]
    try:
        choice = Choice(options, ordered=False if is_shuffled else None, when=when)
        return choice, zip(options, texts, strict=True)
    except ArgumentError as error:
        raise _located(name, error) from None


def _elements(override: Override) -> list[Any]:
    """Returns a list's elements in the order in which they are written, because the order identifies the space."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return list(sweep.list)
    name = override.key_or_group
    return _bounded(name, sweep.range() if isinstance(sweep, RangeSweep) else override.sweep_iterator())


def _bounded(name: str, values: Iterable[Any]) -> list[Any]:
    """Returns the values of a range as a list.

    Raises:
        ArgumentError: there are more values than a list may have.
    """
    found = list(itertools.islice(values, _MAX_LISTED + 1))
    if len(found) > _MAX_LISTED:
        hint = "Write interval(a,b), or int(interval(a,b))."
        raise ArgumentError(name, f"more than {_MAX_LISTED} values", f"at most {_MAX_LISTED} values", hint=hint)
    return found


def _option(element: Any, text: str) -> Any:
    if isinstance(element, QuotedString):
        return element.text
    return element if element is None or isinstance(element, str | int | float | bool) else text


def _located(name: str, error: ArgumentError) -> ArgumentError:
    return ArgumentError(f"{name}: {error.argument}", error.received, error.allowed, hint=error.hint)
