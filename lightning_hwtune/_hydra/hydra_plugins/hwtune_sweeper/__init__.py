"""The Hydra sweeper `hwtune`: a thin shell around `lightning_hwtune.apps.hydra`, which also has the node's keys.

Hydra imports this module whenever an app starts, so it imports nothing slow. In an installed wheel it is at the top
level, as `hydra_plugins.hwtune_sweeper`. The namespace `hydra_plugins` is shared by all Hydra plugins.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lightning_hwtune.apps.hydra.node import HwtuneConf, HwtuneSweeperConf

__all__ = ["HwtuneConf", "HwtuneSweeper", "HwtuneSweeperConf"]

_GROUP = "hydra/sweeper"
_SAMPLERS = ("cmaes", "grid", "motpe", "nsgaii", "random", "tpe")


class HwtuneSweeper(Sweeper):
    """Passes a multirun to `lightning_hwtune.apps.hydra`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()  # the settings are part of the configuration and are read when the sweep begins

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores what Hydra passes; nothing is started yet."""
        self.hydra_context, self.config, self._task_function = hydra_context, config, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Runs or continues the sweep that these overrides and the configuration define."""
        from lightning_hwtune.apps.hydra.run import run_sweep

        if self.config is None or self.hydra_context is None:
            raise RuntimeError("setup must be called before sweep")
        run_sweep(arguments, self.config, self.hydra_context, self._task_function)


def _open(node: Any) -> DictConfig:
    """Returns a configuration with typed keys that accepts further keys; `sweep` reports the unknown ones."""
    config: DictConfig = OmegaConf.structured(node)
    OmegaConf.set_struct(config, False)
    OmegaConf.set_struct(config.hwtune, False)
    return config


def _store() -> None:
    """Registers `hydra/sweeper=hwtune`, and the sampler names that occur in configurations of the Optuna sweeper."""
    store = ConfigStore.instance()
    store.store(group=_GROUP, name="hwtune", node=_open(HwtuneSweeperConf), provider="lightning_hwtune")
    known = store.repo.get("hydra", {}).get("sweeper", {}).get("sampler", {})
    for name in _SAMPLERS:
        if f"{name}.yaml" not in known:
            store.store(group=f"{_GROUP}/sampler", name=name, node={"name": name}, provider="lightning_hwtune")


_store()
