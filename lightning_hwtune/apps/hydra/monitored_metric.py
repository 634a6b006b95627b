"""What an app's configuration says about its training: what its callbacks monitor, and whether it has a Trainer.

The monitored metric is the one compared at the rungs if the user names no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_hwtune.errors import ArgumentError

__all__ = ["Monitor", "directions", "has_trainer", "monitors"]

_CALLBACKS = ("ModelCheckpoint", "EarlyStopping")
_MODES = {"minimize": "min", "min": "min", "maximize": "max", "max": "max"}


@final
@dataclass(frozen=True, slots=True)
class Monitor:
    """A metric that a callback of the app monitors. `where`: the callback's key in the configuration."""

    metric: str
    mode: str
    where: str


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


def monitors(config: DictConfig) -> list[Monitor]:
    """Returns what the app's callbacks monitor: every `ModelCheckpoint` first, then every `EarlyStopping`."""
    plain = OmegaConf.to_container(config, resolve=False)
    found = [(name, path) for path, node in _nodes(plain, "") if (name := _callback(node)) is not None]
    found.sort(key=lambda pair: _CALLBACKS.index(pair[0]))
    read = [(path, _get(config, f"{path}.monitor"), _get(config, f"{path}.mode") or "min") for _, path in found]
    return [Monitor(metric, mode, path) for path, metric, mode in read if isinstance(metric, str) and mode in _MODES]


def has_trainer(config: DictConfig, max_epochs_key: str) -> bool:
    """Return whether an app's configuration has a Lightning Trainer, whose fits a check can shorten."""
    plain = OmegaConf.to_container(config, resolve=False)
    targets = (str(node.get("_target_", "")) for _, node in _nodes(plain, ""))
    return _get(config, max_epochs_key) is not None or any(target.endswith(".Trainer") for target in targets)


def _callback(node: Mapping[str, Any]) -> str | None:
    name = str(node.get("_target_", "")).rpartition(".")[2]
    return name if name in _CALLBACKS else None


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields every mapping below a node with its path; Hydra's own nodes are left out."""
    if isinstance(node, Mapping):
        yield path, node
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in node.items()]
    elif isinstance(node, list):
        items = [(f"{path}[{index}]", value) for index, value in enumerate(node)]
    else:
        return
    for inner, value in items:
        if inner != "hydra":
            yield from _nodes(value, inner)


def _get(config: DictConfig, path: str) -> Any:
    try:
        return OmegaConf.select(config, path)
    except OmegaConfBaseException:  # an interpolation that has a value only in a job
        return None
