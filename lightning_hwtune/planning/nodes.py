"""Nodes that a plan can rent, how trials are placed on them, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.forms import checked_class
from lightning_hwtune.planning.job import Job

__all__ = ["Floats", "NodeKind", "StageTimes"]

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-9  # a time that exceeds a multiple of the quantum by less than this, relative, is that multiple


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes of one kind.

    A node is billed from its request to its release: bill = price x max(minimum, quantum x ceil(seconds / quantum)).

    Args:
        devices: devices of one node.
        most: how many nodes can be rented at the same time.
        usd_per_hour: price of one node.
        launch_s: seconds from the request of a node until trials can start on it.
        minimum_s: the shortest time that is billed.
        quantum_s: billed times are rounded up to multiples of this; 0 for no rounding.
    """

    devices: int
    most: int
    usd_per_hour: float
    launch_s: float = 0.0
    minimum_s: float = 60.0
    quantum_s: float = 1.0

    def bill(self, up_s: Any) -> Any:
        """Returns the price of one node, or of each of an array of nodes, by the seconds that it was up."""
        rounded = np.asarray(up_s, dtype=float)
        if self.quantum_s > 0:
            quanta = rounded / self.quantum_s
            rounded = self.quantum_s * np.ceil(quanta - _ROUNDING * np.maximum(1.0, quanta))
        return self.usd_per_hour / 3600 * np.maximum(self.minimum_s, rounded)

    def slots(self, n_nodes: int, devices: int) -> int:
        """Returns how many trials train at the same time: each inside one node, or on a number of complete nodes."""
        if devices <= self.devices:
            return n_nodes * (self.devices // devices)
        return n_nodes * self.devices // devices if devices % self.devices == 0 else 0


@final
class StageTimes:
    """The fastest way through each stage on each number of nodes.

    Attributes:
        seconds: shape `(n_stages, most)`: how long the stage takes on 1, 2, ... nodes.
        devices: the devices per trial with which it takes that long, the smallest if there are several.
    """

    def __init__(self, job: Job, nodes: NodeKind) -> None:
        self.seconds = np.full((len(job.stages), nodes.most), np.inf)
        self.devices = np.zeros(self.seconds.shape, dtype=np.int64)
        for i, stage in enumerate(job.stages):
            for count in job.counts:
                slots = np.array([nodes.slots(n, count) for n in range(1, nodes.most + 1)])
                n_waves = -(-stage.trials // np.maximum(slots, 1))
                taken_s = np.where(slots > 0, n_waves * job.trial_s(stage, count), np.inf)
                is_faster = taken_s < self.seconds[i]
                self.seconds[i] = np.where(is_faster, taken_s, self.seconds[i])
                self.devices[i] = np.where(is_faster, count, self.devices[i])

    @property
    def useful_counts(self) -> list[int]:
        """The numbers of nodes with which some stage is faster than with every smaller number."""
        is_faster = np.diff(self.seconds, axis=1, prepend=np.inf) < 0
        return [int(i) + 1 for i in np.flatnonzero(is_faster.any(axis=0))]

    @property
    def least_s(self) -> float:
        """The seconds of all stages on as many nodes as can be used."""
        return float(self.seconds.min(axis=1).sum())

    def devices_on(self, held: Sequence[int]) -> list[int]:
        """Returns the devices per trial with which each stage is fastest on these numbers of nodes."""
        return [int(self.devices[i, n_nodes - 1]) for i, n_nodes in enumerate(held)]
