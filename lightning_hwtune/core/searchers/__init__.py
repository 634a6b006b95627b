"""What is tried next."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.grid import Grid
from lightning_hwtune.core.searchers.listed import Listed
from lightning_hwtune.core.searchers.prior import ParetoPrior
from lightning_hwtune.core.searchers.random import Random
from lightning_hwtune.core.searchers.sobol import Sobol
from lightning_hwtune.core.searchers.tpe import TPE
from lightning_hwtune.errors import ArgumentError

__all__ = ["TPE", "Grid", "History", "Listed", "ParetoPrior", "Random", "Searcher", "Sobol", "searcher_from_settings"]

_SEARCHERS: dict[str, type[Searcher]] = {cls.name: cls for cls in (Random, Sobol, Grid, TPE, ParetoPrior, Listed)}


def searcher_from_settings(settings: Mapping[str, Any]) -> Searcher:
    """Returns the searcher whose `settings()` these are.

    Raises:
        ArgumentError: an unknown name or setting.
    """
    name = settings.get("name")
    if name not in _SEARCHERS:
        raise ArgumentError("searcher", name, ", ".join(_SEARCHERS))
    arguments = {key: value for key, value in settings.items() if key != "name"}
    try:
        return _SEARCHERS[name](**arguments)
    except TypeError:
        known = ", ".join(inspect.signature(_SEARCHERS[name]).parameters) or "none"
        raise ArgumentError(f"searcher {name}", arguments, f"the settings {known}") from None
