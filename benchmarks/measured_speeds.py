"""Speeds that others measured: steps per second of six applications on 1 to 64 GPUs, at a fixed global batch.

Qiao et al., "Pollux: co-adaptive cluster scheduling for goodput-optimized deep learning", OSDI 2021; data of
github.com/petuum/adaptdl (osdi21-artifact), Apache-2.0, read from `scaling/` of HWTUNE_DATA (default: ../shared/data).
Nodes have four T4 GPUs. Jobs of more than four GPUs use complete nodes.

A global batch is divided evenly. What does not fit into a GPU is accumulated: all but the last part of a step are not
synchronised. Between measured batch sizes per GPU, seconds are interpolated linearly. Nothing is extrapolated: a number
of GPUs whose part of the batch is below the smallest measured one is left out.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["APPS", "DEVICES_PER_NODE", "SOURCE", "Measured", "measured", "measured_speeds", "scaling_folder"]

APPS = ("bert", "cifar10", "deepspeech2", "imagenet", "ncf", "yolov3")
DEVICES_PER_NODE = 4
SOURCE = {"source": "github.com/petuum/adaptdl (osdi21-artifact)", "licence": "Apache-2.0"}
_WHOLE_NODES = ("1", "2", "3", "4", "44", "444", "4444")


def scaling_folder() -> Path | None:
    """Returns the folder of the measurements; None if it is not there."""
    folder = Path(os.environ.get("HWTUNE_DATA", "../shared/data")) / "scaling"
    return folder if (folder / "pollux_placements.parquet").exists() else None


@dataclass(frozen=True)
class Measured:
    """What was measured of one application on one number of GPUs, by ascending batch size per GPU."""

    local_batch: Sequence[float]
    step_s: Sequence[float]
    sync_s: Sequence[float]

    def seconds(self, batch: float) -> float | None:
        """Returns the seconds of one step with `batch` samples per GPU; None below the measured batch sizes."""
        n_parts = max(1, math.ceil(batch / self.local_batch[-1] - 1e-9))
        if batch / n_parts < self.local_batch[0]:
            return None
        step_s, sync_s = (
            float(np.interp(batch / n_parts, self.local_batch, values)) for values in (self.step_s, self.sync_s)
        )
        return (n_parts - 1) * (step_s - sync_s) + step_s


@functools.cache
def measured(app: str) -> dict[int, Measured]:
    """Returns what was measured of an application, by number of GPUs."""
    folder = scaling_folder()
    if folder is None:
        raise SystemExit("the folder scaling is not there: set HWTUNE_DATA")
    near = pd.read_parquet(folder / "pollux_placements.parquet")
    far = pd.read_parquet(folder / "pollux_scalability.parquet")
    near = near[near["placement"].astype(str).isin(_WHOLE_NODES)]
    far = far[far["num_replicas"] == DEVICES_PER_NODE * far["num_nodes"]]
    names = ["app", "num_replicas", "local_bsz", "step_time", "sync_time"]
    rows: Any = pd.concat([near[names], far[names]])
    rows = rows[rows["app"] == app].sort_values("local_bsz")
    found = {}
    for count, part in rows.groupby("num_replicas"):
        columns = (part[name].astype(float).tolist() for name in ("local_bsz", "step_time", "sync_time"))
        found[int(count)] = Measured(*columns)
    return found


def measured_speeds(app: str, batch: int) -> dict[int, float]:
    """Returns steps per second by number of GPUs, at a global batch."""
    seconds = {count: item.seconds(batch / count) for count, item in measured(app).items()}
    return {count: 1.0 / taken for count, taken in seconds.items() if taken is not None}
