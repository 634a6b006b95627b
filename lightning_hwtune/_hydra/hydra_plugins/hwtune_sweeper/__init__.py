"""The Hydra sweeper `hwtune`: its configuration and a thin shell around `lightning_hwtune.sweep`.

Hydra imports this module at every start of every app, so it imports nothing that takes time. In an installed wheel it
lies at top level, as `hydra_plugins.hwtune_sweeper`; `hydra_plugins` is a namespace that all of Hydra's plugins share.
"""

# annotations are evaluated here: Hydra executes this module before it is in `sys.modules`, and text is looked up there
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

__all__ = ["HwtuneConf", "HwtuneSweeper", "HwtuneSweeperConf"]

_GROUP = "hydra/sweeper"
_SAMPLERS = ("cmaes", "grid", "motpe", "nsgaii", "random", "tpe")


@dataclass
class HwtuneConf:
    """What only this sweeper knows. The keys of study files keep their names, meanings and defaults."""

    # what is optimised, e.g. [{metric: val/loss, mode: min}, train_s]; null: the monitor of the app's own callbacks;
    # returned: what the app's main returns
    objectives: Any = None
    # when a trial goes on, e.g. {name: asha, eta: 3}; null: asha where a metric is known, else every trial to its end
    scheduler: Any = None
    # the full training without a scheduler: asha with this horizon; null: the app's own, see max_epochs_key
    max_epochs: Any = None
    # the same in optimizer steps
    max_steps: Any = None
    # the same in samples
    max_samples: Any = None
    # what is tried next: random, sobol, grid, tpe
    searcher: Any = "random"
    # auto: learn what is tried next from the finished studies beside this one
    prior: str | None = None
    # the devices of this host and their price, e.g. {devices: 4, usd_per_device_hour: 2.5}
    pool: dict[str, Any] = field(default_factory=dict)
    # of every draw
    seed: int = 0
    # global: batch sizes are shared by a trial's devices; per_device: every device gets the whole
    batch: str = "global"
    # time of the sweep over all its runs: seconds, or 90s, 10min, 8h
    max_time: Any = None
    # US dollars that the sweep may be billed
    max_cost: float | None = None
    # fully trained trials that the sweep should end with; auto: one for a single objective, trials / eta for several
    finishers: Any = "auto"
    # epochs between checkpoints of a trial that goes on without a pause; null: it saves where it pauses and at its end
    save_every: int | None = None
    # how long a segment may make no progress before it is ended and repeated: auto, seconds, 90s, 10min; null: for ever
    hang_timeout: Any = "auto"
    # how often a failed trial goes on from its last checkpoint
    max_retries: int = 1
    # failed trials that end the sweep; `max_failure_rate` says the same as a share
    max_failures: int = 3
    # bytes of all checkpoints together; null: unlimited
    disk_budget: Any = "20GB"
    # configurations that are tried first: a list of mappings from key to value
    enqueue: list[Any] = field(default_factory=list)
    # modules that are imported once instead of in every segment
    preload: list[Any] = field(default_factory=list)
    # folder of the studies; the study is <dir>/<study_name>
    dir: str = "hwtune"
    # the app's key for a checkpoint to resume from; null: the checkpoint is restored without the app's help
    ckpt_path_key: str | None = None
    # the app's key for the number of devices
    devices_key: str = "trainer.devices"
    # the app's key for the batch size of one device's loader, which is then divided by the trial's devices
    batch_size_key: str | None = None
    # the app's key for the full training, in epochs
    max_epochs_key: str = "trainer.max_epochs"


@dataclass
class HwtuneSweeperConf:
    """The node `hydra.sweeper`: the keys of the Optuna sweeper, and `hwtune`."""

    defaults: list[Any] = field(default_factory=lambda: [{"sampler": None}])
    _target_: str = "hydra_plugins.hwtune_sweeper.HwtuneSweeper"
    _recursive_: bool = False
    # minimize, maximize, or a list with one of them for each returned value; null: as the app's own monitor says
    direction: Any = None
    # SQLAlchemy URL of a database that replaces the study's own SQLite file
    storage: Any = None
    # the study's name; the same name continues it. null: made of the job's name and what is searched
    study_name: str | None = None
    # trials in all, over all runs of the study
    n_trials: int = 20
    # trials that train at one time; null: all that the pool carries
    n_jobs: int | None = None
    # share of n_trials that may fail; null: hwtune.max_failures
    max_failure_rate: float | None = None
    # the search space: key to override text, as on the command line
    params: Any = None
    # import path of a function (config, trial) that suggests further parameters
    custom_search_space: str | None = None
    # accepted and told to be without effect
    sampler: Any = None
    search_space: Any = None
    hwtune: HwtuneConf = field(default_factory=HwtuneConf)


class HwtuneSweeper(Sweeper):
    """Hands a multirun to `lightning_hwtune.sweep`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()  # the settings are read where the sweep begins: they are part of the configuration

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra gives; nothing begins yet."""
        self.hydra_context, self.config, self._task_function = hydra_context, config, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Runs or continues the sweep that these overrides and the configuration describe."""
        from lightning_hwtune.sweep.run import run_sweep

        if self.config is None or self.hydra_context is None:
            raise RuntimeError("Hydra calls setup before sweep")
        run_sweep(arguments, self.config, self.hydra_context, self._task_function)


def _open(node: Any) -> DictConfig:
    """Returns a configuration with typed keys that takes others too: what it does not know, `sweep` answers."""
    config: DictConfig = OmegaConf.structured(node)
    OmegaConf.set_struct(config, False)
    OmegaConf.set_struct(config.hwtune, False)
    return config


def _store() -> None:
    """Makes `hydra/sweeper=hwtune` known, and the names of samplers that configurations of the Optuna sweeper give."""
    store = ConfigStore.instance()
    store.store(group=_GROUP, name="hwtune", node=_open(HwtuneSweeperConf), provider="lightning_hwtune")
    known = store.repo.get("hydra", {}).get("sweeper", {}).get("sampler", {})
    for name in _SAMPLERS:
        if f"{name}.yaml" not in known:
            store.store(group=f"{_GROUP}/sampler", name=name, node={"name": name}, provider="lightning_hwtune")


_store()
