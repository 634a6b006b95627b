"""What a study takes from a LightningCLI configuration: objectives, horizon, devices and batch sizes.

A searched parameter may replace a whole section. Then these values must be the same in all of its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_hwtune.apps.batch_share import check_batch_sizes
from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.monitors import Monitor, monitors
from lightning_hwtune.apps.seen_configs import Facts, Seen, SeenConfigs
from lightning_hwtune.apps.trainer_settings import HORIZONS, Horizon, shared_devices, shared_horizon
from lightning_hwtune.errors import ArgumentError

__all__ = [
    "BATCHES",
    "DEVICES",
    "EPOCHS",
    "STEPS",
    "check_base",
    "check_space",
    "complete",
    "fixed_batches",
    "keep_devices",
    "seen_configs",
]

DEVICES = "trainer.devices"
_OWNED = {
    "trainer.max_epochs": "The scheduler's max_epochs is the full training of all trials.",
    "trainer.max_steps": "The scheduler's max_steps is the full training of all trials.",
    "trainer.accelerator": "Set pool.accelerator instead.",
    "trainer.default_root_dir": "Every trial already has its own folder.",
    "seed_everything": "Every trial already has its own seed.",
}
EPOCHS, STEPS = "trainer.max_epochs", "trainer.max_steps"
BATCHES = ("data.init_args.batch_size", "data.batch_size")
_TRAIN = "lightning_hwtune.apps.lightning_cli.segment:CliSegment"  # as a study file would name it


def check_base(base: ConfigTree) -> None:
    """Refuses a configuration with sections for subcommands, or with a checkpoint."""
    for word in ("fit", "validate", "test", "predict"):
        if isinstance(base.get(word), Mapping):
            hint = f"Move the content of `{word}` to the top level, as for `fit --config config.yaml`."
            raise ArgumentError("config", word, "sections such as `trainer`, `model` and `data`", hint=hint)
    if base.get("ckpt_path") is not None:
        allowed = "null: a trial starts from scratch, and resumes from its own checkpoint"
        raise ArgumentError("ckpt_path", base.get("ckpt_path"), allowed)


def complete(data: dict[str, Any], base: ConfigTree, configs: SeenConfigs, name: str) -> list[str]:
    """Fills in the settings that a study needs and that are not given; returns a note about each.

    Raises:
        ArgumentError: the configuration does not give a value that is needed.
    """
    if data.get("train") is not None:
        raise ArgumentError("train", data["train"], "no value, since the script trains", hint="Leave it out.")
    notes = []
    data["train"] = _TRAIN
    data.setdefault("study", name)
    if data.get("objectives") is None:
        monitor = _monitor(configs)
        data["objectives"] = [{"metric": monitor.metric, "mode": monitor.mode}, "train_s"]
        text = f"{monitor.metric} ({monitor.mode}), the monitor of {monitor.callback} at {monitor.where}"
        notes.append(f"objectives: {text}, and train_s")
    given = data.get("scheduler") or {}
    given = {"name": given} if isinstance(given, str) else given
    has_horizon = not given and any(data.get(name) is not None for name in HORIZONS)
    if isinstance(given, Mapping) and not has_horizon:
        named = {"name": "asha", **given}
        data["scheduler"] = _horizon(configs).scheduler(named, EPOCHS, STEPS)
        if data["scheduler"] is None:
            hint = "Write trainer.max_epochs into the configuration, or give scheduler.max_epochs=27."
            raise ArgumentError("scheduler", None, "a scheduler with the length of a full training", hint=hint)
        taken = data["scheduler"].keys() - named.keys()
        notes += [f"scheduler: {named['name']} up to trainer.{name}={data['scheduler'][name]}" for name in taken]
        if not given:  # only the horizon is given, so a study that has begun keeps its scheduler
            data |= {name: value for name, value in data.pop("scheduler").items() if name != "name"}
    pool = data.setdefault("pool", {})
    if isinstance(pool, dict) and base.get("trainer.accelerator") in ("cpu", "gpu", "cuda"):
        pool.setdefault("accelerator", base.get("trainer.accelerator"))
    return notes


def check_space(space: Any, base: ConfigTree) -> None:
    """Checks the names; turns the number of devices into a `num_devices` parameter.

    Raises:
        ArgumentError: a name is not in the configuration, or belongs to the study.
    """
    if not isinstance(space, dict):  # refused where the space is read
        return
    for name, form in space.items():
        if (outer := next((other for other in space if str(name).startswith(f"{other}.")), None)) is not None:
            raise ArgumentError("space", name, f"a name outside of {outer}, whose options replace all of its content")
        is_devices = isinstance(form, Mapping) and form.get("type") == "num_devices"
        if name in _OWNED:
            raise ArgumentError("space", name, "settings that may differ between trials", hint=_OWNED[name])
        if is_devices and name != DEVICES:
            raise ArgumentError(f"space.{name}", dict(form), f"a type other than num_devices, which is for {DEVICES}")
        if name != DEVICES:
            # a class that some trials do not use may not take the argument, so the configuration need not have it
            is_conditional = isinstance(form, Mapping) and form.get("when") is not None
            base.check_name(str(name), takes_section=_has_sections(form), may_be_new=is_conditional)
        elif isinstance(form, Mapping) and form.get("type") == "choice":
            space[name] = {
                "type": "num_devices",
                "counts": form.get("options"),
                **({"when": form["when"]} if "when" in form else {}),
            }
        elif not is_devices:
            raise ArgumentError(f"space.{name}", form, "{type: num_devices, counts: [1, 2]}")


def _has_sections(form: Any) -> bool:
    """Return whether an option of a parameter may replace a whole section: a mapping, a list or null."""
    options = form.get("options") if isinstance(form, Mapping) else None
    return isinstance(options, list) and any(option is None or isinstance(option, Mapping | list) for option in options)


def keep_devices(space: Any, configs: SeenConfigs) -> None:
    """Turns the configuration's own number of devices into a parameter with one value, if it is above one.

    Raises:
        ArgumentError: the value is not a number, or differs between sections that are searched.
    """
    if not isinstance(space, dict) or DEVICES in space:
        return
    number = shared_devices(configs, DEVICES, f"Search the number of devices as its own parameter, {DEVICES}.")
    if number > 1:
        space[DEVICES] = {"type": "num_devices", "counts": [number]}


def seen_configs(base: ConfigTree, space: Any) -> SeenConfigs:
    """Returns the configurations of the trials: one option of each searched section is changed at a time."""
    forms = space if isinstance(space, Mapping) else {}
    sections = {str(name): form["options"] for name, form in forms.items() if _has_sections(form)}
    example = {name: options[0] for name, options in sections.items()}
    others = [{**example, name: option} for name, options in sections.items() for option in options[1:]]
    return SeenConfigs(tuple(Seen(options, _facts(base.replaced(options))) for options in (example, *others)))


def _facts(config: ConfigTree) -> Facts:
    values = {name: config.get(name) for name in (DEVICES, EPOCHS, STEPS, *BATCHES)}
    return Facts(values, tuple(monitors(config.plain(), config.get)))


def _monitor(configs: SeenConfigs) -> Monitor:
    """Returns the metric that a callback monitors; ModelCheckpoint before EarlyStopping.

    Raises:
        ArgumentError: no callback monitors a metric, or sections that are searched monitor different ones.
    """
    hint = "Give objectives='[{metric: val_loss, mode: min}, train_s]'."

    def metric(facts: Facts) -> tuple[str, str] | None:
        return next(((found.metric, found.mode) for found in facts.monitors), None)

    if configs.shared(metric, "objectives", "one metric for all trials", hint) is None:
        hint = f"No ModelCheckpoint or EarlyStopping of the configuration monitors a metric. {hint}"
        raise ArgumentError("objectives", None, "a list with a metric that the training logs", hint=hint)
    return configs.first.monitors[0]


def _horizon(configs: SeenConfigs) -> Horizon:
    hint = "All trials must have the same rungs: leave {key} out of the sections that are searched."
    return shared_horizon(configs, EPOCHS, STEPS, hint)


def fixed_batches(base: ConfigTree, configs: SeenConfigs, counts: Sequence[int]) -> dict[str, int]:
    """Returns the batch sizes that a trial's data may have in the configuration, with their value in `base`.

    Raises:
        ArgumentError: a batch size is not divisible by one of the device counts.
    """
    if max(counts) == 1:
        return {}
    found = [name for name in BATCHES if any(config.facts.values[name] is not None for config in configs.seen)]
    for name in found:
        check_batch_sizes(configs, name, counts)
    return {name: base.get(name, 0) for name in found}
