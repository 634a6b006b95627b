"""A study from a LightningCLI configuration and a space; settings that are not given come from the configuration.

All errors that can be found without the script are found here, before anything is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.apps.lightning_cli.config import CliConfig
from lightning_hwtune.apps.lightning_cli.first_config import refuse_changed
from lightning_hwtune.apps.lightning_cli.merge import merged_config
from lightning_hwtune.apps.lightning_cli.segment import CliSegment, CliTrial
from lightning_hwtune.core.parameters import Choice
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.settings import StudySettings, parse_overrides
from lightning_hwtune.settings.overrides import apply_overrides
from lightning_hwtune.settings.places import in_file
from lightning_hwtune.settings.study_settings import read_study_file
from lightning_hwtune.study import Study
from lightning_hwtune.views.tables import front_records

__all__ = ["CliStudy", "write_best"]

_DEVICES = "trainer.devices"
_OWNED = {
    "trainer.max_epochs": "The scheduler's max_epochs is the horizon of all trials.",
    "trainer.max_steps": "The scheduler's max_steps is the horizon of all trials.",
    "trainer.accelerator": "Set pool.accelerator instead.",
    "trainer.default_root_dir": "Every trial already has its own folder.",
    "seed_everything": "Every trial already has its own seed.",
}
_HORIZONS = ("max_epochs", "max_steps", "max_samples")
_WATCHING = ("ModelCheckpoint", "EarlyStopping")
_TRAIN = "lightning_hwtune.apps.lightning_cli.segment:CliSegment"  # as a study file would name it
_BASE = "lightning_cli.yaml"


@final
@dataclass(frozen=True, slots=True)
class CliStudy:
    """A study that is ready to start. `segment`: its training function. `notes`: lines to print for the user."""

    settings: StudySettings
    segment: CliSegment
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls,
        config: Path | Sequence[Path],
        space: Path,
        overrides: Sequence[str] = (),
        *,
        script: Path | None = None,
        subcommand: tuple[str, ...] = ("fit",),
        given: Mapping[str, Any] | None = None,
    ) -> CliStudy:
        """Reads a configuration, and a file that contains either a space or a study without `train`.

        Args:
            config: a file, or several files that the script's parser merges in this order.
            given: keys of a study file that override all others.

        Raises:
            ArgumentError, RenamedArgumentError: a value or a name is not allowed; the message says what is allowed.
        """
        files = [config] if isinstance(config, Path) else list(config)
        is_one = len(files) == 1
        base = CliConfig.read(files[0]) if is_one else merged_config(files, script, subcommand)
        place = " and ".join(map(str, files))
        with in_file(place):
            _check_base(base)
        data = read_study_file(space)
        if "space" not in data:
            data = {"space": data}
        apply_overrides(data, parse_overrides(overrides), FILE_KEYS)
        with in_file(space):
            notes = _complete(data, base, "-".join(file.stem for file in files))
        with in_file(place):
            _keep_devices(data["space"], base)
        data |= {key: value for key, value in (given or {}).items() if value is not None}
        settings = StudySettings.from_file_data(space, data)
        with in_file(place):
            trial = _trial(base, settings)
        if trial.batch_sizes.keys() - settings.space.keys():
            names = " and ".join(f"{name}={value}" for name, value in trial.batch_sizes.items())
            notes.append(
                f"{names} is the global batch size, which a trial's devices share; batch=per_device changes that"
            )
        path = str(script.resolve()) if script is not None else None
        return cls(settings, CliSegment(path, subcommand, trial), tuple(notes))

    def run_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study.run`."""
        options = self.settings.run_kwargs()
        preload = ("lightning.pytorch.cli", CliSegment.__module__, *options["preload"])
        return {**options, "train": self.segment, "preload": preload}

    def check_stored(self, study: Study) -> None:
        """Refuses to continue a study that began with another configuration; stores the configuration of a new study.

        Raises:
            StudyMismatchError: the configurations differ; the error lists the differences.
        """
        base, settings = self.segment.trial.base, self.settings
        space, storage = settings.space, settings.storage
        refuse_changed(study, _BASE, base.text, searched=space, sections=space, storage=storage)


def write_best(study: Study, segment: CliSegment) -> list[Path]:
    """Writes `best/<trial>.yaml` in the study's folder for each member of the front; returns the files.

    Files of trials that are no longer on the front are deleted.
    """
    state, folder = study.state(), study.dir / "best"
    folder.mkdir(exist_ok=True)
    written = [_write_one(state, record, segment, folder) for record in front_records(state)]
    for path in set(folder.glob("*.yaml")) - set(written):
        path.unlink()
    return written


def _write_one(state: StudyState, record: Mapping[str, Any], segment: CliSegment, folder: Path) -> Path:
    trial = state.trials[record["trial_id"]]
    config = segment.trial.config(trial.config, trial.num_devices, trial.seed)
    values = ", ".join(f"{name} {value:.6g}" for name, value in record["objectives"].items())
    lines = [f"# trial {trial.trial_id} of study {state.spec.name}: {values}"]
    if record["checkpoint"] is not None:
        lines.append(f"# checkpoint: ../{record['checkpoint']}")
    path = folder / f"{trial.trial_id:03d}.yaml"
    path.write_text("\n".join([*lines, config.text]), encoding="utf-8")
    return path


# ---------------------------------------------------------------------- what the configuration says


def _check_base(base: CliConfig) -> None:
    for word in ("fit", "validate", "test", "predict"):
        if isinstance(base.get(word), Mapping):
            hint = f"Move the content of `{word}` to the top level, as for `fit --config config.yaml`."
            raise ArgumentError("config", word, "sections such as `trainer`, `model` and `data`", hint=hint)
    if base.get("ckpt_path") is not None:
        allowed = "null: a trial starts from scratch, and resumes from its own checkpoint"
        raise ArgumentError("ckpt_path", base.get("ckpt_path"), allowed)


def _complete(data: dict[str, Any], base: CliConfig, name: str) -> list[str]:
    """Fills in the settings that a study needs and that are not given; returns a note about each."""
    if data.get("train") is not None:
        raise ArgumentError("train", data["train"], "no value, since the script trains", hint="Leave it out.")
    notes = []
    data["train"] = _TRAIN
    data.setdefault("study", name)
    if isinstance(data["space"], Mapping):
        _check_space(data["space"], base)
    if data.get("objectives") is None:
        metric, mode, callback = _watched(base)
        data["objectives"] = [{"metric": metric, "mode": mode}, "train_s"]
        notes.append(f"objectives: {metric} ({mode}), the monitor of {callback} in the configuration, and train_s")
    given = data.get("scheduler") or {}
    given = {"name": given} if isinstance(given, str) else given
    has_horizon = not given and any(data.get(name) is not None for name in _HORIZONS)
    if isinstance(given, Mapping) and not has_horizon:
        data["scheduler"] = {"name": "asha", **given}
        if not given.keys() & set(_HORIZONS):
            data["scheduler"]["max_epochs"] = _horizon(base)
            notes.append(f"scheduler: {data['scheduler']['name']} up to trainer.max_epochs={_horizon(base)}")
    pool = data.setdefault("pool", {})
    if isinstance(pool, dict) and base.get("trainer.accelerator") in ("cpu", "gpu", "cuda"):
        pool.setdefault("accelerator", base.get("trainer.accelerator"))
    return notes


def _check_space(space: Any, base: CliConfig) -> None:
    """Checks the names; turns the number of devices into a `num_devices` parameter."""
    for name, form in space.items():
        if (outer := next((other for other in space if str(name).startswith(f"{other}.")), None)) is not None:
            raise ArgumentError("space", name, f"a name outside of {outer}, whose options replace all of its content")
        is_devices = isinstance(form, Mapping) and form.get("type") == "num_devices"
        if name in _OWNED:
            raise ArgumentError("space", name, "settings that may differ between trials", hint=_OWNED[name])
        if is_devices and name != _DEVICES:
            raise ArgumentError(f"space.{name}", dict(form), f"another type; only {_DEVICES} is the number of devices")
        if name != _DEVICES:
            base.check_name(str(name), takes_section=_has_sections(form))
        elif isinstance(form, Mapping) and form.get("type") == "choice":
            space[name] = {"type": "num_devices", "counts": form.get("options")}
        elif not is_devices:
            raise ArgumentError(f"space.{name}", form, "{type: num_devices, counts: [1, 2]}")


def _has_sections(form: Any) -> bool:
    """Return whether an option of a parameter may replace a whole section: a mapping, a list or null."""
    options = form.get("options") if isinstance(form, Mapping) else None
    return isinstance(options, list) and any(option is None or isinstance(option, Mapping | list) for option in options)


def _keep_devices(space: Any, base: CliConfig) -> None:
    """Turns the configuration's own number of devices into a parameter with one value, if it is above one.

    Raises:
        ArgumentError: the value is not a number.
    """
    devices = base.get(_DEVICES, "auto")
    if not isinstance(space, dict) or _DEVICES in space or devices in ("auto", 1, "1", -1, "-1"):
        return
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        hint = "The study decides which devices a trial gets; give only their number."
        raise ArgumentError(_DEVICES, devices, "a number of devices", hint=hint)
    space[_DEVICES] = {"type": "num_devices", "counts": [devices]}


def _watched(base: CliConfig) -> tuple[str, str, str]:
    """Returns metric, mode and name of the callback that monitors a metric; ModelCheckpoint before EarlyStopping.

    Raises:
        ArgumentError: no callback monitors a metric.
    """
    found = {name: (metric, mode) for name, metric, mode in _monitors(base.get("trainer.callbacks"))}
    for name in _WATCHING:
        if name in found:
            return *found[name], name
    hint = "No ModelCheckpoint or EarlyStopping of the configuration monitors a metric; give objectives="
    hint += "'[{metric: val_loss, mode: min}, train_s]'."
    raise ArgumentError("objectives", None, "a list with a metric that the training logs", hint=hint)


def _monitors(callbacks: Any) -> Iterator[tuple[str, str, str]]:
    for item in callbacks if isinstance(callbacks, list) else [callbacks]:
        form = item if isinstance(item, Mapping) else {}
        arguments = form.get("init_args") or {}
        metric, mode = arguments.get("monitor"), arguments.get("mode") or "min"
        if isinstance(metric, str) and mode in ("min", "max"):
            yield str(form.get("class_path")).rpartition(".")[2], metric, mode


def _horizon(base: CliConfig) -> int:
    epochs = base.get("trainer.max_epochs")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        hint = "Write trainer.max_epochs into the configuration, or give scheduler.max_epochs=27."
        raise ArgumentError("scheduler", None, "a scheduler with the length of a full training", hint=hint)
    return epochs


def _trial(base: CliConfig, settings: StudySettings) -> CliTrial:
    built = settings.study_kwargs()
    space, scheduler = built["space"], built["scheduler"]
    fixed: dict[str, Any] = {"trainer.max_epochs": scheduler.max_resource if scheduler.unit == "epochs" else -1}
    if scheduler.unit == "steps" or base.get("trainer.max_steps") is not None:
        fixed["trainer.max_steps"] = scheduler.max_resource if scheduler.unit == "steps" else -1
    sizes = dict.fromkeys(space.batch_size_keys, 0) if settings.batch == "global" else {}
    if settings.batch == "global" and not sizes:
        sizes = _fixed_batch(base, space.device_counts or (1,))
    seed = base.get("seed_everything", True)
    trial = CliTrial(base, fixed, sizes, has_seed=seed is not True)
    for name, parameter in space.items():
        sections = parameter.options if isinstance(parameter, Choice) else ()
        for section in sections:
            for count in (space.device_counts or (1,)) if isinstance(section, Mapping) else ():
                trial.config({name: section}, count, seed=0)  # raises if a batch size in it does not divide
    return trial


def _fixed_batch(base: CliConfig, counts: Sequence[int]) -> dict[str, int]:
    """Returns the batch size in the configuration of the data.

    Raises:
        ArgumentError: the batch size is not divisible by one of the device counts.
    """
    if max(counts) == 1:
        return {}
    for name in ("data.init_args.batch_size", "data.batch_size"):
        size = base.get(name)
        if isinstance(size, int) and not isinstance(size, bool):
            if any(size % count for count in counts):
                hint = "It is the global batch size, which a trial's devices share; batch=per_device changes that."
                raise ArgumentError(name, size, f"a multiple of {' and of '.join(map(str, counts))}", hint=hint)
            return {name: size}
    return {}
