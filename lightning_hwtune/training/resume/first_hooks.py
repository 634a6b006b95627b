"""Weights and settings of optimizers that `on_fit_start` or `on_train_start` of user code sets, like an initialization.

A resumed fit calls these hooks again, after Lightning has restored the checkpoint, so a trained model would begin again
from its initialization. What the hooks changed in the trial's first segment is known by its fingerprint. If they set it
to the same value again, the restored value takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch

__all__ = ["FirstHooks"]


@final
class FirstHooks:
    """What the hooks before the first epoch of one fit set. Strategies that restore weights later are left out."""

    def __init__(self, *, is_resumed: bool) -> None:
        self._is_resumed = is_resumed
        self._before: dict[str, Any] = {}  # fingerprints before the hooks
        self._set: dict[str, Any] = {}  # fingerprints of what they set in the trial's first segment
        self._kept: dict[str, Any] = {}  # restored values of these

    def weights_are_ready(self, trainer: Any, pl_module: Any, saved: Mapping[str, Any]) -> None:
        """Notes the weights before the hooks; in a resumed fit, keeps those that `saved` names."""
        if not trainer.strategy.restore_checkpoint_after_setup:
            self._set = dict(saved)
            self._note(_tensors(pl_module))

    def optimizers_are_ready(self, trainer: Any) -> None:
        """Notes the settings of the optimizers before `on_train_start` of user code."""
        if not trainer.strategy.restore_checkpoint_after_setup:
            self._note(_settings(trainer))

    def _note(self, values: Iterator[tuple[str, Any]]) -> None:
        for key, value in values:
            if self._is_resumed and key not in self._set:
                continue
            self._before[key] = _fingerprint(value)
            if self._is_resumed:
                self._kept[key] = value.detach().clone() if isinstance(value, torch.Tensor) else value

    def ended(self, trainer: Any, pl_module: Any) -> None:
        """Notes what the hooks have set; in a resumed fit, restores what they have set again."""
        if self._is_resumed:
            self._restore(trainer, pl_module)
        elif self._before:
            values = (*_tensors(pl_module), *_settings(trainer))
            now = {key: _fingerprint(value) for key, value in values if key in self._before}
            self._set = {key: value for key, value in now.items() if value != self._before[key]}
        self._before, self._kept = {}, {}

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return self._set

    def _restore(self, trainer: Any, pl_module: Any) -> None:
        for key, value in (*_tensors(pl_module), *_settings(trainer)):
            kept = self._kept.get(key)
            if kept is None or _fingerprint(value) != self._set[key] or self._before[key] == self._set[key]:
                continue
            if isinstance(value, torch.Tensor):
                if value.shape == kept.shape:
                    value.data.copy_(kept)
            else:
                _, optimizer, group, name = key.split(".", 3)
                trainer.optimizers[int(optimizer)].param_groups[int(group)][name] = kept


def _tensors(pl_module: Any) -> Iterator[tuple[str, Any]]:
    """Yields the trainable parameters and the buffers of a module."""
    for name, parameter in pl_module.named_parameters():
        if parameter.requires_grad and not torch.nn.parameter.is_lazy(parameter):
            yield f"parameter.{name}", parameter
    for name, buffer in pl_module.named_buffers():
        if not torch.nn.parameter.is_lazy(buffer):
            yield f"buffer.{name}", buffer


def _settings(trainer: Any) -> Iterator[tuple[str, Any]]:
    """Yields the numbers among the settings of the optimizers, such as learning rates."""
    for i, optimizer in enumerate(trainer.optimizers):
        for j, group in enumerate(optimizer.param_groups):
            for name, value in group.items():
                if type(value) in (int, float):
                    yield f"optimizer.{i}.{j}.{name}", value


def _fingerprint(value: Any) -> list[float]:
    """Returns numbers that differ for different values; those of a tensor are sums, which is quick on any device."""
    if not isinstance(value, torch.Tensor):
        return [value]
    numbers = value.detach()
    if numbers.is_complex():
        numbers = torch.view_as_real(numbers)
    if not numbers.is_floating_point() or numbers.device.type == "mps":  # which has no float64
        numbers = numbers.cpu().double()
    try:
        return [float(numbers.sum(dtype=torch.float64)), float(torch.linalg.vector_norm(numbers, dtype=torch.float64))]
    except (RuntimeError, TypeError):  # a type without sums
        return []
