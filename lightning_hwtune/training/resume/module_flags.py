"""Which parameters are trained and which modules are in evaluation mode, as callbacks that freeze modules set it.

Such callbacks freeze when a fit is set up and unfreeze at a certain epoch. Without these flags, a fit that resumes
after that epoch would stay frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["UNFROZEN", "frozen_parameters", "module_flags", "restore_flags"]

UNFROZEN = (
    "parameters were unfrozen during a training on several devices: DDP synchronizes only the gradients of those that "
    "were trainable when the training started, so the models of the ranks differ, and a checkpoint has the model of "
    "rank 0. Unfreeze them before the training starts, or use one device"
)


def module_flags(trainer: Any, pl_module: Any) -> dict[str, list[str]]:
    """Returns the names of frozen parameters, of modules in evaluation mode, and of norms without running statistics.

    A checkpoint that is saved during validation does not contain the modes, because they are those of the validation.
    """
    frozen = frozen_parameters(pl_module)
    modules = list(pl_module.named_modules())
    flags = {
        "frozen": frozen,
        "untracked": [name for name, module in modules if getattr(module, "track_running_stats", True) is False],
    }
    if trainer.training:
        flags["evaluating"] = [name for name, module in modules if not module.training]
    return flags


def frozen_parameters(pl_module: Any) -> list[str]:
    """Returns the names of the parameters that are currently not trained."""
    return [name for name, parameter in pl_module.named_parameters() if not parameter.requires_grad]


def restore_flags(pl_module: Any, flags: Mapping[str, list[str]]) -> None:
    """Restores the flags that `module_flags` returned."""
    frozen, untracked = set(flags["frozen"]), set(flags["untracked"])
    for name, parameter in pl_module.named_parameters():
        if parameter.requires_grad is not (name not in frozen):
            parameter.requires_grad_(name not in frozen)
    for name, module in pl_module.named_modules():
        if isinstance(getattr(module, "track_running_stats", None), bool):
            module.track_running_stats = name not in untracked
        if "evaluating" in flags:
            module.training = name not in flags["evaluating"]
