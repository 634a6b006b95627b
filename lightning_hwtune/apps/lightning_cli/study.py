"""A study from a LightningCLI configuration and a space; settings that are not given come from the configuration.

All errors that can be found without the script are found here, before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.first_config import refuse_changed
from lightning_hwtune.apps.lightning_cli.completion import completed_config
from lightning_hwtune.apps.lightning_cli.config_values import (
    check_base,
    check_space,
    complete,
    fixed_batches,
    keep_devices,
    seen_configs,
)
from lightning_hwtune.apps.lightning_cli.merge import merged_config
from lightning_hwtune.apps.lightning_cli.segment import CliSegment, CliTrial
from lightning_hwtune.apps.seen_configs import SeenConfigs
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Choice
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.settings import StudySettings, parse_overrides
from lightning_hwtune.settings.overrides import apply_overrides
from lightning_hwtune.settings.places import in_file
from lightning_hwtune.settings.study_settings import read_study_file
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.study import Study
from lightning_hwtune.views.tables import front_entries

__all__ = ["CliStudy", "write_best"]

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
        script: Path | str | None = None,
        subcommand: tuple[str, ...] = ("fit",),
        given: Mapping[str, Any] | None = None,
    ) -> CliStudy:
        """Reads a configuration, and a file that contains either a space or a study without `train`.

        Args:
            config: a file, or several files that the script's parser merges in this order.
            script: a file, or the name of a module that `python -m` starts.
            given: keys of a study file that override all others.

        Raises:
            ArgumentError, UnknownArgumentError: a value or a name is not allowed; the message says what is allowed.
        """
        files = [config] if isinstance(config, Path) else list(config)
        target = str(script.resolve()) if isinstance(script, Path) else script
        is_one = len(files) == 1
        data = read_study_file(space)
        if "space" not in data:
            data = {"space": data}
        apply_overrides(data, parse_overrides(overrides), FILE_KEYS)
        place = " and ".join(map(str, files))
        if is_one:
            base, from_script = completed_config(files[0], target, subcommand, data)
        else:
            base, from_script = merged_config(files, target, subcommand), []
        with in_file(place):
            check_base(base)
        with in_file(space):
            check_space(data["space"], base)
            configs = seen_configs(base, data["space"])
            notes = complete(data, base, configs, "-".join(file.stem for file in files))
        if from_script:
            notes.append(f"the script's parser completed {place}, which does not set {', '.join(from_script)}")
        with in_file(place):
            keep_devices(data["space"], configs)
        data |= {key: value for key, value in (given or {}).items() if value is not None}
        settings = StudySettings.from_file_data(space, data)
        with in_file(place):
            trial = _trial(base, configs, settings)
        fixed = {name: size for name, size in trial.batch_sizes.items() if size and name not in settings.space}
        if fixed:
            names = " and ".join(f"{name}={value}" for name, value in fixed.items())
            notes.append(
                f"{names} is the global batch size, which a trial's devices share; batch=per_device changes that"
            )
        return cls(settings, CliSegment(target, subcommand, trial), tuple(notes))

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
        # the configuration's own value counts where a parameter's condition does not hold
        always = [name for name, form in settings.space.items() if form.get("when") is None]
        refuse_changed(
            study, _BASE, base.text, searched=always, sections=always, name_key="study", storage=settings.storage
        )


def write_best(study: Study, segment: CliSegment) -> list[Path]:
    """Writes `best/<trial>.yaml` in the study's folder for each member of the front; returns the files.

    Files of trials that are no longer on the front are deleted.
    """
    state, folder = study.state(), study.dir / "best"
    folder.mkdir(exist_ok=True)
    written = [_write_one(state, entry, segment, folder) for entry in front_entries(state)]
    for path in set(folder.glob("*.yaml")) - set(written):
        path.unlink()
    return written


def _write_one(state: StudyFacts, entry: Mapping[str, Any], segment: CliSegment, folder: Path) -> Path:
    trial = state.trials[entry["trial_id"]]
    config = segment.trial.config(trial.config, trial.num_devices, trial.seed)
    values = ", ".join(f"{name} {value:.6g}" for name, value in entry["objectives"].items())
    lines = [f"# trial {trial.trial_id} of study {state.spec.name}: {values}"]
    if entry["checkpoint"] is not None:
        lines.append(f"# checkpoint: ../{entry['checkpoint']}")
    path = folder / f"{trial.trial_id:03d}.yaml"
    return write_whole(path, "\n".join([*lines, config.text]))


def _trial(base: ConfigTree, configs: SeenConfigs, settings: StudySettings) -> CliTrial:
    built = settings.study_kwargs()
    space, scheduler = built["space"], settings.spec().scheduler
    fixed: dict[str, Any] = {"trainer.max_epochs": scheduler.max_resource if scheduler.unit == "epochs" else -1}
    if scheduler.unit == "steps" or base.get("trainer.max_steps") is not None:
        fixed["trainer.max_steps"] = scheduler.max_resource if scheduler.unit == "steps" else -1
    sizes: dict[str, int] = {}
    if settings.batch == "global":
        searched = dict.fromkeys(space.batch_size_keys, 0)
        sizes = {**fixed_batches(base, configs, space.device_counts or (1,)), **searched}
    seed = base.get("seed_everything", True)
    trial = CliTrial(base, fixed, sizes, has_seed=seed is not True)
    for name, parameter in space.items():
        sections = parameter.options if isinstance(parameter, Choice) else ()
        for section in sections:
            for count in (space.device_counts or (1,)) if isinstance(section, Mapping) else ():
                trial.config({name: section}, count, seed=0)  # raises if a batch size in it does not divide
    return trial
