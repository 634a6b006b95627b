"""The few places that use undocumented parts of a Trainer, each with its reason.

Everything works with the Trainers of `lightning.pytorch` and `pytorch_lightning`, version 2.4 or later.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed

from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.training.process_group import group_size

__all__ = [
    "OwnLimits",
    "adds_epochs",
    "argument_of",
    "batch_size",
    "batches_left_out",
    "batches_per_epoch",
    "class_tree",
    "ends_by_itself",
    "finish_epochs",
    "group_size",
    "last_round",
    "leave_sigterm_alone",
    "lift_minimums",
    "limit_batches",
    "limit_epochs",
    "load_weights",
    "logged_hyperparameters",
    "logger_step",
    "own_limits",
    "preload_checkpoint",
    "replace_callback_metrics",
    "reserved_gpu_bytes",
    "samples_per_batch",
    "sized_loader",
    "skip_evaluation",
    "skip_training",
    "sum_over_ranks",
    "total_gpu_bytes",
    "training_results",
    "trust_checkpoint",
    "trusting",
    "validation_results",
    "wait_for_device",
]


def class_tree(obj: Any) -> str:
    """Returns the package whose classes `obj` is built on: "lightning.pytorch" or "pytorch_lightning"."""
    obj = getattr(obj, "_orig_mod", obj)  # the module inside a torch.compile wrapper
    bases = {base.__module__.partition(".")[0] for base in type(obj).__mro__}
    return "pytorch_lightning" if "pytorch_lightning" in bases and "lightning" not in bases else "lightning.pytorch"


def trusting(function: Any) -> dict[str, bool]:
    """Returns the keyword that makes Lightning load our checkpoint completely; empty in versions without it."""
    return {"weights_only": False} if "weights_only" in inspect.signature(function).parameters else {}


def argument_of(trainer: Any, name: str) -> Any:
    """Returns the precision or the accumulation of a Trainer; None for an argument that it does not keep."""
    value = getattr(trainer, name, None)
    return value if isinstance(value, str | int) else None


def preload_checkpoint(trainer: Any, path: str) -> None:
    """Makes a fit without `ckpt_path` resume from `path`; a fit with a `ckpt_path` is not affected."""
    resume = trainer._checkpoint_connector.resume_start
    resume(path, **trusting(resume))


def load_weights(module: Any, path: str) -> None:
    """Gives a module the weights of a checkpoint, before its training begins.

    Raises:
        CheckpointError: the file has no weights of a LightningModule, or those of another model.
    """
    try:
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=False)["state_dict"])
    except (LookupError, TypeError, RuntimeError, OSError) as error:
        raise CheckpointError(f"the refit cannot begin with the weights of {path!r}: {error}") from error


def trust_checkpoint(trainer: Any, path: str) -> None:
    """Makes a fit load our checkpoint completely if it gets its path, whatever the default of `weights_only` is."""
    connector = trainer._checkpoint_connector
    resume = connector.resume_start

    def trusting_resume(checkpoint_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        is_ours = checkpoint_path is not None and os.fspath(checkpoint_path) == path
        return resume(checkpoint_path, **trusting(resume)) if is_ours else resume(checkpoint_path, *args, **kwargs)

    connector.resume_start = trusting_resume


def finish_epochs(trainer: Any) -> None:
    """Makes a fit with `max_steps` run complete epochs, because pauses and their checkpoints are at epoch ends.

    The learning rate schedules have already read their horizon from `max_steps`. If it stayed, it would end the
    training inside an epoch, and Lightning would treat a checkpoint from the end of an epoch as one from its middle.
    """
    loop = trainer.fit_loop
    if loop.max_steps == -1:
        return
    loop.epoch_loop.max_steps = -1
    loop._restarting = False
    loop.epoch_loop.restarting = False


def leave_sigterm_alone(trainer: Any) -> None:
    """Makes SIGTERM end one rank of a group at once, as SIGKILL does; the engine then ends the others.

    Lightning's handler would broadcast from this rank only, so the group would deadlock.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None


def adds_epochs(trainer: Any, horizon: int) -> bool:
    """Return whether the ending epoch reaches the horizon, or is after it, and a callback has added one more."""
    last = trainer.fit_loop.max_epochs
    return horizon <= trainer.current_epoch + 1 < last and not ends_by_itself(trainer)


def ends_by_itself(trainer: Any) -> bool:
    """Return whether the training ends with this epoch anyway, such as by `EarlyStopping` or at `max_epochs`."""
    is_last = 0 <= trainer.fit_loop.max_epochs <= trainer.current_epoch + 1
    return is_last or (bool(trainer.should_stop) and not _unmet_minimums(trainer))


def lift_minimums(trainer: Any) -> str:
    """Removes the Trainer's minimums, so that `should_stop` takes effect at once; names those not yet reached."""
    against = _unmet_minimums(trainer)
    trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = 0, None
    return " and ".join(against)


def _unmet_minimums(trainer: Any) -> list[str]:
    """Returns the Trainer's minimums that are not reached at the end of this epoch."""
    loop = trainer.fit_loop
    against = []
    if loop.min_epochs and loop.min_epochs > loop.epoch_progress.current.processed:
        against.append(f"min_epochs={loop.min_epochs}")
    if loop.min_steps and loop.min_steps > trainer.global_step:
        against.append(f"min_steps={loop.min_steps}")
    return against


def limit_batches(trainer: Any, n: int) -> None:
    """Limits the fit that is being set up to `n` training and validation batches per epoch; 0 stays 0."""
    trainer.limit_train_batches, trainer.limit_val_batches = (
        min(limit, n) if isinstance(limit, int) or not limit else n
        for limit in (trainer.limit_train_batches, trainer.limit_val_batches)
    )
    if isinstance(trainer.val_check_interval, int):
        trainer.val_check_interval = min(trainer.val_check_interval, n)
    trainer.num_sanity_val_steps = 0


class OwnLimits(NamedTuple):
    """The Trainer's settings for the length of its epochs, before a check shortened them."""

    train: int | float
    val: int | float
    val_check_interval: Any


def own_limits(trainer: Any) -> OwnLimits:
    """Returns the Trainer's current limits."""
    return OwnLimits(trainer.limit_train_batches, trainer.limit_val_batches, trainer.val_check_interval)


def batches_per_epoch(trainer: Any, own: OwnLimits) -> float:
    """Returns how many training batches a whole epoch has on this rank; NaN if that is unknown."""
    lengths = [_n_batches(loader, own.train) for loader in _flat(trainer.train_dataloader)]
    is_shortest = getattr(trainer.fit_loop._combined_loader, "_mode", "") == "min_size"
    return float(int(n)) if lengths and math.isfinite(n := (min if is_shortest else max)(lengths)) else math.nan


def samples_per_batch(trainer: Any) -> float:
    """Returns how many samples a training batch has on this rank, from its loader; NaN if the loader has no size."""
    loader = sized_loader(trainer)
    return math.nan if loader is None else float(loader.batch_size)


def sized_loader(trainer: Any) -> Any:
    """Returns the training loader; None if there are several, or if it has no batch size."""
    loaders = _flat(trainer.train_dataloader)
    is_sized = len(loaders) == 1 and isinstance(getattr(loaders[0], "batch_size", None), int)
    return loaders[0] if is_sized else None


def batches_left_out(trainer: Any, own: OwnLimits) -> tuple[float, float]:
    """Returns how many training and validation batches of an epoch a check leaves out; NaN if unknown.

    Args:
        own: the Trainer's limits before `limit_batches`.
    """
    loaders = (trainer.train_dataloader, trainer.val_dataloaders)
    done = (trainer.num_training_batches, sum(trainer.num_val_batches))
    training, validation = (
        sum(_n_batches(loader, limit) for loader in _flat(part)) - n
        for part, limit, n in zip(loaders, own[:2], done, strict=True)
    )
    return max(training, 0.0) if math.isfinite(training) else math.nan, (
        max(validation, 0.0) if math.isfinite(validation) else math.nan
    )


def _n_batches(loader: Any, limit: int | float) -> float:
    """Returns how many of a loader's batches a limit allows; infinity if the loader has no length."""
    try:
        length = float(len(loader))
    except TypeError:
        length = math.inf
    return min(length, limit) if isinstance(limit, int) else length * limit


def _flat(loaders: Any) -> list[Any]:
    """Returns the loaders in a loader, a list or a dictionary as a list."""
    if loaders is None:
        return []
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    return list(loaders) if isinstance(loaders, list | tuple) else [loaders]


def limit_epochs(trainer: Any, n: int) -> None:
    """Limits the fit that is being set up to `n` epochs."""
    loop = trainer.fit_loop
    loop.max_epochs = n if loop.max_epochs in (None, -1) else min(loop.max_epochs, n)


def skip_training(trainer: Any) -> None:
    """Makes the fit that is being set up train no epoch; its hooks and loggers end as usual."""
    trainer.fit_loop.max_epochs = 0


def skip_evaluation(trainer: Any) -> None:
    """Makes the validation, test or prediction that is being set up process no batch."""
    trainer.limit_val_batches = trainer.limit_test_batches = trainer.limit_predict_batches = 0


def replace_callback_metrics(trainer: Any, metrics: dict[str, Any]) -> None:
    """Makes `metrics` the dictionary that `trainer.callback_metrics` returns and to which new values are written."""
    trainer._logger_connector._callback_metrics = metrics


def last_round(trainer: Any, reports: Any) -> Any:
    """Returns a callback for this Trainer that makes the reports of the object that `reports()` returns."""
    if class_tree(trainer) == "pytorch_lightning":
        from lightning_hwtune.training import pytorch_lightning_tree as classes
    else:
        from lightning_hwtune.training import lightning_tree as classes  # type: ignore[no-redef]
    return classes.LastRound(reports)


def training_results(trainer: Any) -> Iterator[tuple[str, Any]]:
    """Yields the names logged by `self.log` since the training epoch began, with their records; see `_results`."""
    yield from _results(trainer.fit_loop.epoch_loop._results)


def validation_results(trainer: Any) -> Iterator[tuple[str, Any]]:
    """Yields the names logged by `self.log` in the validation that is ending, with their records."""
    yield from _results(trainer.fit_loop.epoch_loop.val_loop._results)


def _results(results: Any) -> Iterator[tuple[str, Any]]:
    """Yields names and records; a record has `meta`, and `cumulated_batch_size` if it is a weighted mean."""
    for result in results.values():
        if not result.has_reset:
            names = {name for on_step in (True, False) for name in results._forked_name(result, on_step)}
            yield from ((name, result) for name in names)


def logger_step(trainer: Any) -> int:
    """Returns the step that a logger gets for the next batch. Metrics of an epoch are logged with the step before."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def logged_hyperparameters(trainer: Any) -> dict[str, Any]:
    """Returns the hyperparameters that Lightning itself is going to log for this fit."""
    if not getattr(trainer, "enable_autolog_hparams", True):
        return {}
    owners = [owner for owner in (trainer.lightning_module, trainer.datamodule) if owner is not None]
    logged = [owner.hparams_initial for owner in owners if owner._log_hyperparams]
    return {key: value for hparams in logged for key, value in hparams.items() if key != "_class_path"}


def batch_size(trainer: Any, batch: Any) -> int:
    """Returns the number of samples in a batch, as Lightning counts them."""
    if class_tree(trainer) == "pytorch_lightning":
        from pytorch_lightning.utilities.data import extract_batch_size
    else:
        from lightning.pytorch.utilities.data import extract_batch_size
    return int(extract_batch_size(batch))


def sum_over_ranks(trainer: Any, number: int) -> int:
    """Returns the sum of a number over all ranks."""
    if group_size() == 1:
        return number
    total = torch.tensor(number, dtype=torch.int64, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(total)
    return int(total)


def wait_for_device(trainer: Any) -> None:
    """Waits until the GPU has finished what this process has started on it; returns at once on the CPU."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def total_gpu_bytes(trainer: Any) -> int:
    """Returns the memory of the Trainer's GPU; 0 on the CPU."""
    device = trainer.strategy.root_device
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0


def reserved_gpu_bytes(trainer: Any) -> int:
    """Returns the peak memory that PyTorch has reserved on the Trainer's GPU in this process; 0 on the CPU."""
    device = trainer.strategy.root_device
    return int(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else 0
