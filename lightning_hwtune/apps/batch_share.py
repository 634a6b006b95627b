"""The global batch size of a foreign app, which is divided among the devices of a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_hwtune.apps.seen_configs import SeenConfigs
from lightning_hwtune.errors import ArgumentError

__all__ = ["batch_share", "check_batch_sizes"]

_GLOBAL = "It is the global batch size, which the devices of a trial share; batch=per_device changes that."


def batch_share(key: str, whole: Any, num_devices: int, hint: str = "") -> int:
    """Return the batch size of each device.

    Raises:
        ArgumentError: the batch size is not a positive integer, or is not divisible by the number of devices.
    """
    if not _is_divisible(whole, (num_devices,)):
        allowed = f"a positive multiple of {num_devices}, the number of devices"
        raise ArgumentError(key, whole, allowed, hint=hint)
    return int(whole) // num_devices


def check_batch_sizes(
    configs: SeenConfigs,
    key: str,
    counts: Sequence[int],
    hint: Callable[[Any, Mapping[str, Any]], str] = lambda size, options: "",
) -> None:
    """Check that each batch size which a configuration has can be divided among each number of devices.

    Args:
        hint: returns further advice for a size and the options of its configuration.

    Raises:
        ArgumentError: a size is not a positive integer, or is not divisible by one of the counts.
    """
    for config in configs.seen:
        size = config.facts.values[key]
        if size is not None and not _is_divisible(size, counts):
            allowed = f"a positive multiple of {' and of '.join(map(str, counts))}"
            raise ArgumentError(key, size, allowed, hint=_GLOBAL + hint(size, config.options))


def _is_divisible(size: Any, counts: Sequence[int]) -> bool:
    is_integer = isinstance(size, int) and not isinstance(size, bool)
    return is_integer and size >= 1 and not any(size % count for count in counts)
