"""The Hydra sweeper `hwtune`: its configuration and a thin shell around `lightning_hwtune.apps.hydra`.

Hydra imports this module whenever an app starts, so it imports nothing slow. In an installed wheel it is at the top
level, as `hydra_plugins.hwtune_sweeper`. The namespace `hydra_plugins` is shared by all Hydra plugins.
"""

# annotations are evaluated: Hydra runs this module before it is in `sys.modules`, where text would be looked up
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
    """The keys that only this sweeper has. Keys from study files keep their names, meanings and defaults."""

    # the objectives, e.g. [{metric: val/loss, mode: min}, train_s]; null: the metric that the app's callbacks monitor;
    # returned: the values that the app's main returns
    objectives: Any = None
    # decides which trials continue, e.g. {name: asha, eta: 3}; null: asha or, if no metric is known, no early stopping
    scheduler: Any = None
    # epochs of a full training with asha, in place of a scheduler; null: the app's own horizon, see max_epochs_key
    max_epochs: Any = None
    # the same in optimizer steps
    max_steps: Any = None
    # the same in samples
    max_samples: Any = None
    # proposes the configurations to try: random, sobol, grid, tpe
    searcher: Any = "random"
    # auto: learn what to try from the finished studies in the same folder or storage
    prior: str | None = None
    # the devices of this host and their price, e.g. {devices: 4, usd_per_device_hour: 2.5}
    pool: dict[str, Any] = field(default_factory=dict)
    # seed of all random draws
    seed: int = 0
    # global: a trial's devices share the batch size; per_device: every device gets all of it
    batch: str = "global"
    # total time of the sweep over all its runs: seconds, or 90s, 10min, 8h
    max_time: Any = None
    # maximum cost of the sweep in US dollars
    max_cost: float | None = None
    # number of fully trained trials to end with; auto: one for one objective, trials / eta (at most four) for several
    finishers: Any = "auto"
    # epochs between checkpoints of a trial that trains on without a pause; null: save only at pauses and at the end
    save_every: int | None = None
    # time without progress after which a segment is ended and repeated: auto, seconds, 90s, 10min; null: no limit
    hang_timeout: Any = "auto"
    # how often a failed trial is retried from its last checkpoint
    max_retries: int = 1
    # the sweep ends when this many trials have failed; `max_failure_rate` sets the same as a fraction
    max_failures: int = 3
    # maximum size of all checkpoints together; null: unlimited
    disk_budget: Any = "20GB"
    # configurations to try first: a list of mappings from key to value
    enqueue: list[Any] = field(default_factory=list)
    # modules to import once instead of in every segment
    preload: list[Any] = field(default_factory=list)
    # folder of the studies; the study is <dir>/<study_name>
    dir: str = "hwtune"
    # the app's key for the checkpoint to resume from; null: the checkpoint is restored without the app's help
    ckpt_path_key: str | None = None
    # the app's key for the number of devices
    devices_key: str = "trainer.devices"
    # the app's key for the batch size of one device's loader; its value is divided among the trial's devices
    batch_size_key: str | None = None
    # the app's key for the length of a full training, in epochs
    max_epochs_key: str = "trainer.max_epochs"


@dataclass
class HwtuneSweeperConf:
    """The node `hydra.sweeper`: the keys of the Optuna sweeper, and `hwtune`."""

    defaults: list[Any] = field(default_factory=lambda: [{"sampler": None}])
    _target_: str = "hydra_plugins.hwtune_sweeper.HwtuneSweeper"
    _recursive_: bool = False
    # minimize, maximize, or a list with one of them per returned value; null: the direction of the app's own monitor
    direction: Any = None
    # SQLAlchemy URL of a database to use instead of the study's own SQLite file
    storage: Any = None
    # the study's name; the same name continues the study. null: made of the job's name and the searched parameters
    study_name: str | None = None
    # total number of trials, over all runs of the study
    n_trials: int = 20
    # maximum number of trials at the same time; null: as many as the pool has room for
    n_jobs: int | None = None
    # fraction of n_trials that may fail; null: hwtune.max_failures
    max_failure_rate: float | None = None
    # the search space: maps each key to an override, as on the command line
    params: Any = None
    # import path of a function (config, trial) that suggests further parameters
    custom_search_space: str | None = None
    # accepted, but without effect; a note says so
    sampler: Any = None
    search_space: Any = None
    hwtune: HwtuneConf = field(default_factory=HwtuneConf)


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
            raise RuntimeError("Hydra calls setup before sweep")
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
