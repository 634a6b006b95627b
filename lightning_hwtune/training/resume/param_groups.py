"""Groups of parameters that user code adds to an optimizer in the course of a training.

A new optimizer does not have them, so torch would refuse the state of the optimizer that was saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["add_groups", "group_names"]


def group_names(trainer: Any, pl_module: Any) -> list[list[list[str]]]:
    """Returns the names of the parameters of each group of each optimizer; empty where a parameter has no name."""
    names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
    return [
        [[names.get(id(parameter), "") for parameter in group["params"]] for group in optimizer.param_groups]
        for optimizer in trainer.optimizers
    ]


def add_groups(trainer: Any, pl_module: Any, saved: Sequence[Sequence[Sequence[str]]]) -> None:
    """Adds the groups that the optimizers had when `group_names` was called, and do not have now.

    Their options are in the optimizer's state, which Lightning restores later.
    """
    parameters = dict(pl_module.named_parameters())
    for optimizer, groups in zip(trainer.optimizers, saved, strict=False):
        for names in groups[len(optimizer.param_groups) :]:
            if not all(name in parameters for name in names):
                return
            optimizer.add_param_group({"params": [parameters[name] for name in names]})
