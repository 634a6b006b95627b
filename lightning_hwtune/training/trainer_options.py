"""The types of the arguments that `trial.fit` and `trial.trainer` pass to Lightning's Trainer, for type checkers.

All arguments of the Trainer are here, except those that the study decides (`trial.OWNED`).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict

__all__ = ["FitOptions", "TrainerOptions"]

_Share = int | float | None


class TrainerOptions(TypedDict, total=False):
    """Arguments of `Trainer(...)`. Lightning's objects are `Any`, because they come from either of its two packages."""

    strategy: Any
    precision: Any
    logger: Any
    callbacks: Any
    plugins: Any
    profiler: Any
    fast_dev_run: Literal[False, 0]
    max_time: str | timedelta | dict[str, int] | None
    limit_train_batches: _Share
    limit_val_batches: _Share
    limit_test_batches: _Share
    limit_predict_batches: _Share
    overfit_batches: int | float
    val_check_interval: int | float | str | timedelta | dict[str, int] | None
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int | None
    log_every_n_steps: int | None
    enable_checkpointing: bool | None
    enable_progress_bar: bool | None
    enable_model_summary: bool | None
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: bool | Literal["warn"] | None
    benchmark: bool | None
    inference_mode: bool
    use_distributed_sampler: bool
    detect_anomaly: bool
    barebones: bool
    sync_batchnorm: bool
    reload_dataloaders_every_n_epochs: int
    default_root_dir: str | Path | None
    enable_autolog_hparams: bool
    model_registry: str | None


class FitOptions(TrainerOptions, total=False):
    """The other arguments of `trial.fit`."""

    train_dataloaders: Any
