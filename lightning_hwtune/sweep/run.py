"""A multirun as a study: what Hydra hands the sweeper, put together and run.

The order matters: everything that can be wrong is found before the first directory is made.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.entry.chosen import enqueue_new
from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyNotFoundError
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.study import Study
from lightning_hwtune.sweep.app import BatchSize, HydraApp, JobDirs
from lightning_hwtune.sweep.command import Command
from lightning_hwtune.sweep.folders import claim_sweep_dir
from lightning_hwtune.sweep.metric import monitors
from lightning_hwtune.sweep.results import write_results
from lightning_hwtune.sweep.search import Key, Search, as_devices, read_search
from lightning_hwtune.sweep.settings import SweepSettings

__all__ = ["run_sweep"]

log = logging.getLogger(__name__)

_RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
_DROPPED = ("hydra/sweeper", "hydra.sweeper", "hydra/launcher", "hydra.launcher", "hydra.mode", "hydra.run.dir")
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
        _run(sweep)
    except HwTuneError as error:
        raise CompactHydraException(f"hwtune: {error}") from error


@final
@dataclass(slots=True)
class _Sweep:
    """A sweep that is ready to begin."""

    settings: StudySettings
    study: Study
    app: HydraApp
    sweep_dir: Path
    multirun: DictConfig
    is_judged_by_value: bool


def _prepare(arguments: list[str], config: DictConfig, hydra_context: HydraContext) -> _Sweep:
    _refuse_shadow_copies(os.environ)
    given = SweepSettings.of(config.hydra.sweeper)
    loader = hydra_context.config_loader
    search = read_search(given.params, arguments, loader)
    if not search.parameters:
        hint = "Give a range, e.g. model.lr='tag(log, interval(1e-4, 1e-1))', or hydra.sweeper.params."
        raise ArgumentError("overrides", arguments, "at least one that is searched", hint=hint)
    job = _job_config(loader, config, search)
    _add_devices(search, given, job)
    space = SearchSpace(search.parameters)

    key = given.own["max_epochs_key"]
    horizon = _select(job, key)
    objectives, reason = given.objectives(monitors(job))
    scheduler = given.scheduler(horizon if isinstance(horizon, int) and horizon > 0 else None, key)
    if objectives and scheduler is None:
        objectives, reason = [], f"the app has no {key}, and hwtune.scheduler no max_epochs"
    is_judged_by_value = not objectives
    if is_judged_by_value:
        names = ["value"] if len(given.modes) == 1 else [f"value_{index}" for index in range(len(given.modes))]
        objectives = [{"metric": name, "mode": mode} for name, mode in zip(names, given.modes, strict=True)]
        scheduler = {"name": "run_to_end", "max_epochs": 1}
    settings = given.study(job.hydra.job.name, space, objectives, scheduler or {}, list(search.fixed.values()))
    _add_accelerator(settings, given, job)
    study = Study(**settings.study_kwargs())
    sweep_dir = claim_sweep_dir(study.dir, Path(os.path.abspath(config.hydra.sweep.dir)))
    plain: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    app = HydraApp(
        command=Command.of_this_process(),
        search=search,
        hydra=tuple(text for text in config.hydra.overrides.hydra if not text.lstrip("+~").startswith(_DROPPED)),
        dirs=JobDirs(
            sweep_dir=str(sweep_dir),
            has_own_subdir=plain["subdir"] != "${hydra.job.num}",
            output_subdir=config.hydra.output_subdir,
            job_name=job.hydra.job.name,
        ),
        names=study.spec.objectives.metrics,
        is_judged_by_value=is_judged_by_value,
        ckpt_path_key=given.own.get("ckpt_path_key"),
        batch_size=_batch_size(given, search, job),
    )
    for line in _header(given, search, settings, study, sweep_dir, reason, is_judged_by_value):
        log.info(line)
    return _Sweep(settings, study, app, sweep_dir, config, is_judged_by_value)


def _run(sweep: _Sweep) -> None:
    OmegaConf.save(sweep.multirun, sweep.sweep_dir / "multirun.yaml")
    enqueue_new(sweep.study, sweep.settings.enqueue)
    options = sweep.settings.run_kwargs() | {"train": sweep.app}
    options["preload"] = (*_PRELOAD, *options["preload"])
    try:
        # a trial that only a returned value judges has nothing that two batches could show
        sweep.study.run(**options, check=not sweep.is_judged_by_value)
    except (KeyboardInterrupt, SystemExit) as stop:
        log.info("interrupted; what was reported is kept, and the same command goes on")
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
    state = sweep.study.state()
    log.info(f"results: {write_results(state, sweep.sweep_dir)}")
    if state.closed is not None and state.closed.state == "failed":
        raise CompactHydraException(f"hwtune: the sweep failed: {state.closed.reason}")


# ---------------------------------------------------------------------- what the app says


def _job_config(loader: Any, config: DictConfig, search: Search) -> DictConfig:
    """Returns what the app's configuration is in a job of this sweep, with some value for each parameter."""
    example = {name: parameter.quantile(0.5) for name, parameter in search.parameters.items()}
    job: DictConfig = loader.load_sweep_config(config, search.overrides(example))
    return job


def _select(config: DictConfig, key: str | None) -> Any:
    """Returns a value of a configuration; None if it is not there, or has a value in a job only."""
    if key is None:
        return None
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def _add_devices(search: Search, given: SweepSettings, job: DictConfig) -> None:
    """Makes the number of devices a parameter of that kind, also where the app's configuration fixes it above one."""
    key = given.own["devices_key"]
    if key in search.parameters:
        search.parameters[key] = as_devices(key, search.parameters[key])
        return
    value = _select(job, key)
    if isinstance(value, bool) or value in (None, "auto", 1, "1", -1, "-1"):  # Lightning sees the trial's one device
        return
    if not str(value).isdecimal() or int(value) < 1:
        hint = "Which devices a trial gets is decided here; give how many."
        raise ArgumentError(key, value, "a number of devices, or choice(1,2)", hint=hint)
    search.fixed.pop(key, None)
    search.parameters[key], search.keys[key] = NumDevices(int(value)), Key(key)


def _add_accelerator(settings: StudySettings, given: SweepSettings, job: DictConfig) -> None:
    """Refuses a pool of another kind than the app's Trainer asks for."""


def _batch_size(given: SweepSettings, search: Search, job: DictConfig) -> BatchSize | None:
    key = given.own.get("batch_size_key")
    if key is None:
        return None
    if key in search.parameters:
        return BatchSize(key, None)
    value = _select(job, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError("hydra.sweeper.hwtune.batch_size_key", key, f"a key with a whole number, not {value!r}")
    return BatchSize(key, value)


def _refuse_shadow_copies(environ: Mapping[str, str]) -> None:
    """Refuses to sweep as one rank of a group: every rank would run all trials."""
    found = {name: environ[name] for name in _RANKS if name in environ}
    if found.get("SLURM_PROCID") == "0":  # so it is in every batch script
        del found["SLURM_PROCID"]
    if found:
        hint = "The sweep itself is one process; it starts the ranks of each trial. Start it without torchrun or srun."
        raise ArgumentError("environment", found, "a process that is no rank of a group", hint=hint)


# ---------------------------------------------------------------------- what the user reads first


def _header(
    given: SweepSettings,
    search: Search,
    settings: StudySettings,
    study: Study,
    sweep_dir: Path,
    reason: str,
    is_judged_by_value: bool,
) -> list[str]:
    try:
        exist = len(study.state().trials)
    except StudyNotFoundError:
        exist = 0
    total, pool = settings.max_trials or 0, study.spec.pool
    lines = [
        f"sweep directory: {os.path.relpath(sweep_dir)}",
        f"study: {os.path.relpath(study.dir)}: {exist} of {total} trials exist, {max(total - exist, 0)} to go",
        f"judged by {', '.join(study.spec.objectives.names)}: {reason}",
    ]
    if is_judged_by_value:
        lines.append("nothing can be stopped early: every trial runs to its end")
    if given.n_jobs is not None and given.n_jobs * max(study.spec.allocation.counts) < pool.size:
        idle = pool.size - given.n_jobs * max(study.spec.allocation.counts)
        lines.append(f"n_jobs={given.n_jobs} leaves {idle} of {pool.size} devices idle")
    return [*lines, *given.notes, *search.notes]
