"""Searchers: the rules that decide which configuration is tried next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.grid import Grid
from lightning_hwtune.core.searchers.listed import Listed
from lightning_hwtune.core.searchers.prior import ParetoPrior
from lightning_hwtune.core.searchers.random import Random
from lightning_hwtune.core.searchers.sobol import Sobol
from lightning_hwtune.core.searchers.tpe import TPE
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.plugins import Registry

__all__ = [
    "SEARCHER_REGISTRY",
    "TPE",
    "Grid",
    "History",
    "Listed",
    "ParetoPrior",
    "Random",
    "Searcher",
    "Sobol",
    "default_searcher",
    "searcher_from_settings",
]

_OF_OTHER_LIBRARIES: Mapping[str, str] = {
    "evolution": "lightning_hwtune.searchers.evolution:Evolution",
    "gp": "lightning_hwtune.searchers.gaussian_process:GP",
    "optuna": "lightning_hwtune.searchers.optuna_sampler:OptunaSampler",
}
"""Name -> import path of the searchers in `lightning_hwtune.searchers`."""

SEARCHER_REGISTRY = Registry[Searcher](
    "searcher",
    "hwtune.searchers",
    Searcher,
    {cls.name: cls for cls in (Random, Sobol, Grid, TPE, ParetoPrior, Listed)},
    other_rooms=_OF_OTHER_LIBRARIES,
)
"""The classes above, those that use other libraries, those of installed entry points, and any class with an import
path."""


def default_searcher() -> Searcher:
    """Returns the searcher of a new study for which the user chooses none."""
    return TPE()


def searcher_from_settings(settings: Mapping[str, Any]) -> Searcher:
    """Returns the searcher with these `settings()`.

    Raises:
        ArgumentError: a name or setting is unknown.
    """
    try:
        return SEARCHER_REGISTRY.rebuilt(settings)
    except UnknownArgumentError as error:
        raise ArgumentError(f"searcher {settings['name']}", error.given, error.here) from None
