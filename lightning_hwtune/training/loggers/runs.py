"""What the callback does with the user's loggers: all segments of a trial share one run, and the study adds to it.

No function of a logger is switched off. Loggers that are not known here also get the hyperparameters and the rung
decisions, but whether the segments of a trial share a run depends on the logger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.channel import VerdictMessage
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.loggers.csv_rows import KeptMetricsFile, hold_metrics
from lightning_hwtune.training.loggers.folders import continue_folder, mark_restart
from lightning_hwtune.training.loggers.stored_runs import load_runs, save_runs
from lightning_hwtune.training.loggers.trackers import continue_mlflow_run
from lightning_hwtune.training.untraced import is_silent

__all__ = ["continue_runs", "hold_rows", "log_configuration", "log_decision", "mark_restarts"]


def continue_runs(trainer: Any, segment: ActiveSegment) -> None:
    """Makes the Trainer's loggers continue the trial's runs. For `setup`, on all ranks, before a folder is read."""
    if segment.rank == 0:
        stored = load_runs(segment.order.trial_dir)
        for key, kind, logger in _known(trainer):
            seen = stored.setdefault(key, {})
            if kind == "MLFlowLogger":
                continue_mlflow_run(logger, seen)
            else:
                continue_folder(logger, seen, _held(segment, key) if kind == "CSVLogger" else None, segment)
        save_runs(segment.order.trial_dir, stored)
    folders = {key: logger for key, kind, logger in _known(trainer) if kind != "MLFlowLogger"}
    versions = trainer.strategy.broadcast({key: logger._version for key, logger in folders.items()})
    for key in folders.keys() & versions.keys():
        folders[key]._version = versions[key]


def log_configuration(trainer: Any, segment: ActiveSegment) -> None:
    """Logs the trial's configuration as hyperparameters under the key "hwtune": once per run, and per segment for CSV.

    TensorBoard shows only the first hyperparameters of a run, so those that Lightning is about to log are included. A
    CSV logger writes its `hparams.yaml` again in every segment. In other loggers a value must not change once it is
    logged, but the number of devices may change; so they get the configuration only once.
    """
    if segment.rank != 0 or not trainer.loggers:
        return
    order = segment.order
    config = {re.sub(r"[^\w./ -]", "_", name): value for name, value in order.config.items()}
    ours = {"hwtune": {"study": order.study, "trial": order.trial_id, "config": config}}
    params = {**internals.logged_hyperparameters(trainer), **ours}
    stored = load_runs(order.trial_dir)
    for logger in trainer.loggers:
        if _kind(logger) == "CSVLogger" or "has_configuration" not in stored:
            logger.log_hyperparams(params)
    save_runs(order.trial_dir, {**stored, "has_configuration": True})


def mark_restarts(trainer: Any, segment: ActiveSegment) -> None:
    """Removes the steps that this segment repeats from TensorBoard's curves. For `on_train_start`."""
    if segment.rank != 0 or segment.order.segment == 1:
        return
    for _, kind, logger in _known(trainer):
        if kind == "TensorBoardLogger":
            mark_restart(logger, internals.logger_step(trainer))


def log_decision(trainer: Any, segment: ActiveSegment, verdict: VerdictMessage) -> None:
    """Logs the decision at a rung: its resource, whether the trial continues, its rank and the size of the rung."""
    levels = [level for level in segment.order.levels if level <= segment.resource]
    at_rung = segment.resource in levels or verdict.standing is not None
    if segment.rank != 0 or not at_rung:
        return
    values = {"epoch": float(trainer.current_epoch), "hwtune/rung": float(max(levels))}
    values["hwtune/goes_on"] = float(verdict.kind == VerdictKind.CONTINUE)
    if verdict.standing is not None:
        values["hwtune/rank"], values["hwtune/rung_size"] = map(float, verdict.standing)
    for logger in trainer.loggers:
        logger.log_metrics(values, step=internals.logger_step(trainer) - 1)
        logger.save()


def hold_rows(trainer: Any, segment: ActiveSegment) -> None:
    """Keeps the rows that CSV loggers have written, because the next segment's logger would delete them."""
    if segment.rank == 0:
        for key, kind, logger in _known(trainer):
            if kind == "CSVLogger" and "://" not in logger.log_dir:
                hold_metrics(logger, _held(segment, key))


def _known(trainer: Any) -> Iterator[tuple[str, str, Any]]:
    """Yields key, kind and logger for each logger whose run can be continued; a key is the same in all segments."""
    for index, logger in enumerate(trainer.loggers):
        kind = _kind(logger)
        if kind and not isinstance(logger, KeptMetricsFile) and not is_silent(logger):
            yield f"{index}_{kind}", kind, logger


def _kind(logger: Any) -> str:
    """Returns the name of the Lightning class, of either tree, that a logger derives from; empty if unknown."""
    names = {base.__name__ for base in type(logger).__mro__}
    return next((kind for kind in ("TensorBoardLogger", "CSVLogger", "MLFlowLogger") if kind in names), "")


def _held(segment: ActiveSegment, key: str) -> Path:
    return Path(segment.order.trial_dir, "loggers", f"{key}.csv")
