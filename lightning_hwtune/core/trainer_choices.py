"""Which arguments of the Trainer and batch sizes a study may search on its pool, and what a segment gets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_hwtune.core.batch_rule import is_batch_size
from lightning_hwtune.core.parameters import Accumulation, Choice, Int, TrainerChoice
from lightning_hwtune.core.parameters.trainer_choices import on_devices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted

__all__ = ["check_batch_sizes", "check_trainer_choices", "trainer_arguments"]


def check_trainer_choices(space: SearchSpace, accelerator: str, counts: Sequence[int], *, batch: str) -> None:
    """Refuses values that no trial of this study could train with.

    Args:
        counts: every number of devices that a trial may have. batch: what batch sizes mean, "global" or "per_device".

    Raises:
        ArgumentError: a strategy or a precision needs other devices, or a batch size cannot be accumulated.
    """
    for name in space.trainer_keys.values():
        parameter = space[name]
        assert isinstance(parameter, TrainerChoice)
        if (found := parameter.unusable(accelerator, counts)) is not None:
            value, allowed, hint = found
            raise ArgumentError(name, value, allowed, hint=hint)
        if isinstance(parameter, Accumulation) and batch == "global":
            _check_batches(space, name, parameter, counts)


def check_batch_sizes(space: SearchSpace, counts: Sequence[int]) -> None:
    """Refuses global batch sizes none of which can be shared by any of these numbers of devices.

    Raises:
        ArgumentError: no trial could train.
    """
    for key in filter(is_batch_size, space):
        sizes = list(_sizes(space, key))
        if sizes and not any(size % count == 0 for size in sizes for count in counts):
            numbers = " or ".join(map(str, counts))
            allowed = f"a multiple of {numbers}, the number of devices of a trial"
            hint = "Batch sizes are global. Change them or the allocation, or use batch='per_device'."
            raise ArgumentError(key, space[key], allowed, hint=hint)


def trainer_arguments(space: SearchSpace, config: Mapping[str, Any], n_devices: int) -> dict[str, Any]:
    """Returns the arguments of the Trainer of one segment, by name."""
    found = space.trainer_arguments(config)
    if "strategy" in found:
        found["strategy"] = on_devices(str(found["strategy"]), n_devices)
    return found


def _check_batches(space: SearchSpace, name: str, parameter: Accumulation, counts: Sequence[int]) -> None:
    """Refuses a global batch size that some number of devices divides, but not with every number of batches."""
    for key in filter(is_batch_size, space):
        for size in _sizes(space, key):
            for count in (count for count in counts if size % count == 0):
                for option in parameter.options:
                    parts = count * int(str(option))
                    if size % parts:
                        allowed = f"multiples of {parts}: {counted(count, 'devices')} x {option} ({name!r})"
                        hint = "Batch sizes are global. Leave out sizes or numbers, or use batch='per_device'."
                        raise ArgumentError(key, size, allowed, hint=hint)


def _sizes(space: SearchSpace, key: str) -> Iterable[int]:
    parameter = space[key]
    values = parameter.levels() if isinstance(parameter, Choice | Int) else ()
    return (int(value) for value in values if isinstance(value, int) and not isinstance(value, bool))
