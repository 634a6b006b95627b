"""`hwtune command`: the command that trains one trial alone, without a study."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Storage

if TYPE_CHECKING:
    from lightning_hwtune.settings import StudySettings

__all__ = ["command"]

_HORIZONS = ("max_epochs", "max_steps", "max_samples")


def command(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Number of the trial.", show_default=False)],
    study_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY.yaml]",
            exists=True,
            dir_okay=False,
            help="The study file, for a study whose training is a function.",
            show_default=False,
        ),
    ] = None,
    sbatch: Annotated[
        bool,
        typer.Option("--sbatch", help="Print it as a job for Slurm: sbatch with the devices and threads of the trial."),
    ] = False,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Print the command that trains a trial alone: with its configuration, from scratch to the end, without pauses."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.errors import ArgumentError

    chosen = choose(dir, study, storage).study
    chosen.logs(trial)  # refuses a number that no trial has
    state = chosen.state()
    if study_file is not None:
        words = ["hwtune", "run", str(study_file), *_overrides(state, trial, study_file)]
    else:
        app = _app(chosen.dir)
        if app is None:
            hint = (
                f"Give the study file: hwtune command {trial} STUDY.yaml. A script without a study file trains a fully "
                "trained trial again with `study.refit` or `hwtune refit`."
            )
            raise ArgumentError("STUDY.yaml", None, "a study file, because the training is a function", hint=hint)
        words = ["python", *app.alone(state.trials[trial], chosen.dir)]
    if sbatch:
        words = _as_job(state, trial, shlex.join(words))
    typer.echo(shlex.join(words))


def _as_job(state: Any, trial_id: int, command: str) -> list[str]:
    """Returns the command that submits a job with the devices of a trial.

    Raises:
        ArgumentError: the trial trains on several nodes.
    """
    from lightning_hwtune.errors import ArgumentError
    from lightning_hwtune.text import counted

    pool, devices = state.spec.pool, state.trials[trial_id].num_devices
    if pool.n_nodes > 1 and devices > pool.node_size:
        hint = "On several nodes, run a study of this one trial: hwtune run STUDY.yaml executor=agents."
        raise ArgumentError("--sbatch", f"a trial on {counted(devices, 'devices')}", "a trial on one node", hint=hint)
    wanted = ["--nodes=1", "--ntasks=1"]
    wanted += [f"--gpus-per-node={devices}"] if pool.accelerator == "gpu" else []
    wanted += [f"--cpus-per-task={devices * pool.threads(1)}"]
    return ["sbatch", f"--job-name={state.spec.name}-trial-{trial_id}", *wanted, "--wrap", command]


def _app(folder: Path) -> Any | None:
    """Returns the app that the newest session trained, a script or a Hydra app; None if it trained a function."""
    import pickletools

    import cloudpickle

    from lightning_hwtune.engine.payload import stored_function
    from lightning_hwtune.errors import ArgumentError

    try:
        function = stored_function(folder)
    except ArgumentError:  # it was trained in one process, or by ask and tell
        return None
    data = function.path.read_bytes()
    module = next((text for _, text, _ in pickletools.genops(data) if isinstance(text, str)), "")
    if not module.startswith("lightning_hwtune.apps."):  # a function; its own modules are not imported for this
        return None
    return cloudpickle.loads(data)


def _overrides(state: Any, trial_id: int, study_file: Path) -> list[str]:
    """Returns the changes to a study file with which it trains only this configuration, to the end.

    Raises:
        ArgumentError: the file cannot be read, or the study cannot run with these changes.
    """
    from lightning_hwtune.settings import StudySettings

    trial, space = state.trials[trial_id], state.spec.space
    one = {name: _constant(space[name].to_dict(), value) for name, value in trial.config.items()}
    scheduler = {"name": "run_to_end", f"max_{state.ladder.unit}": state.ladder.top}
    changes = {"space": one, "scheduler": scheduler, "searcher": {"name": "grid"}}
    changes |= _unfit(StudySettings.load(study_file), trial.num_devices, is_searched=space.devices_key is not None)
    texts = [f"{name}={_text(value)}" for name, value in changes.items()]
    found = [f"study={state.spec.name}-trial-{trial_id}", *texts, "max_trials=1"]
    StudySettings.load(study_file, found)
    return found


def _unfit(settings: StudySettings, devices: int, *, is_searched: bool) -> dict[str, Any]:
    """Returns the keys of a study file that do not suit a single configuration, with other values.

    Args:
        is_searched: whether the number of devices is a parameter.
    """
    from lightning_hwtune.core.objectives import Cost, DeviceSeconds, TrainSeconds
    from lightning_hwtune.settings.study_parts import objective

    changes: dict[str, Any] = {key: None for key in ("prior", *_HORIZONS) if getattr(settings, key) is not None}
    if settings.enqueue:
        changes["enqueue"] = []
    if settings.allocation is not None and not is_searched:
        changes["allocation"] = {"name": "fixed", "devices": devices}
    proportional = (TrainSeconds, DeviceSeconds, Cost)  # with one device count they are multiples of each other
    measured = [item for item in settings.objectives if isinstance(objective(item), proportional)]
    if len(measured) > 1:
        changes["objectives"] = [item for item in settings.objectives if item not in measured[1:]]
    return changes


def _constant(form: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Returns the form of a parameter that has only this value."""
    if "counts" in form:
        return {"type": form["type"], "counts": [value]}
    kind = "choice" if form["type"] in ("float", "int") else form["type"]
    return {"type": kind, "options": [value]}


def _text(value: Any) -> str:
    """Returns a value in the grammar of overrides: JSON whose mappings have keys without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
