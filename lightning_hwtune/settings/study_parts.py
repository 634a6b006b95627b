"""The parts that a study file builds: its objectives, scheduler, searcher and pool, from plain data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objective_kinds import MEASURED, Metric, Objective
from lightning_hwtune.core.parameters.form import number_of_text
from lightning_hwtune.core.searchers import TPE, Grid, Random, Searcher, Sobol
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest
from lightning_hwtune.forms.owners import FILE_PLACES
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.plugins import Registry
from lightning_hwtune.searchers.evolution import Evolution
from lightning_hwtune.searchers.gaussian_process import GP
from lightning_hwtune.searchers.optuna_sampler import OptunaSampler
from lightning_hwtune.settings.places import located, renamed

__all__ = [
    "CONSTRAINT_KEYS",
    "FILE_SEARCHERS",
    "MEASURED",
    "MEASURED_KEYS",
    "METRIC_KEYS",
    "SEARCHERS",
    "build",
    "check_point",
    "constraint",
    "named",
    "objective",
    "option_docs",
    "options",
]

SEARCHERS: Mapping[str, type[Searcher]] = {
    cls.name: cls for cls in (Random, Sobol, Grid, TPE, GP, Evolution, OptunaSampler)
}
"""Name in study files -> class."""

FILE_SEARCHERS = Registry[Searcher]("searcher", "hwtune.searchers", Searcher, SEARCHERS)

MEASURED_KEYS = ("measured", "resolution")
METRIC_KEYS = ("metric", "mode", "unit", "across_ranks", "best", "resolution", "at_most", "at_least")
CONSTRAINT_KEYS = ("name", "at_most", "at_least", "changes")
_BOUNDS = ("at_most", "at_least")
_T = TypeVar("_T")


def options(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the options of a part in a study file: name -> parameter of its class."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: item for name, item in inspect.signature(cls).parameters.items() if item.kind not in variadic}


def option_docs(cls: Callable[..., Any]) -> dict[str, str]:
    """Returns what the docstrings of a class and its bases say about the options, in the words of YAML."""
    parts = reversed(inspect.getmro(cls)) if isinstance(cls, type) else (cls,)
    return dict(pair for part in parts for pair in _arguments(inspect.getdoc(part) or ""))


def _arguments(doc: str) -> Iterator[tuple[str, str]]:
    """Yields name and text from the Args section of a docstring; each of several names on a line gets its text."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", doc, re.MULTILINE)
    lines = re.sub(r"\n {5,}", " ", section[1]).splitlines() if section else []
    for line in filter(None, map(str.strip, lines)):
        names, _, text = line.partition(": ")
        for name in names.split(", "):
            yield name, re.sub(r"\bNone\b", "null", f"{text[:1].upper()}{text[1:]}")


def build(key: str, cls: Callable[..., _T], given: Mapping[str, Any]) -> _T:
    """Creates a part; adds its key to the errors that it raises."""
    refuse_unknown_keys(f"{key}.", given, options(cls), places=FILE_PLACES)
    with located(f"{key}."):
        return cls(**given)


def named(key: str, registry: Registry[_T], given: Mapping[str, Any] | str) -> _T:
    """Returns the part with the given `name` and options; plain text is a name without options.

    Raises:
        ArgumentError, UnknownArgumentError: the name or an option is not allowed; the message starts with `key`.
    """
    form = {"name": given} if isinstance(given, str) else dict(given)
    name = form.pop("name", None)
    if name is None and form.get("type") in registry.own:
        raise ArgumentError(f"{key}.name", name, ", ".join(registry.names), hint=f"Write `name: {form['type']}`.")
    if (
        isinstance(name, str)
        and name.endswith("Sampler")
        and name.isidentifier()
        and OptunaSampler.name in registry.own
    ):
        sampler = "CmaEsSampler" if name == OptunaSampler.__name__ else name
        hint = f"For a sampler of Optuna, write {{name: {OptunaSampler.name}, sampler: {sampler}}}."
        raise ArgumentError(f"{key}.name", name, ", ".join(registry.names), hint=hint)
    return build(key, registry.find(name, f"{key}.name"), form)


def objective(item: object) -> Objective:
    """Reads one entry of `objectives`."""
    allowed = f"{{metric: val_loss, mode: min}}, or one of {', '.join(MEASURED)}"
    if isinstance(item, str):
        if item in MEASURED:
            return MEASURED[item]()
        near = nearest(item, MEASURED).removeprefix("; ")
        raise ArgumentError("objectives", item, allowed, hint=f"A metric needs a direction. {near}".strip())
    form = _check_mapping("objectives", item, allowed)
    if "name" in form:
        raise RenamedArgumentError("objectives.name", f"write {{metric: {form['name']}, mode: min}}")
    if "measured" in form:
        return _measured(form)
    refuse_unknown_keys("objectives.", form, METRIC_KEYS, places=FILE_PLACES)
    missing = [name for name in ("metric", "mode") if name not in form]
    if missing:
        raise ArgumentError("objectives", dict(form), allowed, hint=f"`{missing[0]}` is missing.")
    with located("objectives."):
        given = {key: _bound(key, form[key]) for key in METRIC_KEYS[2:] if form.get(key) is not None}
        return Metric(form["metric"], form["mode"], **given)


def _measured(form: Mapping[str, Any]) -> Objective:
    """Reads an objective that the study measures, such as `{measured: train_s, resolution: 0.05}`."""
    refuse_unknown_keys("objectives.", form, MEASURED_KEYS, places=FILE_PLACES)
    name = form["measured"]
    if not isinstance(name, str) or name not in MEASURED:
        raise ArgumentError("objectives.measured", name, f"one of {', '.join(MEASURED)}{nearest(str(name), MEASURED)}")
    with located("objectives."):
        return MEASURED[name](**{key: form[key] for key in MEASURED_KEYS[1:] if form.get(key) is not None})


def constraint(item: object) -> Constraint:
    """Reads one entry of `constraints`."""
    allowed = "mappings such as {name: params, at_most: 1000000}"
    form = _check_mapping("constraints", item, allowed)
    if "metric" in form:
        raise RenamedArgumentError("constraints.metric", f"write {{name: {form['metric']}, at_most: ...}}")
    refuse_unknown_keys("constraints.", form, CONSTRAINT_KEYS, places=FILE_PLACES)
    if "name" not in form:
        raise ArgumentError("constraints", dict(form), allowed, hint="`name` is missing.")
    with located("constraints."):
        return Constraint(**{key: _bound(key, value) for key, value in form.items() if value is not None})


def _bound(key: str, value: object) -> Any:
    """Returns the number in the text of a bound, as YAML 1.1 reads 1e6 as text; other values unchanged."""
    return number_of_text(value) if key in _BOUNDS else value


def check_point(key: str, config: Any, space: SearchSpace) -> None:
    """Refuses a configuration that is not in the search space."""
    with renamed(lambda name: f"{key}.{name}" if name in space else key):
        space.validate(config)


def _check_mapping(key: str, value: object, allowed: str = "mappings from names to values") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArgumentError(key, value, allowed)
    return value
