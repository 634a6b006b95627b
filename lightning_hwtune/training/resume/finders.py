"""Lightning's LearningRateFinder and BatchSizeFinder, which run short fits before a training begins.

They run in a trial's first segment. In a resumed segment they would make Lightning forget the checkpoint, so they do
not run again, and their results are restored. The learning rate is in the optimizer's state. The attributes that they
set on the module or the data module are saved with the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_hwtune.training.context import ActiveSegment

__all__ = ["found_attributes", "only_tunes", "release_finders", "restore_attributes", "suspend_finders"]

_RUNS = {"LearningRateFinder": "lr_find", "BatchSizeFinder": "scale_batch_size"}


def only_tunes(trainer: Any) -> bool:
    """Return whether this fit is that of `Tuner.lr_find` or `Tuner.scale_batch_size`, which ends before any training.

    The script calls it in each segment. It runs from scratch, so it finds the same value again.
    """
    return any(getattr(callback, "_early_exit", False) for callback, _ in _finders(trainer))


def suspend_finders(trainer: Any, segment: ActiveSegment) -> None:
    """Prevents the finders from running until `release_finders` is called; a note names them."""
    for callback, run in _finders(trainer):
        setattr(callback, run, _do_nothing)
        name = type(callback).__name__
        text = f"{name} runs only in the first segment of a trial; a resumed trial uses its result"
        segment.note(text, once_per="study", topic=f"finder {name}")


def release_finders(trainer: Any) -> None:
    """Lets the finders run again, because some of them look for a learning rate at later epochs."""
    for callback, run in _finders(trainer):
        vars(callback).pop(run, None)


def found_attributes(trainer: Any, pl_module: Any) -> dict[str, list[Any]]:
    """Returns the current values of the attributes that finders set, one value for each object that has them."""
    names = {name for callback, run in _finders(trainer) for name in _attributes(callback, run)}
    return {name: [_get(holder, name) for holder in _holders(trainer, pl_module, name)] for name in sorted(names)}


def restore_attributes(trainer: Any, pl_module: Any, attributes: Mapping[str, list[Any]]) -> None:
    """Sets the attributes that `found_attributes` returned."""
    for name, values in attributes.items():
        for holder, value in zip(_holders(trainer, pl_module, name), values, strict=False):
            if isinstance(holder, dict):
                holder[name] = value
            else:
                setattr(holder, name, value)


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """Replaces a finder's run."""


def _finders(trainer: Any) -> Iterator[tuple[Any, str]]:
    """Yields the finders among the callbacks, of either class tree, each with the name of the method that runs it."""
    for callback in trainer.callbacks:
        names = [base.__name__ for base in type(callback).__mro__]
        yield from ((callback, run) for kind, run in _RUNS.items() if kind in names)


def _attributes(callback: Any, run: str) -> tuple[str, ...]:
    """Returns the names of the attributes that a finder sets; Lightning uses two names for a learning rate."""
    if run == "scale_batch_size":
        return (callback._batch_arg_name,)
    return (callback._attr_name,) if callback._attr_name else ("lr", "learning_rate")


def _holders(trainer: Any, pl_module: Any, name: str) -> list[Any]:
    """Returns the objects and the hyperparameter dictionaries in which Lightning looks for such an attribute."""
    owners = [owner for owner in (pl_module, trainer.datamodule) if owner is not None]
    plain = [owner for owner in owners if hasattr(owner, name)]
    return [*plain, *(owner.hparams for owner in owners if name in getattr(owner, "hparams", ()))]


def _get(holder: Any, name: str) -> Any:
    return holder[name] if isinstance(holder, dict) else getattr(holder, name)
