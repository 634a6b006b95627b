"""Masks of `torch.nn.utils.prune`: Lightning's ModelPruning saves the pruned weights, but not the masks.

Without the masks, pruned weights would be trained again after a pause. ModelPruning also keeps a copy of the initial
weights, to which it resets the remaining ones ("lottery tickets"). It does this once. From then on its copy and the
weights are the same tensor, and this is restored after a pause as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils import prune

__all__ = ["pruning_masks", "restore_pruning"]


def pruning_masks(trainer: Any, pl_module: Any) -> dict[str, dict[str, Any]]:
    """Returns, by name of each pruned parameter, its mask and the values that the mask hides."""
    shared = {weights.data_ptr() for _, _, weights in _first_weights(trainer)}
    masks = {}
    for name, module in pl_module.named_modules():
        for parameter in _pruned(module):
            mask, original = getattr(module, f"{parameter}_mask"), getattr(module, f"{parameter}_orig")
            hidden = original.detach()[mask == 0].cpu()
            saved = {"mask": mask.cpu(), "hidden": hidden, "is_shared": original.data_ptr() in shared}
            masks[f"{name}.{parameter}"] = saved
    return masks


def restore_pruning(trainer: Any, pl_module: Any, masks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prunes the same parameters again if they are not pruned yet."""
    modules = dict(pl_module.named_modules())
    for place, saved in masks.items():
        name, _, parameter = place.rpartition(".")
        module = modules.get(name)
        if module is None or parameter not in module._parameters:
            continue
        mask = saved["mask"].to(module._parameters[parameter].device)
        prune.custom_from_mask(module, parameter, mask)  # type: ignore[no-untyped-call]
        original = getattr(module, f"{parameter}_orig")
        with torch.no_grad():
            original[mask == 0] = saved["hidden"].to(original)
        for owner, attribute, weights in _first_weights(trainer):
            if saved["is_shared"] and (owner, attribute) == (module, parameter):
                weights.data = original.data


def _pruned(module: torch.nn.Module) -> list[str]:
    """Returns the names of a module's pruned parameters."""
    names = [name.removesuffix("_mask") for name in module._buffers if name.endswith("_mask")]
    return [name for name in names if f"{name}_orig" in module._parameters]


def _first_weights(trainer: Any) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
    """Yields module, parameter name and copy for each copy of initial weights that ModelPruning keeps."""
    for callback in trainer.callbacks:
        for layer in (getattr(callback, "_original_layers", None) or {}).values():
            for index, name in layer["names"]:
                yield callback._parameters_to_prune[index][0], name, getattr(layer["data"], name)
