"""A multirun as a study: what Hydra hands the sweeper, put together and run.

The order matters: everything that can be wrong is found before the first directory is made.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.entry.begun_with import refuse_changed
from lightning_hwtune.entry.output import short_path
from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyFailedError, StudyNotFoundError
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.study import Study
from lightning_hwtune.sweep.app import AppOverrides, HydraApp, JobDirs
from lightning_hwtune.sweep.app_config import (
    add_devices,
    batch_size,
    dividing,
    hints,
    is_ours,
    job_config,
    launcher_name,
    select,
    text_of,
    unresolved,
)
from lightning_hwtune.sweep.batches import Batches, BatchTask
from lightning_hwtune.sweep.command import Command
from lightning_hwtune.sweep.custom import custom_overrides
from lightning_hwtune.sweep.ending import Ending
from lightning_hwtune.sweep.folders import claim_sweep_dir
from lightning_hwtune.sweep.metric import monitors
from lightning_hwtune.sweep.results import write_results
from lightning_hwtune.sweep.search import Search, read_search
from lightning_hwtune.sweep.settings import SweepSettings
from lightning_hwtune.sweep.wanted import SweepProcess

__all__ = ["run_sweep"]

log = logging.getLogger(__name__)

_APP_CONFIG = "app_config.yaml"
_RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
_DROPPED = ("hydra.mode", "hydra.run.dir")
_PRELOAD = ("hydra", "hydra._internal.hydra", "hydra.experimental.callback", "lightning_hwtune.sweep.app")


def run_sweep(
    arguments: list[str], config: DictConfig, hydra_context: HydraContext, task_function: TaskFunction
) -> None:
    """Runs or continues the sweep.

    Args:
        arguments: the app's overrides, of the command line.
        config: composed for the multirun, with the node `hydra`.

    Raises:
        CompactHydraException: what Hydra tells without a traceback.
    """
    try:
        sweep = _prepare(arguments, config, hydra_context)
        for line in _header(sweep):
            log.info(line)
        _run(sweep, _executor(sweep, hydra_context, task_function))
    except HwTuneError as error:
        raise CompactHydraException(f"hwtune: {error}") from error


@final
@dataclass(slots=True)
class _Sweep:
    """A sweep that is ready to begin. `reason`: why it is judged by what it is judged by."""

    given: SweepSettings
    settings: StudySettings
    study: Study
    app: HydraApp
    config: DictConfig
    sweep_dir: Path
    reason: str


def _prepare(arguments: list[str], config: DictConfig, hydra_context: HydraContext) -> _Sweep:
    _refuse_shadow_copies(os.environ)
    given = SweepSettings.of(config.hydra.sweeper)
    search = read_search(given.params, arguments, hydra_context.config_loader)
    custom = custom_overrides(given.node.get("custom_search_space"), config, search)
    search = read_search(given.params, [*custom, *arguments], hydra_context.config_loader)
    if not search.parameters:
        hint = "Give a range, e.g. model.lr='tag(log, interval(1e-4, 1e-1))', or hydra.sweeper.params."
        raise ArgumentError("overrides", arguments, "at least one that is searched", hint=hint)
    command = Command.of_this_process()
    job = job_config(hydra_context.config_loader, config, search)
    add_devices(search, given.own["devices_key"], job)
    objectives, scheduler, reason = _judges(given, search, job)
    settings = given.study(
        job.hydra.job.name,
        SearchSpace(search.parameters),
        objectives or given.value_objectives(),
        scheduler if objectives else {"name": "run_to_end", "max_epochs": 1},
        [*search.fixed.values(), *command.flags],
    )
    study = _study(settings, given.own.get("batch_size_key"))
    given.check_directions(study.spec.objectives)
    batch = batch_size(given.own.get("batch_size_key"), study.spec, job)
    if not is_ours(config):
        _refuse_groups(study, config)
    sweep_dir = claim_sweep_dir(study.dir, Path(os.path.abspath(config.hydra.sweep.dir)))
    refuse_changed(study, _APP_CONFIG, text_of(job), searched=search.parameters, storage=settings.storage)
    given_to_hydra = unresolved(config.hydra.overrides, "hydra")  # what they refer to has its value in a job
    app = HydraApp(
        command=command,
        hydra=tuple(text for text in given_to_hydra if not text.lstrip("+~").startswith(_DROPPED)),
        overrides=AppOverrides(search, given.own.get("ckpt_path_key"), batch),
        dirs=_dirs(config, job, sweep_dir),
        ending=Ending(study.spec.objectives.metrics, is_judged_by_value=not objectives, hints=hints(given)),
    )
    return _Sweep(given, settings, study, app, config, sweep_dir, reason)


def _study(settings: StudySettings, batch_size_key: str | None) -> Study:
    arguments = settings.study_kwargs()
    if settings.batch == "global":
        arguments["space"] = dividing(arguments["space"], batch_size_key)
    return Study(**arguments)


def _dirs(config: DictConfig, job: DictConfig, sweep_dir: Path) -> JobDirs:
    return JobDirs(
        sweep_dir=str(sweep_dir),
        has_own_subdir=unresolved(config.hydra.sweep, "subdir") != "${hydra.job.num}",
        output_subdir=config.hydra.output_subdir,
        job_name=job.hydra.job.name,
    )


def _judges(given: SweepSettings, search: Search, job: DictConfig) -> tuple[list[Any], dict[str, Any], str]:
    """Returns objectives, scheduler and the reason for them; no objectives if only the returned value is known.

    Raises:
        ArgumentError: metrics are compared at rungs, and the horizon is searched.
    """
    key = given.own["max_epochs_key"]
    horizon = select(job, key) if key not in search.parameters else None
    objectives, reason = given.objectives(monitors(job))
    if objectives and key in search.parameters:
        hint = f"Give {key} the length of a full training: trials that are not worth it end at a rung before. "
        hint += "It is -1 if hwtune.scheduler counts steps or samples."
        raise ArgumentError(key, search.parameters[key], "one value, the horizon of all trials", hint=hint)
    scheduler = given.scheduler(horizon if isinstance(horizon, int) and horizon > 0 else None, key)
    if objectives and scheduler is None:
        return [], {}, f"the app has no {key}, and hwtune.scheduler no max_epochs"
    return objectives, scheduler or {}, reason


def _executor(sweep: _Sweep, hydra_context: HydraContext, task_function: TaskFunction) -> str | Batches:
    """Returns what trains the segments: processes of our own, or the launcher that the user has chosen."""
    if is_ours(sweep.config):
        return "local"
    app, config = sweep.app, copy.deepcopy(sweep.config)
    config.hydra.sweep.dir = str(sweep.sweep_dir)
    resumes_by_argument = app.overrides.ckpt_path_key is not None
    task = BatchTask(task_function, app.ending, SweepProcess.this(), resumes_by_argument, tuple(sys.path))
    launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task, config=config)

    def first_name(overrides: list[str], trial_id: int) -> str:
        job = hydra_context.config_loader.load_sweep_config(config, overrides)
        with open_dict(job):
            job.hydra.job.num, job.hydra.job.id = trial_id, str(trial_id)
        return str(job.hydra.sweep.subdir)

    return Batches(launcher, app.overrides, app.dirs, first_name, sweep.study.dir / "scratch" / "batches")


def _run(sweep: _Sweep, executor: str | Batches) -> None:
    OmegaConf.save(sweep.config, sweep.sweep_dir / "multirun.yaml")
    if sweep.settings.enqueue:
        sweep.study.enqueue(*sweep.settings.enqueue)
    options = sweep.settings.run_kwargs() | {"train": sweep.app, "executor": executor}
    options["preload"] = (*_PRELOAD, *options["preload"])
    failed: StudyFailedError | None = None
    try:
        # where a returned value alone judges a trial there is nothing that two batches could show
        sweep.study.run(**options, check=not sweep.app.ending.is_judged_by_value)
    except StudyFailedError as error:  # what the others found is written all the same
        failed = error
    except (KeyboardInterrupt, SystemExit) as stop:
        log.info("interrupted; what was reported is kept, and the same command goes on")
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
    log.info(f"results: {short_path(write_results(sweep.study.state(), sweep.sweep_dir))}")
    if failed is not None:
        raise failed


# ---------------------------------------------------------------------- what cannot be swept


def _refuse_groups(study: Study, config: DictConfig) -> None:
    """Refuses trials of several devices where a launcher makes the processes."""
    counts = study.spec.allocation.counts
    if max(counts) > 1:
        hint = "Leave hydra/launcher out: the sweeper's own processes train on several devices of this host."
        received = f"{launcher_name(config)} for trials of {max(counts)} devices"
        raise ArgumentError("hydra/launcher", received, "one device a trial", hint=hint)


def _refuse_shadow_copies(environ: Mapping[str, str]) -> None:
    """Refuses to sweep as one rank of a group: every rank would run all trials."""
    found = {name: environ[name] for name in _RANKS if name in environ}
    if found.get("SLURM_PROCID") == "0":  # so it is in every batch script
        del found["SLURM_PROCID"]
    if found:
        hint = "The sweep itself is one process; it starts the ranks of each trial. Start it without torchrun or srun."
        raise ArgumentError("environment", found, "a process that is no rank of a group", hint=hint)


# ---------------------------------------------------------------------- what the user reads first


def _header(sweep: _Sweep) -> list[str]:
    study, given, spec = sweep.study, sweep.given, sweep.study.spec
    try:
        exist = len(study.state().trials)
    except StudyNotFoundError:
        exist = 0
    total, idle = sweep.settings.max_trials or 0, spec.pool.size - (given.n_jobs or spec.pool.size)
    lines = [
        f"sweep directory: {short_path(sweep.sweep_dir)}",
        f"study: {short_path(study.dir)}; {exist} of {total} trials exist, {max(total - exist, 0)} to go",
        f"judged by {', '.join(spec.objectives.names)}: {sweep.reason}",
    ]
    if sweep.app.ending.is_judged_by_value:
        lines.append("nothing can be stopped early: every trial runs to its end")
    if idle > 0 and max(spec.allocation.counts) == 1:
        lines.append(f"n_jobs={given.n_jobs} leaves {idle} of {spec.pool.size} devices idle")
    if not is_ours(sweep.config):
        name = launcher_name(sweep.config)
        lines.append(f"{name} takes batches: trials train to their next rung together, on one device each")
    return [*lines, *given.notes, *sweep.app.overrides.search.notes]
