"""The app's configuration in the jobs of a sweep, and the values that the sweep reads from it.

One option may change several keys: a preset sets batch size and horizon, an interpolation follows a value, a resolver
computes one. So reading a single job is not enough. The configuration is composed for every combination of the options
of configuration groups, and of the parameters on which others depend. In each of them, every other parameter that
exists there takes all its options, or the middle and both ends of its range.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from lightning_hwtune.apps.hydra.search import Search
from lightning_hwtune.apps.monitors import Monitor, monitors
from lightning_hwtune.apps.seen_configs import Facts, Seen, SeenConfigs, changed_options, is_same
from lightning_hwtune.core.parameters import Float, Parameter
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["Jobs", "group_options", "keys_of", "monitors_of", "select", "text_of"]

_MAX_OPTIONS = 100  # with more options, it is a range of numbers and not a list of cases
_MAX_COMBINATIONS = 24  # of group options; composing one takes about 0.1 s


@final
@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a sweep.

    Attributes:
        example: one complete job, with a middle value for each parameter.
        configs: the facts of many jobs, those of the example first.
        options: for each option of a configuration group, the values that differ from the example's configuration, as
            they are written.
    """

    example: DictConfig
    configs: SeenConfigs
    options: Mapping[str, Mapping[str, Any]]

    @classmethod
    def compose(cls, loader: Any, config: DictConfig, search: Search, keys: Sequence[str]) -> Self:
        """Composes the jobs.

        Args:
            loader: Hydra's configuration loader.
            config: the configuration composed for the multirun.
            search: the searched parameters.
            keys: the keys to read from each job.

        Raises:
            ArgumentError: a job cannot be composed.
        """
        middle = {name: parameter.quantile(0.5) for name, parameter in search.parameters.items()}
        conditions = search.conditions
        parents = {parent for name in search.parameters for parent in conditions.ancestors(name)}
        groups = [name for name in search.parameters if name in parents or group_options(loader, name)]
        example: DictConfig | None = None
        seen: list[Seen] = []
        options: dict[str, Mapping[str, Any]] = {}
        for chosen in _combinations(groups, middle, search):
            values = {**middle, **chosen}
            try:
                job: DictConfig = loader.load_sweep_config(config, search.overrides(conditions.kept(values)))
            except ConfigCompositionException:
                _refuse_absent(loader, config, search)
                raise
            if example is None:
                example = job
            elif len(changed := changed_options(chosen, middle)) == 1:
                [(name, option)] = changed.items()
                options[search.keys[name].override(option).lstrip("+")] = _difference(example, job, search.always)
            seen.append(Seen(values, _facts(job, keys)))
            others = [name for name in conditions.kept(values) if name not in groups]
            seen.extend(_with_others(job, values, search, others, keys))
        if example is None:
            raise RuntimeError("no job was composed")
        return cls(example, SeenConfigs(tuple(seen)), {name: found for name, found in options.items() if found})


def _refuse_absent(loader: Any, config: DictConfig, search: Search) -> None:
    """Refuses a searched key that the app's configuration does not have."""
    known = keys_of(config)
    for name, key in search.keys.items():
        if key.text.startswith("+") or name in known or group_options(loader, name):
            continue
        hint = nearest(name, known).removeprefix("; ").capitalize()
        parent = next((key for key in _parents(name) if key in known), None)
        if parent is None or any(other.startswith(f"{parent}.") for other in known):  # not inside a value
            hint = f"{hint} To add a key that the app does not have, write +{key.text}=...".lstrip()
        raise ArgumentError("searched key", key.text, "a key of the app's configuration", hint=hint)


def _parents(name: str) -> Iterator[str]:
    """Yields the sections of a dotted name, the innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def keys_of(config: DictConfig) -> Collection[str]:
    """Returns the dotted keys of the app's configuration, sections included, without those of Hydra."""

    def found(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items() if isinstance(node, dict) else ():
            name = f"{prefix}{key}"
            yield name
            yield from found(value, f"{name}.")

    names = found(OmegaConf.to_container(config), "")
    return dict.fromkeys(name for name in names if name.partition(".")[0] != "hydra")


def select(config: DictConfig, key: str | None) -> Any:
    """Return a value of a configuration; None if it does not exist, or has a value only in a running job."""
    if key is None:
        return None
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def monitors_of(config: DictConfig) -> list[Monitor]:
    """Return what the callbacks of a configuration monitor."""
    return monitors(OmegaConf.to_container(config, resolve=False), lambda name: select(config, name))


def text_of(job: DictConfig) -> str:
    """Return the app's part of a job's configuration as YAML, with unresolved interpolations."""
    return OmegaConf.to_yaml(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]))


def group_options(loader: Any, name: str) -> list[str]:
    """Return the options of a configuration group; empty if the name is not a group."""
    found: list[str] = loader.get_group_options(name.partition("@")[0])
    return found


# ---------------------------------------------------------------------- which jobs


def _combinations(groups: Sequence[str], middle: Mapping[str, Any], search: Search) -> Iterator[dict[str, Any]]:
    """Yield the combinations of options to compose: all if they are few, otherwise one change at a time."""
    of_middle = {name: middle[name] for name in groups}
    lists = [_points(search.parameters[name], middle[name]) for name in groups]
    if math.prod(map(len, lists)) <= _MAX_COMBINATIONS:
        for combination in itertools.product(*lists):
            yield dict(zip(groups, combination, strict=True))
        return
    yield of_middle
    for name, points in zip(groups, lists, strict=True):
        for point in points[1:]:
            yield {**of_middle, name: point}


def _points(parameter: Parameter, middle: Any) -> list[Any]:
    """Return the values to try for a parameter: the middle one first, then all options or both ends."""
    n = parameter.n_values
    if n is not None and n <= _MAX_OPTIONS and not isinstance(parameter, Float):
        points = list(parameter.levels())
    else:
        points = [parameter.quantile(0.0), parameter.quantile(1.0)]
    return [middle, *(point for point in points if not is_same(point, middle))]


def _with_others(
    job: DictConfig, values: Mapping[str, Any], search: Search, names: Sequence[str], keys: Sequence[str]
) -> Iterator[Seen]:
    """Yield the facts of a job with one of these parameters changed, none of which is a configuration group.

    A value does not change which files are composed, so it is written directly into the job.
    """
    for name in names:
        points, changed = _points(search.parameters[name], values[name]), copy.deepcopy(job)
        for point in points[1:]:
            override = OverridesParser.create().parse_override(search.keys[name].override(point))
            if isinstance(override.value(), dict):  # a mapping is merged, so its keys would be left behind
                changed = copy.deepcopy(job)
            _write(changed, override)
            yield Seen({**values, name: point}, _facts(changed, keys))


def _write(job: DictConfig, override: Override) -> None:
    """Write a value into a configuration.

    Raises:
        ArgumentError: the configuration does not accept the value.
    """
    try:
        with flag_override(job, ["struct", "readonly"], [False, False]):
            OmegaConf.update(job, override.key_or_group, override.value(), merge=True, force_add=True)
    except OmegaConfBaseException as error:
        reason = f"({str(error).partition(chr(10))[0]})"
        raise ArgumentError("overrides", override.input_line, "a value that the app accepts", hint=reason) from None


# ---------------------------------------------------------------------- what is read


def _facts(job: DictConfig, keys: Sequence[str]) -> Facts:
    return Facts({key: select(job, key) for key in keys}, tuple(monitors_of(job)))


def _difference(example: DictConfig, job: DictConfig, searched: Collection[str]) -> dict[str, Any]:
    """Return dotted name -> value (as written) for everything that the job has and the example does not have."""
    base, other = _leaves(example), _leaves(job)
    return {
        name: value
        for name, value in other.items()
        if name not in searched and (name not in base or base[name] != value)
    }


def _leaves(job: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(job, resolve=False)
    return dict(_flat({key: value for key, value in plain.items() if key != "hydra"}, ""))


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        yield path, node
        return
    for key, value in node.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))
