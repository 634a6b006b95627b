"""The places that use undocumented parts of a Trainer so that a resumed fit equals an uninterrupted one.

Everything works with the Trainers of `lightning.pytorch` and `pytorch_lightning`, version 2.4 or later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "convert_early",
    "epochs_in",
    "renew_iterator",
    "rewind_to_epoch_end",
    "skip_sanity_check",
    "training_loaders",
    "user_objects",
]


def renew_iterator(trainer: Any) -> None:
    """Makes Lightning create the loader's iterator again in the first epoch of a resumed fit, as in any other epoch.

    Otherwise Lightning would use the iterator from the set-up. That one was created before the samplers got their epoch
    and before our streams were restored.
    """
    if hasattr(trainer.fit_loop, "_resuming_from_checkpoint"):
        trainer.fit_loop._resuming_from_checkpoint = False


def rewind_to_epoch_end(checkpoint: dict[str, Any]) -> None:
    """Changes a checkpoint of `on_train_epoch_start` to one of the previous epoch's end: its epoch is not ready yet."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    for count in ("total", "current"):
        progress[count] = {**progress[count], "ready": progress[count]["ready"] - 1}


def epochs_in(checkpoint: Mapping[str, Any]) -> int:
    """Returns the number of trained epochs in a checkpoint, as a fit that resumes from it counts them."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def convert_early(trainer: Any, pl_module: Any) -> None:
    """Converts a module's weights to double before they are restored; Lightning does so only afterwards."""
    plugin = trainer.precision_plugin
    if "DoublePrecision" in {base.__name__ for base in type(plugin).__mro__}:
        plugin.convert_module(pl_module)


def skip_sanity_check(trainer: Any) -> Callable[[], None]:
    """Makes the sanity check that begins create its loaders only; returns what to call at its end.

    A validation may change what was just restored, such as a buffer that follows the outputs. Lightning skips the check
    in fits that resume inside an epoch, but not in those that resume at its end.
    """
    n_batches, trainer.num_sanity_val_steps = trainer.num_sanity_val_steps, 0

    def ended() -> None:
        trainer.num_sanity_val_steps = n_batches

    return ended


def training_loaders(trainer: Any) -> list[Any]:
    """Returns the training loaders over which Lightning iterates; the user may have given a nested collection."""
    return _loaders(trainer.fit_loop)


def user_objects(trainer: Any, pl_module: Any) -> dict[str, Any]:
    """Returns the objects of a fit that user code made, by name; they may have state that no checkpoint contains."""
    callbacks = [callback for callback in trainer.callbacks if not hasattr(callback, "attached")]
    return {
        "training": training_loaders(trainer),
        "validation": _loaders(trainer.fit_loop.epoch_loop.val_loop),
        "module": pl_module,
        "data": trainer.datamodule,
        "callbacks": {f"{type(callback).__name__}{i}": callback for i, callback in enumerate(callbacks)},
    }


def _loaders(loop: Any) -> list[Any]:
    return list(loop._combined_loader.flattened) if loop._combined_loader is not None else []
