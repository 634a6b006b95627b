"""The rule that a global batch size must be divisible by the number of devices that share it.

Under this rule, the number of devices changes the duration and the cost of training, but not the optimisation. All
counts and shares computed here are exact, because the numbers of batch sizes and device counts are finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.parameters import Choice, Int, NumDevices, Parameter
from lightning_hwtune.errors import ArgumentError

__all__ = ["BatchRule", "is_batch_size"]

_MAX_BATCH_SIZES = 1_000_000  # all batch sizes are listed; a larger range is probably not one of batch sizes


def is_batch_size(name: str) -> bool:
    """Return whether a parameter of this name is a batch size: "batch_size", or "something.batch_size"."""
    return name.rpartition(".")[2] == "batch_size"


@final
@dataclass(frozen=True, slots=True)
class BatchRule:
    """Requires each batch size to be a multiple of the device count.

    Attributes:
        devices_key: the name of the `NumDevices` parameter.
        keys: the names of the batch sizes, in the order of the search space.
    """

    devices_key: str
    keys: tuple[str, ...]

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Returns whether every batch size that a configuration has is divisible by its device count."""
        count = config[self.devices_key]
        return all(_divides(config[key], count) for key in self.keys if key in config)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuses a configuration that breaks the rule.

        Raises:
            ArgumentError: a batch size is not divisible by the device count.
        """
        count = config[self.devices_key]
        for key in self.keys:
            if key in config and not _divides(config[key], count):
                raise ArgumentError(
                    key,
                    config[key],
                    f"a multiple of the {count} devices that share it",
                    hint="Batch sizes are global; batch='per_device' removes this rule.",
                )

    def counted(
        self, params: Mapping[str, Parameter], places: Mapping[str, npt.NDArray[np.int64]]
    ) -> tuple[int, int, float]:
        """Returns the numbers of all combinations and of those that satisfy the rule, and the share of their draws.

        Args:
            places: batch size -> the positions of the values to count; all if it is not there.

        Raises:
            ArgumentError: a batch size is not an integer parameter.
        """
        devices = params[self.devices_key]
        assert isinstance(devices, NumDevices)
        sizes = {key: _sizes_of(key, params[key]) for key in self.keys}
        kept = [
            (values[places[key]], masses[places[key]]) if key in places else (values, masses)
            for key, (values, masses) in sizes.items()
        ]
        n_dividing, share = 0, 0.0
        for count, mass in zip(devices.counts, devices.masses(), strict=True):
            masks = [_divides(values, count) for values, _ in kept]
            n_dividing += math.prod(int(mask.sum()) for mask in masks)
            dividing = (masses[mask].sum() for (_, masses), mask in zip(kept, masks, strict=True))
            share += float(mass) * math.prod(map(float, dividing))
        return devices.n_values * math.prod(len(values) for values, _ in kept), n_dividing, share

    def refused(self, params: Mapping[str, Parameter]) -> ArgumentError:
        """Returns the error for a space in which no combination satisfies the rule."""
        devices = params[self.devices_key]
        assert isinstance(devices, NumDevices)
        return ArgumentError(
            self.keys[0],
            params[self.keys[0]],
            f"a multiple of one of the device counts {list(devices.counts)}",
            hint="No batch size is divisible by a device count: change one of them, or use batch='per_device'.",
        )

    def mask(self, grid: Combinations, params: Mapping[str, Parameter]) -> npt.NDArray[np.bool_]:
        """Returns which combinations satisfy the rule, shape `(len(grid),)`."""
        devices = params[self.devices_key]
        assert isinstance(devices, NumDevices)
        counts = grid.column(self.devices_key, devices.counts)
        mask = np.ones(len(grid), dtype=np.bool_)
        for key in self.keys:
            mask &= _divides(grid.column(key, _sizes_of(key, params[key])[0]), counts) | ~grid.active(key)
        return mask


def _divides(batch_size: Any, count: Any) -> Any:
    return (batch_size % count == 0) & (batch_size >= count)


def _sizes_of(key: str, parameter: Parameter) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns the values of a batch size and their probabilities."""
    if isinstance(parameter, Int) and parameter.n_values <= _MAX_BATCH_SIZES:
        return np.array(parameter.levels()), parameter.masses()
    if isinstance(parameter, Choice) and all(type(option) is int for option in parameter.options):
        return np.array(parameter.options, dtype=np.int64), parameter.masses()
    raise ArgumentError(
        key,
        parameter,
        f"an Int with at most {_MAX_BATCH_SIZES} values, or a Choice of integers",
        hint="A global batch size is divided among the devices; batch='per_device' removes this rule.",
    )
