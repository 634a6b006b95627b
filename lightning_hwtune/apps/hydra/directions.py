"""The Optuna sweeper's `direction`: whether a higher or a lower value of what the app returns is better."""

from __future__ import annotations

from typing import Any

from lightning_hwtune.errors import ArgumentError

__all__ = ["directions"]

_MODES = {"minimize": "min", "min": "min", "maximize": "max", "max": "max"}


def directions(value: Any) -> list[str]:
    """Returns "min" or "max" for each value that the app returns, from the Optuna sweeper's `direction`.

    Raises:
        ArgumentError: `direction` has another value.
    """
    words = value if isinstance(value, list) else ["minimize" if value is None else value]
    names = [getattr(word, "name", word) for word in words]  # the Optuna sweeper uses an enumeration
    modes = [_MODES.get(name) if isinstance(name, str) else None for name in names]
    if not modes or None in modes:
        raise ArgumentError("hydra.sweeper.direction", value, "minimize, maximize, or a list of these")
    return [mode for mode in modes if mode is not None]
