"""What a sweep reads in the app's configuration: devices, horizon and batch size of its jobs, and the launcher."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_hwtune.apps.hydra.jobs import Facts, Jobs
from lightning_hwtune.apps.hydra.search import Key, Search, as_devices
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.context import Hints

__all__ = [
    "add_devices",
    "check_batch_size",
    "dividing",
    "hints",
    "horizon",
    "is_ours",
    "launcher_name",
    "max_steps_key",
    "unresolved",
]


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


def add_devices(search: Search, key: str, jobs: Jobs) -> None:
    """Make the number of devices a `NumDevices` parameter, even if the app's configuration fixes it above one.

    Raises:
        ArgumentError: the value is not a number, or differs between jobs.
    """
    if key in search.parameters:
        search.parameters[key] = as_devices(key, search.parameters[key])
        return

    def count(facts: Facts) -> int:
        value = facts.values[key]
        if isinstance(value, bool) or value in (None, "auto", 1, "1", -1, "-1"):  # Lightning sees one device
            return 1
        if not str(value).isdecimal() or int(value) < 1:
            hint = "The study decides which devices a trial gets; give only their number."
            raise ArgumentError(key, value, "a number of devices, or choice(1,2)", hint=hint)
        return int(value)

    hint = f"Search it as a parameter, {key}=choice(1,2), or set one value on the command line."
    number = jobs.shared(count, key, "the same number of devices for all trials", hint)
    if number > 1:
        search.fixed.pop(key, None)
        search.parameters[key], search.keys[key] = NumDevices(number), Key(f"++{key}")


def horizon(search: Search, given: SweepSettings, jobs: Jobs) -> int | None:
    """Return the epochs of a full training, which must be the same in all jobs; None if no job sets them.

    Raises:
        ArgumentError: jobs have different horizons, or the horizon is a searched parameter.
    """
    key = given.own["max_epochs_key"]
    if key in search.parameters:
        hint = f"Set {key} to the length of a full training; trials that fall behind end at a rung before it. "
        hint += "Set it to -1 if hydra.sweeper.hwtune.scheduler counts steps or samples."
        raise ArgumentError(key, search.parameters[key], "one value, the horizon of all trials", hint=hint)
    found: int | None = None
    for name in (max_steps_key(key), key):
        hint = f"All trials must have the same rungs. Set {name} on the command line, which overrides the other values."
        found = jobs.shared(lambda facts: facts.values[name], name, "one value, the horizon of all trials", hint)  # noqa: B023
    return found if isinstance(found, int) and found > 0 else None


def max_steps_key(max_epochs_key: str) -> str:
    """Return the app's key for a horizon in steps, which is next to the key for epochs."""
    return f"{max_epochs_key.rpartition('.')[0]}.max_steps".lstrip(".")


def dividing(space: SearchSpace, key: str | None) -> SearchSpace:
    """Return the space with the rule that a searched batch size must be divisible by the number of devices."""
    is_new = key is not None and key in space and key not in space.batch_size_keys
    return space.constrained(key) if is_new else space


def check_batch_size(key: str | None, spec: StudySpec, jobs: Jobs) -> None:
    """Check the app's key for the batch size of one device's loader in all jobs.

    Raises:
        ArgumentError: the value in a job is not a positive integer, or is not divisible by one of the device counts.
    """
    if key is None or key in spec.space:  # a searched batch size is drawn so that it is divisible
        return
    counts = spec.allocation.counts if spec.batch == "global" else (1,)
    allowed = f"a positive multiple of {' and of '.join(map(str, counts))}"
    for job in jobs.seen:
        value = job.facts.values[key]
        if not isinstance(value, int) or isinstance(value, bool):
            allowed = f"the key of an integer; the value of this key is {value!r}"
            raise ArgumentError("hydra.sweeper.hwtune.batch_size_key", key, allowed)
        if value < 1 or any(value % count for count in counts):
            hint = "It is the global batch size, which the devices of a trial share; `batch='per_device'` changes that."
            source = next((name for name, option in job.options.items() if option is value or option == value), None)
            if source is not None:
                hint += f" If {source} is this size, set hydra.sweeper.hwtune.batch_size_key={source}. Then values "
                hint += "that are not divisible are never drawn."
            raise ArgumentError(key, value, allowed, hint=hint)
