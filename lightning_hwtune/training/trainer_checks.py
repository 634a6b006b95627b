"""Checks of a Trainer before it trains a segment: errors and notes about settings that do not match the study.

Each function checks the Trainer once, before it trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.record import Unit
from lightning_hwtune.errors import ArgumentError, CheckpointError
from lightning_hwtune.text import counted
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.lightning_internals import argument_of

__all__ = ["check_resumed", "check_trainer", "note_foreign_checkpoints"]

_PRETRAINING = " If this fit is only a pretraining, give its Trainer callbacks=[hwt.RungCallback(reports=False)]."


def check_trainer(trainer: Any, segment: ActiveSegment) -> None:
    """Refuses a Trainer that would train to another horizon, or that would not validate at the rungs."""
    order = segment.order
    if trainer.fast_dev_run:
        raise ArgumentError(
            "Trainer(fast_dev_run=...)", trainer.fast_dev_run, "False in a study",
            hint="The check of a new study already trains a few batches first; study.check(train) does only that.",
        )  # fmt: skip
    if getattr(trainer, "barebones", False):
        hint = "It switches `self.log` off, which the study reads."
        raise ArgumentError("Trainer(barebones=...)", True, "False in a study", hint=hint)
    if order.checkpoint is None and trainer.current_epoch > 0:
        raise ArgumentError(
            "Trainer", f"one that has already trained {counted(trainer.current_epoch, 'epochs')}",
            "a new Trainer for each trial",
            hint="Create it in the loop or in the training function.",
        )  # fmt: skip
    _check_horizon(trainer, segment)
    _check_arguments(trainer, segment)
    segment.batches.begin_fit(trainer)
    if (text := segment.batches.text) is not None:
        segment.note(text)
    every = trainer.check_val_every_n_epoch if order.unit == Unit.EPOCHS else None
    missed = [level for level in order.levels if every and level % every]
    if missed and trainer.enable_validation:
        raise ArgumentError(
            "Trainer(check_val_every_n_epoch=...)",
            every,
            f"a divisor of every rung, such as 1; the rungs are at {', '.join(map(str, order.levels))}",
        )


def _check_arguments(trainer: Any, segment: ActiveSegment) -> None:
    """Refuses a Trainer without an argument that the search space decides: the parameter would have no effect."""
    for name, value in segment.order.trainer.items():
        found = argument_of(trainer, name)
        if found is not None and found != value:
            hint = "Use `trial.fit` or `trial.trainer`, which pass it on, or give your Trainer the parameter's value."
            raise ArgumentError(f"Trainer({name}=...)", found, f"{value!r}, which the search space decides", hint=hint)


def _check_horizon(trainer: Any, segment: ActiveSegment) -> None:
    """Refuses a Trainer whose horizon differs from the study's, or that has a horizon in another unit."""
    order = segment.order
    in_epochs, in_steps = order.unit == Unit.EPOCHS, order.unit == Unit.STEPS
    if trainer.max_epochs != (order.max_resource if in_epochs else -1):
        raise ArgumentError(
            "Trainer(max_epochs=...)", trainer.max_epochs,
            f"{order.max_resource}, the full training" if in_epochs else f"-1, since the study counts {order.unit}",
            hint=("Every segment has the full length, because learning-rate schedules read it; the study ends the "
            f"segment earlier. {segment.hints.horizon}" if in_epochs else "The study ends the training.")
            + _PRETRAINING,
        )  # fmt: skip
    if trainer.max_steps not in ((-1, order.max_resource) if in_steps else (-1,)):
        raise ArgumentError(
            "Trainer(max_steps=...)", trainer.max_steps,
            f"{order.max_resource}, the full training, or -1" if in_steps
            else f"-1, since the study counts {order.unit}",
            hint="The study ends the training." + _PRETRAINING,
        )  # fmt: skip


def check_resumed(segment: ActiveSegment, restored: Mapping[str, Any], resource: int) -> None:
    """Refuses to resume at another resource than the trial's."""
    order = segment.order
    if order.unit == Unit.SAMPLES:  # Lightning does not count samples, so the checkpoint contains our own count
        resource = int(restored.get("resource", 0))
    if resource == order.resource:
        return
    if order.checkpoint is None:
        raise ArgumentError(
            "fit(ckpt_path=...)", f"a checkpoint at {counted(resource, order.unit)}",
            "None, since this trial starts from scratch",
            hint=segment.hints.checkpoint,
        )  # fmt: skip
    raise CheckpointError(
        f"the trial has reached {counted(order.resource, order.unit)}, but the training resumed at {resource}. "
        f"{segment.hints.checkpoint}"
    )


def note_foreign_checkpoints(trainer: Any, segment: ActiveSegment) -> None:
    """Notes which checkpoints the disk budget does not count; not in a check, because its files are deleted."""
    if segment.order.probe_batches is not None:
        return
    names = {type(item).__name__: None for item in trainer.checkpoint_callbacks if getattr(item, "dirpath", None)}
    if names:
        text = (
            f"the files that {' and '.join(names)} saves are not part of the study: "
            "`disk_budget` does not count them, and the study never deletes them"
        )
        segment.note(text, once_per="study", topic="checkpoint callbacks")
