"""The seconds of one optimiser step as a formula.

    step      = (accumulate - 1) computing + (computing^overlap + sync^overlap)^(1 / overlap)
    computing = (fixed_s + per_sample_s max(batch per device, full_batch)) (1 + sharing (1 - nodes / devices))
    sync      = 0                                                                        on one device
                local_s (1 + local_growth (devices - 2))                                 inside one node
                node_s (1 + crowding (devices / nodes - 1)) growth(nodes)                across nodes
    growth    = 1 for two nodes; third_node + per_node (nodes - 3) for more

Sources: the affine time of computing, synchronisation with one constant inside a node and another across nodes, its
linear growth, the overlap exponent and the term for accumulation are those of Pollux (Qiao et al., Pollux: Co-adaptive
Cluster Scheduling for Goodput-Optimized Deep Learning, OSDI 2021, section 3.2). The following is our own: below
`full_batch` a device is not full, so a smaller batch does not save time; devices of one node share memory, caches and
data loading, which slows computing; synchronisation grows with the devices that share the network of a node; and the
step from two to three nodes is separate, since on two nodes all traffic crosses one link in both directions, and three
nodes can be faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = ["FITTED", "LOCAL", "NODES", "OVERLAP", "SHAPE", "StepTime"]

SHAPE = ("overlap", "sharing", "local_growth", "crowding", "third_node", "per_node")
"""The numbers that describe a shape; the others are seconds."""

FITTED = ("fixed_s", "per_sample_s", "local_s", "node_s", *SHAPE)
"""The numbers that are fitted together; `full_batch` is one of the measured batches."""

OVERLAP = (1.0, 10.0)
"""The least and the greatest overlap exponent, as in Pollux."""

LOCAL = ("local_s", "local_growth")
"""The numbers that only points on several devices of one node show."""

NODES = ("node_s", "crowding", "third_node", "per_node")
"""The numbers that only points on several nodes show."""

Array = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class StepTime:
    """The numbers of the formula. Each may be an array, too."""

    fixed_s: Any
    per_sample_s: Any
    full_batch: float
    local_s: Any
    node_s: Any
    overlap: Any
    sharing: Any
    local_growth: Any
    crowding: Any
    third_node: Any
    per_node: Any

    def seconds(self, devices: Any, nodes: Any, per_device_batch: Any, accumulate: Any = 1) -> Array:
        """Returns the seconds of one optimiser step; arguments of shape `(n_sizes,)` or numbers."""
        devices, nodes = np.asarray(devices, dtype=np.float64), np.asarray(nodes, dtype=np.float64)
        computing = self.computing(per_device_batch) * (1 + self.sharing * (1 - nodes / devices))
        inside = self.local_s * (1 + self.local_growth * (devices - 2))
        growth = np.where(nodes > 2, self.third_node + self.per_node * (nodes - 3), 1.0)
        across = self.node_s * (1 + self.crowding * (devices / nodes - 1)) * growth
        sync = np.where(devices == 1, 0.0, np.where(nodes == 1, inside, across))
        larger = np.maximum(computing, sync)  # scaled by it, powers neither overflow nor vanish
        both = (computing / larger) ** self.overlap + (sync / larger) ** self.overlap
        return np.asarray((np.asarray(accumulate) - 1) * computing + larger * both ** (1 / self.overlap))

    def computing(self, per_device_batch: Any) -> Array:
        """Returns the seconds of one forward and backward pass on a device that has its node for itself."""
        return np.asarray(self.fixed_s + self.per_sample_s * np.maximum(per_device_batch, self.full_batch))
