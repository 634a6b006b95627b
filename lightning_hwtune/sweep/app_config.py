"""What the app's configuration says of its jobs: their values, devices and batches, and who launches them."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.sweep.app import BatchSize
from lightning_hwtune.sweep.search import Key, Search, as_devices
from lightning_hwtune.sweep.settings import SweepSettings
from lightning_hwtune.training.context import Hints

__all__ = [
    "add_devices",
    "batch_size",
    "dividing",
    "hints",
    "is_ours",
    "job_config",
    "launcher_name",
    "select",
    "text_of",
    "unresolved",
]


def job_config(loader: Any, config: DictConfig, search: Search) -> DictConfig:
    """Returns what the app's configuration is in a job of this sweep, with some value for each parameter."""
    example = {name: parameter.quantile(0.5) for name, parameter in search.parameters.items()}
    job: DictConfig = loader.load_sweep_config(config, search.overrides(example))
    return job


def select(config: DictConfig, key: str | None) -> Any:
    """Returns a value of a configuration; None if it is not there, or has a value in a job only."""
    if key is None:
        return None
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def unresolved(node: DictConfig, key: str) -> Any:
    """Returns a value as it is written, interpolations and all."""
    plain: Any = OmegaConf.to_container(node, resolve=False)
    return plain[key]


def text_of(job: DictConfig) -> str:
    """Returns the app's part of a job's configuration as YAML, with interpolations as they are written."""
    return OmegaConf.to_yaml(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]))


def is_ours(config: DictConfig) -> bool:
    """Tells whether no launcher was chosen: then segments are processes of our own."""
    return launcher_name(config) == "BasicLauncher"


def launcher_name(config: DictConfig) -> str:
    """Returns the name of the launcher's class."""
    return str(config.hydra.launcher.get("_target_", "")).rpartition(".")[2]


def hints(given: SweepSettings) -> Hints:
    """Returns what errors about the app's Trainer advise."""
    key = given.own.get("ckpt_path_key")
    checkpoint = (
        "The app passes a checkpoint of its own to fit: name its key by hwtune.ckpt_path_key."
        if key is None
        else f"Let the app pass {key} to fit, or leave hwtune.ckpt_path_key out: then it need not."
    )
    return Hints(
        horizon=f"Let the app's Trainer take {given.own['max_epochs_key']}, or name its key by hwtune.max_epochs_key.",
        devices=f"Let the app's Trainer take {given.own['devices_key']}, or name its key by hwtune.devices_key.",
        checkpoint=checkpoint,
        folder="Give each job's checkpoints their own folder: a `dirpath` below ${hydra:runtime.output_dir}.",
    )


def add_devices(search: Search, key: str, job: DictConfig) -> None:
    """Makes the number of devices a parameter of that kind, also where the app's configuration fixes it above one."""
    if key in search.parameters:
        search.parameters[key] = as_devices(key, search.parameters[key])
        return
    value = select(job, key)
    if isinstance(value, bool) or value in (None, "auto", 1, "1", -1, "-1"):  # Lightning sees the trial's one device
        return
    if not str(value).isdecimal() or int(value) < 1:
        hint = "Which devices a trial gets is decided here; give how many."
        raise ArgumentError(key, value, "a number of devices, or choice(1,2)", hint=hint)
    search.fixed.pop(key, None)
    search.parameters[key], search.keys[key] = NumDevices(int(value)), Key(f"++{key}")


def dividing(space: SearchSpace, key: str | None) -> SearchSpace:
    """Returns the space under the rule that the app's batch size, if searched, divides by the number of devices."""
    is_new = key is not None and key in space and key not in space.batch_size_keys
    return space.constrained(key) if is_new else space


def batch_size(key: str | None, spec: StudySpec, job: DictConfig) -> BatchSize | None:
    """Returns the app's key for the batch size of one device's loader; None if it counts those of all devices.

    Raises:
        ArgumentError: the key has no whole number, or one that some number of devices does not divide.
    """
    if key is None:
        return None
    if key in spec.space:
        return BatchSize(key, None)
    value = select(job, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError("hydra.sweeper.hwtune.batch_size_key", key, f"a key with a whole number, not {value!r}")
    counts = spec.allocation.counts if spec.batch == "global" else (1,)
    if value < max(counts) or any(value % count for count in counts):
        hint = "It is the global batch, shared by a trial's devices; hwtune.batch=per_device lifts that."
        raise ArgumentError(key, value, f"a positive multiple of {' and of '.join(map(str, counts))}", hint=hint)
    return BatchSize(key, value)
