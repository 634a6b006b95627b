"""What the callback does with the user's loggers: one run a trial over all its segments, and what the study adds to it.

Nothing of a logger is switched off. Loggers that are not known here get hyperparameters and rung decisions like the
others; whether segments share a run is then up to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.channel import VerdictMessage
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.log_folders import continue_folder, mark_restart
from lightning_hwtune.training.metrics_file import KeptMetricsFile, hold_metrics
from lightning_hwtune.training.run_record import load_record, save_record
from lightning_hwtune.training.trackers import continue_mlflow_run
from lightning_hwtune.training.untraced import is_silent

__all__ = ["continue_runs", "hold_rows", "log_configuration", "log_decision", "mark_restarts"]


def continue_runs(trainer: Any, segment: ActiveSegment) -> None:
    """Makes the Trainer's loggers go on in the trial's runs. For `setup`, on all ranks, before others read a folder."""
    if segment.rank == 0:
        record = load_record(segment.order.trial_dir)
        for key, kind, logger in _known(trainer):
            seen = record.setdefault(key, {})
            if kind == "MLFlowLogger":
                continue_mlflow_run(logger, seen)
            else:
                continue_folder(logger, seen, _held(segment, key) if kind == "CSVLogger" else None, segment)
        save_record(segment.order.trial_dir, record)
    folders = {key: logger for key, kind, logger in _known(trainer) if kind != "MLFlowLogger"}
    versions = trainer.strategy.broadcast({key: logger._version for key, logger in folders.items()})
    for key in folders.keys() & versions.keys():
        folders[key]._version = versions[key]


def log_configuration(trainer: Any, segment: ActiveSegment) -> None:
    """Logs the trial's configuration as hyperparameters, under a name of its own: once a run, and in each CSV segment.

    TensorBoard shows the first hyperparameters of a run only, so those that Lightning is about to log go along. A CSV
    logger writes its `hparams.yaml` anew in every segment. Elsewhere a value must not change any more, as that of the
    devices may.
    """
    if segment.rank != 0 or not trainer.loggers:
        return
    order = segment.order
    config = {re.sub(r"[^\w./ -]", "_", name): value for name, value in order.config.items()}
    ours = {"hwtune": {"study": order.study, "trial": order.trial_id, "config": config}}
    params = {**internals.logged_hyperparameters(trainer), **ours}
    record = load_record(order.trial_dir)
    for logger in trainer.loggers:
        if _kind(logger) == "CSVLogger" or "has_configuration" not in record:
            logger.log_hyperparams(params)
    save_record(order.trial_dir, {**record, "has_configuration": True})


def mark_restarts(trainer: Any, segment: ActiveSegment) -> None:
    """Lets curves forget the steps that this segment repeats. For `on_train_start`."""
    if segment.rank != 0 or segment.order.segment == 1:
        return
    for _, kind, logger in _known(trainer):
        if kind == "TensorBoardLogger":
            mark_restart(logger, internals.logger_step(trainer))


def log_decision(trainer: Any, segment: ActiveSegment, verdict: VerdictMessage) -> None:
    """Logs what was decided at a rung: its resource, whether the trial goes on, and its rank among how many."""
    levels = [level for level in segment.order.levels if level <= segment.resource]
    at_rung = segment.resource in levels or verdict.standing is not None
    if segment.rank != 0 or not at_rung:
        return
    values = {"epoch": float(trainer.current_epoch), "hwtune/rung": float(max(levels))}
    values["hwtune/goes_on"] = float(verdict.kind == "continue")
    if verdict.standing is not None:
        values["hwtune/rank"], values["hwtune/rung_size"] = map(float, verdict.standing)
    for logger in trainer.loggers:
        logger.log_metrics(values, step=internals.logger_step(trainer) - 1)
        logger.save()


def hold_rows(trainer: Any, segment: ActiveSegment) -> None:
    """Holds what CSV loggers have written, which the next segment's logger would delete."""
    if segment.rank == 0:
        for key, kind, logger in _known(trainer):
            if kind == "CSVLogger" and "://" not in logger.log_dir:
                hold_metrics(logger, _held(segment, key))


def _known(trainer: Any) -> Iterator[tuple[str, str, Any]]:
    """Yields the loggers whose runs can be continued, each with a name that is the same in all segments, and a kind."""
    for index, logger in enumerate(trainer.loggers):
        kind = _kind(logger)
        if kind and not isinstance(logger, KeptMetricsFile) and not is_silent(logger):
            yield f"{index}_{kind}", kind, logger


def _kind(logger: Any) -> str:
    """Returns the name of the class of Lightning that a logger is built on, of either tree; empty if unknown."""
    names = {base.__name__ for base in type(logger).__mro__}
    return next((kind for kind in ("TensorBoardLogger", "CSVLogger", "MLFlowLogger") if kind in names), "")


def _held(segment: ActiveSegment, key: str) -> Path:
    return Path(segment.order.trial_dir, "loggers", f"{key}.csv")
