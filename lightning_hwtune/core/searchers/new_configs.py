"""What can still be drawn: the whole space, or the rest of a list, for searchers that use the trials so far.

`next_of` is for searchers that go through a list in a fixed order: they only need the trials to skip what the user
enqueued.

A small finite space is treated as the list of its configurations, each with the probability that `SearchSpace.sample`
gives it. There, and in a given list, no configuration is drawn twice. In a space with conditions, some values may leave
only few configurations, although others have a `Float`. So there, too, a configuration that has a trial is drawn again.
In other spaces nothing is ever used up.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import copied, plain_options
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.memory import Memory, config_key
from lightning_hwtune.core.space import MAX_COMBINATIONS, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, elements, entries, reading

__all__ = ["Untried", "config_key", "is_small", "listed_configs", "next_of"]

_MAX_REPEATS = 10_000  # draws in a row that give known configurations; then there is probably no other one


def is_small(space: SearchSpace) -> bool:
    """Returns whether all configurations can be listed, including those that the batch rule rejects."""
    n = space.n_combinations
    return n is not None and n <= MAX_COMBINATIONS


def listed_configs(argument: str, configs: Sequence[Mapping[str, Any]] | None) -> tuple[Mapping[str, Any], ...] | None:
    """Returns a searcher's list of configurations without repetitions; None for None.

    Raises:
        ArgumentError: the argument is empty, or not a list.
    """
    if configs is None:
        return None
    allowed = "a list of at least one configuration, each a mapping from names to values"
    items = elements(allowed, MAX_COMBINATIONS).read(argument, configs)
    if not items or not all(isinstance(item, Mapping) for item in items):
        raise ArgumentError(argument, configs, allowed)
    plain = [_plain_config(argument, item) for item in items]
    return tuple({config_key(config): config for config in plain}.values())


def _plain_config(argument: str, config: Mapping[str, Any]) -> dict[str, Any]:
    with reading(argument, config, "a mapping from names to values"):
        given = entries(config)
    if not given:
        raise ArgumentError(argument, config, "a mapping with a value for each parameter")
    names = [FORMS["SearchSpace"]["name"].read(argument, name) for name in given]
    return dict(zip(names, plain_options(list(given.values()), argument), strict=True))


def next_of(
    configs: Sequence[Mapping[str, Any]],
    order: Sequence[int] | npt.NDArray[np.int64],
    draw: int,
    history: History,
) -> dict[str, Any] | None:
    """Returns draw number `draw` of a list that is gone through once; None once it is exhausted.

    If the user has enqueued a configuration, this skips all configurations that have a trial, and then one for each
    earlier draw that is still pending.

    Args:
        order: the indices of `configs`, in the order of the draws.
    """
    if all(trial.draw is not None for trial in history.trials):
        return copied(configs[int(order[draw])]) if draw < len(order) else None
    tried = {config_key(trial.config) for trial in history.trials}
    n_overtaken = draw - sum(trial.draw is not None and trial.draw < draw for trial in history.trials)
    left = (config for config in (configs[int(place)] for place in order) if config_key(config) not in tried)
    found = next(itertools.islice(left, n_overtaken, None), None)
    return None if found is None else copied(found)


@final
@dataclass(frozen=True)
class Untried:
    """The configurations that can still be drawn.

    Attributes:
        listed: the configurations to draw from; None for the whole space. cumulative: their cumulative weights.
        tried: keys of those that already have a trial; empty if nothing is ever used up.
        keys: place in the list -> key, as far as they are known.
        is_given: whether the user gave the list; otherwise it is the whole of a small finite space.
    """

    space: SearchSpace
    listed: Sequence[Mapping[str, Any]] | None
    cumulative: npt.NDArray[np.float64]
    tried: frozenset[str]
    keys: dict[int, str] = field(default_factory=dict, compare=False)
    is_given: bool = False

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        configs: Sequence[Mapping[str, Any]] | None,
        trials: Sequence[TrialRecord],
        memory: Memory | None = None,
    ) -> Self:
        """Returns what is left of `configs`, or of the space, after these trials.

        Args:
            memory: that of a history whose trials begin with these; None to compute everything.
        """
        memory = memory or Memory()
        if configs is None and not is_small(space):
            tried = memory.keys(trials) if space.is_conditional else frozenset()
            return cls(space, None, np.empty(0), tried)
        is_given = configs is not None
        listed, cumulative = (configs, np.arange(1.0, len(configs) + 1)) if configs is not None else _grid(space)
        keys = memory.kept(listed, dict[int, str])
        return cls(space, listed, cumulative, memory.keys(trials), keys, is_given)

    def one(self, rng: np.random.Generator) -> dict[str, Any] | None:
        """Returns one configuration drawn at random; None if nothing is left."""
        found = self.some(rng, 1)
        return found[0] if found else None

    def some(self, rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        """Returns up to `n` configurations drawn at random; distinct and perhaps fewer if they come from a list."""
        if self.listed is None:
            return [self._sample(rng) for _ in range(n)]
        return [copied(self.listed[place]) for place in self.some_places(rng, n)]

    def some_places(self, rng: np.random.Generator, n: int) -> list[int]:
        """Returns the places in the list of the configurations that `some` returns."""
        listed = self.listed or ()
        weights = np.diff(self.cumulative, prepend=0.0)
        if len(listed) <= max(16 * n, 4 * len(self.tried)) or len(listed) <= 1024:
            waits = rng.standard_exponential(len(self._left)) / weights[self._left]
            places: list[int] = self._left[np.argsort(waits, kind="stable")[:n]].tolist()
            return places
        return self._by_rejection(rng, n)

    @functools.cached_property
    def _left(self) -> npt.NDArray[np.int64]:
        """Returns the indices of the listed configurations that were not tried."""
        places = range(len(self.listed or ()))
        return np.array([place for place in places if self._key(place) not in self.tried], dtype=np.int64)

    def _key(self, place: int) -> str:
        """Returns the key of a listed configuration."""
        if place not in self.keys:
            self.keys[place] = config_key((self.listed or ())[place])
        return self.keys[place]

    def _sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Returns a configuration of the space that has no trial yet."""
        config = self.space.sample(rng)
        for _ in range(_MAX_REPEATS if self.tried else 0):
            if config_key(config) not in self.tried:
                break
            config = self.space.sample(rng)
        return config

    def may_draw(self, config: Mapping[str, Any]) -> bool:
        """Returns whether a configuration of the space may be drawn."""
        if not self.space.allows(config):
            return False
        return not self.tried or config_key(config) not in self.tried

    def _by_rejection(self, rng: np.random.Generator, n: int) -> list[int]:
        """Returns `some_places` for a list much longer than `n` and `tried`: repeats draws until they are new."""
        found: dict[int, None] = {}
        while len(found) < n:
            place = int(np.searchsorted(self.cumulative, rng.random() * self.cumulative[-1], side="right"))
            place = min(place, len(self.cumulative) - 1)
            if self._key(place) not in self.tried:
                found[place] = None
        return list(found)


@functools.lru_cache(maxsize=2)
def _grid(space: SearchSpace) -> tuple[Sequence[Mapping[str, Any]], npt.NDArray[np.float64]]:
    grid = space.grid()
    return grid, np.cumsum(space.probabilities(grid))
