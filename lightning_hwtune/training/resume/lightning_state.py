"""Where a Trainer is touched below its documented surface so that a resumed fit equals an uninterrupted one.

Everything works on the Trainers of `lightning.pytorch` and of `pytorch_lightning`, from 2.4 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "convert_early",
    "epochs_in",
    "renew_iterator",
    "rewind_to_epoch_end",
    "training_loaders",
    "user_objects",
]


def renew_iterator(trainer: Any) -> None:
    """Has the loader's iterator made again in the epoch that a resumed fit begins with, as in any other epoch.

    Lightning keeps the one it made while setting up, before samplers knew their epoch and our streams were restored.
    """
    if hasattr(trainer.fit_loop, "_resuming_from_checkpoint"):
        trainer.fit_loop._resuming_from_checkpoint = False


def rewind_to_epoch_end(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint of `on_train_epoch_start` one of the last epoch's end: no epoch is ready yet."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    for count in ("total", "current"):
        progress[count] = {**progress[count], "ready": progress[count]["ready"] - 1}


def epochs_in(checkpoint: Mapping[str, Any]) -> int:
    """Returns how many epochs a checkpoint has trained, as a fit that resumes from it counts them."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def convert_early(trainer: Any, pl_module: Any) -> None:
    """Makes a module's weights double before they are restored, which Lightning does only afterwards."""
    plugin = trainer.precision_plugin
    if "DoublePrecision" in {base.__name__ for base in type(plugin).__mro__}:
        plugin.convert_module(pl_module)


def training_loaders(trainer: Any) -> list[Any]:
    """Returns the training loaders as Lightning iterates over them; the user's may be a tree of them."""
    return _loaders(trainer.fit_loop)


def user_objects(trainer: Any, pl_module: Any) -> dict[str, Any]:
    """Returns the objects of a fit that user code made, by name: where state may lie that no checkpoint has."""
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
