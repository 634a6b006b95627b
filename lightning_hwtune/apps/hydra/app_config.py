"""What a sweep reads in the app's configuration: devices, horizon and batch size of its jobs, and the launcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_hwtune.apps.batch_share import check_batch_sizes
from lightning_hwtune.apps.hydra.jobs import Jobs, keys_of, select
from lightning_hwtune.apps.hydra.search import Key, Search
from lightning_hwtune.apps.hydra.settings import SweepSettings, max_steps_key
from lightning_hwtune.apps.monitors import class_names
from lightning_hwtune.apps.seen_configs import SeenConfigs
from lightning_hwtune.apps.trainer_settings import Horizon, as_devices, shared_devices, shared_horizon
from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.training.context import Hints

__all__ = [
    "add_devices",
    "check_batch_size",
    "dividing",
    "has_trainer",
    "hints",
    "horizon",
    "is_ours",
    "launcher_name",
    "seed_key",
    "unresolved",
]

_SEED = "seed"  # the usual key, as in the lightning-hydra-template


def unresolved(node: DictConfig, key: str) -> Any:
    """Returns a value as it is written, with its interpolations."""
    plain: Any = OmegaConf.to_container(node, resolve=False)
    return plain[key]


def is_ours(config: DictConfig) -> bool:
    """Return whether the user chose no launcher, so that segments run in our own processes."""
    return launcher_name(config) == "BasicLauncher"


def launcher_name(config: DictConfig) -> str:
    """Returns the name of the launcher's class."""
    return str(config.hydra.launcher.get("_target_", "")).rpartition(".")[2]


def hints(given: SweepSettings) -> Hints:
    """Returns the advice for errors about the app's Trainer."""
    key = given.own.get("ckpt_path_key")
    checkpoint = (
        "The app passes its own checkpoint to fit: set hydra.sweeper.hwtune.ckpt_path_key to the key of its path."
        if key is None
        else f"Pass {key} to fit in the app, or leave out hydra.sweeper.hwtune.ckpt_path_key: then fit needs no path."
    )
    return Hints(
        horizon=_let_take(given, "max_epochs_key"),
        devices=_let_take(given, "devices_key"),
        checkpoint=checkpoint,
        folder="Save the checkpoints of each job in its own folder: a `dirpath` below ${hydra:runtime.output_dir}.",
        after_a_pause="",
    )


def _let_take(given: SweepSettings, name: str) -> str:
    return f"Pass {given.own[name]} to the app's Trainer, or set hydra.sweeper.hwtune.{name} to the key that it uses."


def has_trainer(config: DictConfig, max_epochs_key: str) -> bool:
    """Return whether an app's configuration has a Lightning Trainer, whose fits a check can shorten."""
    names = (name for name, _ in class_names(OmegaConf.to_container(config, resolve=False)))
    return select(config, max_epochs_key) is not None or any(name.endswith(".Trainer") for name in names)


def seed_key(config: DictConfig, search: Search) -> str | None:
    """Return the app's key for its seed; None if it has none, or if the seed is searched."""
    value = select(config, _SEED)
    return _SEED if isinstance(value, int) and not isinstance(value, bool) and _SEED not in search.parameters else None


def add_devices(search: Search, key: str, configs: SeenConfigs) -> None:
    """Make the number of devices a `NumDevices` parameter, even if the app's configuration fixes it above one.

    Raises:
        ArgumentError: the value is not a number, or differs between jobs.
    """
    if key in search.parameters:
        search.parameters[key] = as_devices(key, search.parameters[key])
        return
    hint = f"Search it as a parameter, {key}=choice(1,2), or set one value on the command line."
    number = shared_devices(configs, key, hint)
    if number > 1:
        search.fixed.pop(key, None)
        search.parameters[key], search.keys[key] = NumDevices(number), Key(f"++{key}")


def horizon(search: Search, given: SweepSettings, configs: SeenConfigs) -> Horizon:
    """Return the length of a full training, which must be the same in all jobs.

    Raises:
        ArgumentError: jobs have different horizons, or the horizon is a searched parameter.
    """
    key = given.own["max_epochs_key"]
    if key in search.parameters:
        hint = f"Set {key} to the length of a full training; trials that fall behind end at a rung before it. "
        hint += "Set it to -1 if hydra.sweeper.hwtune.scheduler counts steps or samples."
        raise ArgumentError(key, search.parameters[key], "one value, the full training of all trials", hint=hint)
    hint = "All trials must have the same rungs. Set {key} on the command line, which overrides the other values."
    return shared_horizon(configs, key, max_steps_key(key), hint)


def dividing(space: SearchSpace, key: str | None) -> SearchSpace:
    """Return the space with the rule that a searched batch size must be divisible by the number of devices."""
    is_new = key is not None and key in space and key not in space.batch_size_keys
    return space.constrained(key) if is_new else space


def check_batch_size(key: str | None, spec: StudySpec, jobs: Jobs) -> None:
    """Check the app's key for the batch size of one device's loader in all jobs.

    Raises:
        ArgumentError: the value in a job is not a positive integer, or is not divisible by one of the device counts.
    """
    if key is None or (key in spec.space and spec.space[key].when is None):
        return  # a searched batch size is drawn so that it is divisible
    own = [job for job in jobs.configs.seen if key not in spec.space or not spec.space.is_active(key, job.options)]
    if not own:
        return
    for job in own:
        size = job.facts.values[key]
        if not isinstance(size, int) or isinstance(size, bool):
            known = keys_of(jobs.example)
            allowed = f"the key of an integer; the value of this key is {size!r}"
            if key not in known:
                allowed = f"a key of the app's configuration{nearest(key, known)}"
            raise ArgumentError("hydra.sweeper.hwtune.batch_size_key", key, allowed)
    counts = spec.allocator.counts if spec.batch == "global" else (1,)
    check_batch_sizes(SeenConfigs(tuple(own)), key, counts, _followed_option)


def _followed_option(size: Any, options: Mapping[str, Any]) -> str:
    """Return the advice to search the option that a batch size follows."""
    source = next((name for name, option in options.items() if option is size or option == size), None)
    if source is None:
        return ""
    advice = f" If {source} is this size, set hydra.sweeper.hwtune.batch_size_key={source}. Then values that are not "
    return f"{advice}divisible are never drawn."
