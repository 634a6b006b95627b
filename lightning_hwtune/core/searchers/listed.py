"""Draws from a given list: for simulations on tables, where only listed configurations have curves."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.new_configs import listed_configs, next_of
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream

__all__ = ["Listed"]


@final
@dataclass(frozen=True, slots=True, init=False)
class Listed(Searcher):
    """Tries each configuration of a list once, in an order shuffled by the study's seed; then it is exhausted.

    Enqueued configurations are skipped.

    Args:
        configs: at least one; of equal ones, only the first is kept.
    """

    configs: tuple[Mapping[str, Any], ...]
    name: ClassVar[str] = "listed"

    def __init__(self, configs: Sequence[Mapping[str, Any]]) -> None:
        object.__setattr__(self, "configs", listed_configs("Listed.configs", configs))

    def check(self, space: SearchSpace) -> None:
        """Refuses a list with a configuration that is not in the search space.

        Raises:
            ArgumentError: a value is not allowed; the message says which.
        """
        for config in self.configs:
            space.validate(config)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; None once the list is exhausted."""
        return next_of(self.configs, _shuffled(len(self.configs), seed), draw, history)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"name": self.name, "configs": [dict(config) for config in self.configs]}


@functools.lru_cache(maxsize=4)
def _shuffled(n: int, seed: int) -> list[int]:
    """Returns the order in which `n` configurations are drawn."""
    order: list[int] = np.argsort(stream(seed, Listed.name, 0).random(n), kind="stable").tolist()
    return order
