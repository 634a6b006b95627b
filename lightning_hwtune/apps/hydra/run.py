"""Runs a multirun as a study, from what Hydra passes to the sweeper.

The order matters: all errors that can be found early are found before the first directory is created.
"""

from __future__ import annotations

import contextvars
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

from lightning_hwtune.apps.first_config import refuse_changed
from lightning_hwtune.apps.hydra.app import AppOverrides, HydraApp, JobDirs
from lightning_hwtune.apps.hydra.app_config import (
    add_devices,
    check_batch_size,
    dividing,
    has_trainer,
    hints,
    horizon,
    is_ours,
    launcher_name,
    seed_key,
    unresolved,
)
from lightning_hwtune.apps.hydra.batches import Batches, BatchTask
from lightning_hwtune.apps.hydra.call_end import Ending
from lightning_hwtune.apps.hydra.command import Command
from lightning_hwtune.apps.hydra.custom_search_space import custom_overrides
from lightning_hwtune.apps.hydra.folders import claim_sweep_dir, has_time
from lightning_hwtune.apps.hydra.jobs import Jobs, text_of
from lightning_hwtune.apps.hydra.results import write_results
from lightning_hwtune.apps.hydra.search import Search, read_search
from lightning_hwtune.apps.hydra.settings import HYDRA_SPELLING, SweepSettings, max_steps_key
from lightning_hwtune.apps.hydra.study_name import default_name, keep_digest, n_trials_begun
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.engine.executors import Choice, abilities_of_choice, check_here
from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyFailedError, StudyNotFoundError
from lightning_hwtune.forms.given import by_default
from lightning_hwtune.names.spelling import spell_by, spelled
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.study import Study
from lightning_hwtune.text import counted, interrupted_text
from lightning_hwtune.views.study_location import short_path

__all__ = ["run_sweep"]

log = logging.getLogger(__name__)

_APP_CONFIG = "app_config.yaml"
_APP_OPTIONS = "app_options.yaml"  # the further values that each option of a configuration group sets
_RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
_DROPPED = ("hydra.mode", "hydra.run.dir")
_PRELOAD = ("hydra", "hydra._internal.hydra", "hydra.experimental.callback", "lightning_hwtune.apps.hydra.app")


def run_sweep(
    arguments: list[str], config: DictConfig, hydra_context: HydraContext, task_function: TaskFunction
) -> None:
    """Runs or continues the sweep.

    Args:
        arguments: the app's overrides from the command line.
        config: the configuration composed for the multirun, including the node `hydra`.

    Raises:
        CompactHydraException: an error that Hydra prints without a traceback.
    """
    contextvars.copy_context().run(_run_sweep, arguments, config, hydra_context, task_function)


def _run_sweep(
    arguments: list[str], config: DictConfig, hydra_context: HydraContext, task_function: TaskFunction
) -> None:
    spell_by(HYDRA_SPELLING)
    try:
        sweep = _prepare(arguments, config, hydra_context)
        for line in _header(sweep):
            log.info(line)
        _run(sweep, _executor(sweep, hydra_context, task_function))
    except HwTuneError as error:
        raise CompactHydraException(spelled(f"hwtune: {error}")) from error


@final
@dataclass(slots=True)
class _Sweep:
    """A sweep that is ready to start.

    Attributes:
        reason: why these objectives are used.
        is_checked: whether the app runs with shortened epochs first; without a Trainer nothing can be shortened.
    """

    given: SweepSettings
    settings: StudySettings
    study: Study
    app: HydraApp
    config: DictConfig
    sweep_dir: Path
    reason: str
    is_checked: bool


def _prepare(arguments: list[str], config: DictConfig, hydra_context: HydraContext) -> _Sweep:
    _refuse_shadow_copies(os.environ)
    given = SweepSettings.of(config.hydra.sweeper)
    search = read_search(given.params, arguments, hydra_context.config_loader)
    custom = custom_overrides(given.node.get("custom_search_space"), config, search)
    search = read_search(given.params, [*custom, *arguments], hydra_context.config_loader)
    if not search.parameters:
        hint = "Give a range, e.g. model.lr='tag(log, interval(1e-4, 1e-1))', here or in hydra.sweeper.params."
        raise ArgumentError("overrides", arguments, "at least one searched parameter", hint=hint)
    command = Command.of_this_process()
    batch_size_key = given.own.get("batch_size_key")
    jobs = Jobs.compose(hydra_context.config_loader, config, search, _keys_read(given))
    add_devices(search, given.own["devices_key"], jobs.configs)
    objectives, scheduler, reason = _judges(given, search, jobs)
    space = SearchSpace(search.parameters)
    judged = (
        objectives or _value_objectives(given, jobs),
        scheduler if objectives else {"name": "run_to_end", "max_epochs": 1},
    )
    digest = given.digest(space, *judged, [*search.fixed.values(), *command.flags])
    searched = [name for name, parameter in search.parameters.items() if parameter.n_values != 1]
    folder, storage = Path(given.own["dir"]), given.node.get("storage")
    name = default_name(folder, jobs.example.hydra.job.name, searched, digest, storage)
    n_begun = 0
    if given.node.get("max_failure_rate") is not None:  # nothing else needs the stored study here
        n_begun = n_trials_begun(folder, given.name(name), storage)
    settings = given.study(name, space, *judged, n_begun=n_begun)
    study = _study(settings, batch_size_key)
    given.check_directions(study.spec.objectives)
    check_batch_size(batch_size_key, study.spec, jobs)
    _check_executor(settings.run["executor"], study, config)
    if not is_ours(config):
        _refuse_groups(study, config)
    study.refuse_foreign_folder()
    is_by_time = has_time(OmegaConf.to_yaml(config.hydra.sweep, resolve=False))
    wanted = Path(os.path.abspath(config.hydra.sweep.dir))
    sweep_dir = claim_sweep_dir(study.dir, wanted, is_named_by_time=is_by_time)
    if settings.study == name:
        keep_digest(study.dir, digest)
    for file, text in ((_APP_CONFIG, text_of(jobs.example)), (_APP_OPTIONS, OmegaConf.to_yaml(jobs.options))):
        if file == _APP_CONFIG or jobs.options:
            refuse_changed(
                study,
                file,
                text,
                searched=search.always,
                name_key="hydra.sweeper.study_name",
                storage=settings.storage,
            )
    given_to_hydra = unresolved(config.hydra.overrides, "hydra")  # interpolations in them have a value only in a job
    app = HydraApp(
        command=command,
        hydra=tuple(text for text in given_to_hydra if not text.lstrip("+~").startswith(_DROPPED)),
        overrides=AppOverrides(
            search, given.own.get("ckpt_path_key"), given.own["devices_key"], seed_key(jobs.example, search)
        ),
        dirs=_dirs(config, jobs.example, sweep_dir),
        ending=Ending(
            study.spec.objectives.metrics if not objectives else study.spec.objectives.logged,
            is_judged_by_value=not objectives,
            hints=hints(given),
            best=study.spec.objectives.best_so_far,
        ),
        batch_size_key=batch_size_key,
    )
    is_checked = bool(objectives) or has_trainer(jobs.example, given.own["max_epochs_key"])
    return _Sweep(given, settings, study, app, config, sweep_dir, reason, is_checked)


def _study(settings: StudySettings, batch_size_key: str | None) -> Study:
    arguments = settings.given_study_kwargs()
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


def _keys_read(given: SweepSettings) -> list[str]:
    """Return the app's keys that the sweep reads from each job."""
    keys = [given.own["devices_key"], given.own["max_epochs_key"], max_steps_key(given.own["max_epochs_key"])]
    batch_size_key = given.own.get("batch_size_key")
    return [*keys, batch_size_key] if batch_size_key is not None else keys


def _judges(given: SweepSettings, search: Search, jobs: Jobs) -> tuple[list[Any], dict[str, Any], str]:
    """Return objectives, scheduler and the reason for them; no objectives if only the returned value is known.

    Raises:
        ArgumentError: jobs have different metrics or training lengths, or the training length is not given anywhere.
    """
    hint = "Name one metric for all trials: hydra.sweeper.hwtune.objectives=[{metric: val/loss, mode: min}]."
    objectives = jobs.configs.shared(
        lambda facts: given.objectives(facts.monitors)[0],
        "hydra.sweeper.hwtune.objectives",
        "the same for all trials",
        hint,
    )
    reason = given.objectives(jobs.configs.first.monitors)[1]
    if not objectives:
        return [], {}, reason
    key = given.own["max_epochs_key"]
    scheduler = given.scheduler(horizon(search, given, jobs.configs))
    if scheduler is None and given.own.get("objectives"):
        hint = f"The app has no {key}: give max_epochs, or set hydra.sweeper.hwtune.max_epochs_key to the app's key."
        scheduler = given.own.get("scheduler")
        raise ArgumentError("hydra.sweeper.hwtune.scheduler", scheduler, "a scheduler with max_epochs", hint=hint)
    if scheduler is None:
        return [], {}, f"the app has no {key}, and hydra.sweeper.hwtune.scheduler has no max_epochs"
    return objectives, scheduler, reason


def _value_objectives(given: SweepSettings, jobs: Jobs) -> list[Any]:
    hint = "Set it to minimize or maximize."
    argument, allowed = "hydra.sweeper.direction", "the same for all trials"
    return jobs.configs.shared(lambda facts: given.value_objectives(facts.monitors), argument, allowed, hint)


def _executor(sweep: _Sweep, hydra_context: HydraContext, task_function: TaskFunction) -> Choice:
    """Returns what trains the segments: the chosen executor, or the launcher that the user has chosen."""
    if is_ours(sweep.config):
        return sweep.settings.run["executor"]
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


def _run(sweep: _Sweep, executor: Choice) -> None:
    write_whole(sweep.sweep_dir / "multirun.yaml", OmegaConf.to_yaml(sweep.config))
    if sweep.settings.enqueue:
        sweep.study.enqueue(*sweep.settings.enqueue)
    options = sweep.settings.run_kwargs() | {"train": sweep.app, "executor": executor}
    options["preload"] = (*_PRELOAD, *options["preload"])
    failed: StudyFailedError | None = None
    try:
        with by_default(sweep.given.defaults):
            sweep.study.run(**options | {"check": options["check"] and sweep.is_checked})
    except StudyFailedError as error:  # the results of the other trials are written nevertheless
        failed = error
    except (KeyboardInterrupt, SystemExit) as stop:
        log.info(f"{interrupted_text(short_path(sweep.study.dir))}: the same command continues it.")
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
    log.info(f"results: {short_path(write_results(sweep.study.state(), sweep.study.dir, sweep.sweep_dir))}")
    if failed is not None:
        raise failed


# ---------------------------------------------------------------------- what cannot be swept


def _refuse_groups(study: Study, config: DictConfig) -> None:
    """Refuses trials on several devices if a launcher creates the processes."""
    counts = study.spec.allocator.counts
    if max(counts) > 1:
        hint = "Leave out hydra/launcher: the sweeper itself can train a trial on several devices of this host."
        received = f"{launcher_name(config)} for trials on {counted(max(counts), 'devices')}"
        raise ArgumentError("hydra/launcher", received, "one device per trial", hint=hint)


def _check_executor(chosen: Choice, study: Study, config: DictConfig) -> None:
    """Refuses an executor that trains in this process, one together with a launcher, and one that cannot work here."""
    argument = "hydra.sweeper.hwtune.executor"
    if abilities_of_choice(chosen).trains_here:
        raise ArgumentError(argument, chosen, "an executor that trains in separate processes, such as 'local'")
    if not is_ours(config) and chosen != "local":
        raise ArgumentError(
            argument, chosen, "'local' with a launcher", hint="Leave out hydra/launcher or the executor."
        )
    check_here(chosen, study.spec.pool)


def _refuse_shadow_copies(environ: Mapping[str, str]) -> None:
    """Refuses to sweep as one of several ranks, because every rank would run all trials."""
    found = {name: environ[name] for name in _RANKS if name in environ}
    if found.get("SLURM_PROCID") == "0":  # every batch script has this value
        del found["SLURM_PROCID"]
    if found:
        hint = "A sweep is one process, which starts the ranks of each trial. Start it without torchrun or srun."
        raise ArgumentError("environment", found, "a process that is not a rank of a group", hint=hint)


# ---------------------------------------------------------------------- the first lines that are printed


def _header(sweep: _Sweep) -> list[str]:
    study, given, spec = sweep.study, sweep.given, sweep.study.spec
    total, idle = sweep.settings.run["max_trials"] or 0, spec.pool.places - (given.n_jobs or spec.pool.places)
    try:
        state = study.state()
        exist = len(state.searched)
        total = (state.default_limits.get("max_trials") if "max_trials" in given.defaults else None) or total
    except StudyNotFoundError:
        exist = 0
    lines = [
        f"sweep directory: {short_path(sweep.sweep_dir)}",
        f"study: {short_path(study.dir)}; {exist} of {counted(total, 'trials')} begun, {max(total - exist, 0)} to go",
        f"objectives: {', '.join(spec.objectives.names)} ({sweep.reason})",
    ]
    if sweep.app.ending.is_judged_by_value:
        lines.append("no trial can be stopped early: each one runs to its end")
        if not sweep.is_checked:
            lines.append(f"the app is not checked beforehand; it must return {sweep.app.ending.wanted}")
    if idle > 0 and max(spec.allocator.counts) == 1:
        lines.append(f"n_jobs={given.n_jobs} leaves {idle} of {spec.pool.places} devices idle")
    if not is_ours(sweep.config):
        name = launcher_name(sweep.config)
        lines.append(f"{name} runs batches: trials train to their next rung together, on one device each")
    return [*lines, *given.notes, *sweep.app.overrides.search.notes]
