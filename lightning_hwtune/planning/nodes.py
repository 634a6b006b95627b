"""Nodes that a plan can rent, how trials are placed on them, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.hardware.billing import EXACT_TIME, BillingRule, bills, rule_of
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.forms import checked_class
from lightning_hwtune.planning.job import Job

__all__ = ["Floats", "NodeKind", "StageTimes"]

Floats = npt.NDArray[np.float64]


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes of one kind. A node is billed from its request to its release.

    Args:
        devices: devices of one node.
        most: how many nodes can be rented at the same time.
        usd_per_hour: price of one node.
        launch_s: seconds from the request of a node until trials can start on it.
        rule: how the provider bills the time.
    """

    devices: int
    most: int
    usd_per_hour: float
    launch_s: float = 0.0
    rule: BillingRule = EXACT_TIME

    @classmethod
    def of(cls, instance: InstanceType, *, most: int, launch_s: float = 0.0, spot: bool = False) -> Self:
        """Returns the nodes of an instance type, billed as its provider does.

        Raises:
            ArgumentError: a number is not allowed, or the price of a spot instance is unknown.
        """
        price = instance.price(spot=spot)
        return cls(instance.pool_devices, most, price, launch_s, rule_of(instance))

    def bill(self, up_s: Floats) -> Floats:
        """Returns what nodes cost that were up for these seconds."""
        return bills(self.usd_per_hour, up_s, self.rule)

    def price(self, seconds: Floats) -> Floats:
        """Returns what these seconds cost, without a minimum and without rounding."""
        return bills(self.usd_per_hour, seconds)

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
