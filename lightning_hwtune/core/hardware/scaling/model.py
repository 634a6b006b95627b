"""The fitted model: seconds per step on an allocation, with an interval, and what no measurement supports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self, final

import numpy as np

from lightning_hwtune.core.hardware.scaling.fit import Fitted, fitted
from lightning_hwtune.core.hardware.scaling.points import (
    ScalingPoint,
    accumulation,
    check_nodes,
    checked_points,
    dividing,
    fewest_nodes,
)
from lightning_hwtune.core.hardware.scaling.prediction import Prediction, extrapolations
from lightning_hwtune.core.hardware.scaling.shape import ScalingShape
from lightning_hwtune.core.hardware.scaling.step_time import FITTED, SHAPE, StepTime
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call
from lightning_hwtune.forms.kinds import LARGEST, integer, number, optional
from lightning_hwtune.text import counted

__all__ = ["ScalingModel"]

_COUNT = integer(1, LARGEST)
_OPTIONAL = optional(_COUNT)
_LEVEL = number(0.0, 1.0, above=True, below=True)


@final
@dataclass(frozen=True, slots=True)
class ScalingModel:
    """Seconds per optimiser step as a function of devices, nodes and the global batch; `ScalingModel.fit` makes it.

    The number of nodes is the smallest that holds the devices if it is not given, and the global batch is that of the
    model. An allocation of a kind that was never measured is refused: several devices of one node, or several nodes.

    Attributes:
        fitted: the formula, the covariance of its numbers, and the noise of a point.
        devices_per_node: the number of devices of a full node.
        global_batch: the batch of predictions.
        max_per_device_batch: the largest batch per device that fits into memory, or None.
        points: what was measured.

    Examples:
        >>> seconds = {1: 1.0, 2: 0.6, 4: 0.4}
        >>> points = [hwt.ScalingPoint(devices, 1, 64, s) for devices, s in seconds.items()]
        >>> model = hwt.ScalingModel.fit(points, devices_per_node=4)
        >>> round(model.speed_up(4), 1)
        2.5
        >>> model.missing_probe(nodes=2)
        'one probe on 2 full nodes (8 devices)'
    """

    fitted: Fitted
    devices_per_node: int
    global_batch: int
    max_per_device_batch: int | None
    points: tuple[ScalingPoint, ...]

    @classmethod
    @checked_call("ScalingModel.fit")
    def fit(
        cls,
        points: Iterable[ScalingPoint],
        devices_per_node: int,
        *,
        shape: ScalingShape | None = None,
        global_batch: int | None = None,
        max_per_device_batch: int | None = None,
    ) -> Self:
        """Returns the model of measured points.

        Args:
            points: one for each measured allocation and batch, at least two.
            devices_per_node: the number of devices of a full node.
            shape: what is assumed where points show nothing; None for the defaults.
            global_batch: the batch of predictions; None for that of the largest measured allocation.
            max_per_device_batch: the largest batch per device that fits into memory; None for no limit. Gradient
                accumulation fills a larger batch.

        Raises:
            ArgumentError: a point does not fit its nodes or occurs twice, or the points cannot determine a model.
        """
        devices_per_node = _COUNT.read("devices_per_node", devices_per_node)
        if not isinstance(shape, ScalingShape | None):
            raise ArgumentError("shape", shape, "a ScalingShape, or None")
        found = checked_points(points, devices_per_node)
        batch = _OPTIONAL.read("global_batch", global_batch) or found[-1].global_batch
        limit = _OPTIONAL.read("max_per_device_batch", max_per_device_batch)
        return cls(fitted(found, shape or ScalingShape()), devices_per_node, batch, limit, found)

    @property
    def step_time(self) -> StepTime:
        """The formula with its numbers."""
        return self.fitted.step_time

    @checked_call("ScalingModel.seconds_per_step")
    def seconds_per_step(self, devices: int, nodes: int | None = None, global_batch: int | None = None) -> float:
        """Returns the predicted seconds of one optimiser step.

        Raises:
            ArgumentError: the batch cannot be shared by the devices, or no measurement supports such an allocation; the
                message names the probe to run.
        """
        return self._seconds(self.step_time, *self._size(devices, nodes, global_batch))

    @checked_call("ScalingModel.speed_up")
    def speed_up(
        self, devices: int, nodes: int | None = None, global_batch: int | None = None, *, reference: int = 1
    ) -> float:
        """Returns how many times faster than `reference` devices a step is; below 1 if it is slower.

        Raises:
            ArgumentError: as `seconds_per_step`.
        """
        slow = self.seconds_per_step(reference, None, global_batch)
        return slow / self.seconds_per_step(devices, nodes, global_batch)

    @checked_call("ScalingModel.predict")
    def predict(
        self, devices: int, nodes: int | None = None, global_batch: int | None = None, *, level: float = 0.8
    ) -> Prediction:
        """Returns the seconds of one optimiser step with their interval.

        Args:
            devices, nodes, global_batch: the size.
            level: the share of measurements that are expected inside the interval.

        Raises:
            ArgumentError: as `seconds_per_step`.
        """
        size = self._size(devices, nodes, global_batch)
        seconds = self._seconds(self.step_time, *size)
        slopes = []
        for name in FITTED:
            value = getattr(self.step_time, name)
            step = 1e-5 * max(abs(value), 1e-2 if name in SHAPE else 1e-2 * seconds / max(size[2], 1))
            moved = dataclasses.replace(self.step_time, **{name: value + step})
            slopes.append(np.log(self._seconds(moved, *size) / seconds) / step)
        variance = float(np.array(slopes) @ np.array(self.fitted.covariance) @ np.array(slopes)) + self.fitted.spread**2
        width = NormalDist().inv_cdf(0.5 + _LEVEL.read("level", level) / 2) * max(variance, 0.0) ** 0.5
        factor = float(np.exp(min(width, 500.0)))
        return Prediction(
            seconds, seconds / factor, seconds * factor, size[3], size[2], extrapolations(self.points, *size[:3])
        )

    @checked_call("ScalingModel.is_extrapolated")
    def is_extrapolated(self, devices: int, nodes: int | None = None, global_batch: int | None = None) -> bool:
        """Returns whether a size lies outside what was measured.

        Raises:
            ArgumentError: as `seconds_per_step`.
        """
        return bool(extrapolations(self.points, *self._size(devices, nodes, global_batch)[:3]))

    @checked_call("ScalingModel.missing_probe")
    def missing_probe(self, devices: int | None = None, nodes: int | None = None) -> str | None:
        """Returns the measurement without which an allocation is refused; None if it is not refused.

        Args:
            devices: the number of devices; None for a full node.
            nodes: the number of nodes; None for as few as hold the devices.
        """
        devices = _OPTIONAL.read("devices", devices) or self.devices_per_node
        nodes = _OPTIONAL.read("nodes", nodes) or fewest_nodes(devices, self.devices_per_node)
        if nodes > 1 and not any(point.nodes > 1 for point in self.points):
            return f"one probe on 2 full nodes ({counted(2 * self.devices_per_node, 'devices')})"
        if nodes == 1 and devices > 1 and not any(point.nodes == 1 and point.devices > 1 for point in self.points):
            return f"one probe on one full node ({counted(self.devices_per_node, 'devices')})"
        return None

    def allows(self, devices: int, nodes: int | None = None, global_batch: int | None = None) -> bool:
        """Returns whether `seconds_per_step` answers for this size."""
        try:
            self._size(devices, nodes, global_batch)
        except ArgumentError:
            return False
        return True

    @checked_call("ScalingModel.useful_counts")
    def useful_counts(self, counts: Sequence[int], global_batch: int | None = None) -> tuple[int, ...]:
        """Returns the device counts that share the batch and are faster than every smaller one, ascending.

        Throughput can fall with devices. A count that no smaller count is slower than is left out here.

        Raises:
            ArgumentError: the batch is not a multiple of one of the counts, or as `seconds_per_step`.
        """
        batch = self.global_batch if global_batch is None else global_batch
        found: list[int] = []
        fastest = float("inf")
        for count in dividing(batch, counts):
            seconds = self.seconds_per_step(count, None, batch)
            if seconds < fastest:
                found.append(count)
                fastest = seconds
        return tuple(found)

    def _size(self, devices: int, nodes: int | None, global_batch: int | None) -> tuple[int, int, int, int]:
        """Returns devices, nodes, batch per device and accumulation steps, checked."""
        devices = _COUNT.read("devices", devices)
        nodes = _OPTIONAL.read("nodes", nodes) or fewest_nodes(devices, self.devices_per_node)
        batch = _OPTIONAL.read("global_batch", global_batch) or self.global_batch
        check_nodes(devices, nodes)
        if devices > nodes * self.devices_per_node:
            allowed = f"at most {nodes * self.devices_per_node} for {counted(nodes, 'nodes')}"
            raise ArgumentError("devices", devices, allowed, hint=f"devices_per_node is {self.devices_per_node}.")
        probe = self.missing_probe(devices, nodes)
        if probe is not None:
            measured = "one node" if nodes > 1 else "one device of a node"
            name, given = ("nodes", nodes) if nodes > 1 else ("devices", devices)
            hint = f"Time across this boundary cannot be extrapolated: run {probe}, and fit again."
            raise ArgumentError(name, given, f"1, since only {measured} was measured", hint=hint)
        accumulate = accumulation(batch, devices, self.max_per_device_batch)
        return devices, nodes, batch // (devices * accumulate), accumulate

    @staticmethod
    def _seconds(step_time: StepTime, devices: int, nodes: int, per_device_batch: int, accumulate: int) -> float:
        return float(step_time.seconds(devices, nodes, per_device_batch, accumulate))
