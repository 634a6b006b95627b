"""Speeds of the applications that Pollux measured, by number of GPUs at a fixed global batch; and fitted ones.

The measurements and their source are those of `benchmarks/scaling.py`. Three global batches of each application are
used: the smallest, the middle and the largest one of the validation study. A number of GPUs counts if it shares the
batch and its share was measured; beyond four GPUs, complete nodes are used.

Fitted speeds come from `ScalingModel`, with the shape learned from the other five applications. Its points are all
measured batches on one GPU, 2 and 4 GPUs of one node, and one probe: `PROBE` on two complete nodes, or `CHEAP_PROBE` on
one GPU of each of two nodes. Numbers of GPUs that were in the profile keep their measured speed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pandas as pd

from benchmarks.scaling import PER_NODE, PROBE, SOURCE, Application, applications, folder, learned_shapes
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingShape
from lightning_hwtune.core.hardware.scaling.points import accumulation
from lightning_hwtune.errors import ArgumentError

__all__ = [
    "CHEAP_PROBE",
    "PER_NODE",
    "PROBE",
    "SOURCE",
    "fitted_speeds",
    "measured_apps",
    "measured_speeds",
    "some_batches",
]

CHEAP_PROBE = (2, 2)
_LOCAL = ((1, 1), (2, 1), (4, 1))


@functools.cache
def measured_apps() -> tuple[Application, ...]:
    """Returns the applications, with the cheap probe among their sizes."""
    found, placed = applications(folder()), pd.read_parquet(folder() / "pollux_placements.parquet")
    apart = placed[placed["placement"].astype(str) == "11"].sort_values("local_bsz")
    for app in found:
        rows = apart[apart["app"] == app.name]
        columns = (rows[key].to_numpy(dtype=float) for key in ("local_bsz", "step_time", "sync_time"))
        dict.__setitem__(app.steps, CHEAP_PROBE, tuple(columns))  # type: ignore[arg-type, index]
    return tuple(found)


@functools.cache
def _shapes() -> dict[str, ScalingShape]:
    return learned_shapes(measured_apps())


def some_batches(app: Application) -> Sequence[int]:
    """Returns the smallest, the middle and the largest global batch."""
    batches = app.global_batches
    return [batches[0], batches[len(batches) // 2], batches[-1]]


def measured_speeds(app: Application, batch: int) -> dict[int, float]:
    """Returns steps per second by number of GPUs."""
    sizes = [(devices, nodes) for devices, nodes in app.steps if nodes == -(-devices // PER_NODE)]
    seconds = {devices: app.measured_s(devices, nodes, batch) for devices, nodes in sorted(sizes)}
    return {devices: 1 / taken for devices, taken in seconds.items() if taken is not None}


def fitted_speeds(app: Application, batch: int, probe: tuple[int, int] = PROBE) -> dict[int, float]:
    """Returns the speeds that a profile predicts for the numbers of GPUs that were measured.

    Without a measurement of the probe at this batch, only the numbers of the profile have a speed.
    """
    measured, profile = measured_speeds(app, batch), app.points([(1, 1)])
    for devices, nodes in (*_LOCAL, probe):
        seconds = app.measured_s(devices, nodes, batch)
        if seconds is not None:
            parts = accumulation(batch, devices, app.largest_batch)
            profile.append(ScalingPoint(devices, nodes, batch, seconds, parts))
    unique = {(point.devices, point.nodes, point.global_batch, point.accumulate): point for point in profile}
    options = {"shape": _shapes()[app.name], "global_batch": batch, "max_per_device_batch": app.largest_batch}
    model = ScalingModel.fit(unique.values(), PER_NODE, **options)  # type: ignore[arg-type]
    known = {devices for devices, nodes in (*_LOCAL, probe) if nodes == -(-devices // PER_NODE)}
    found = {}
    for devices in measured:
        try:
            found[devices] = measured[devices] if devices in known else 1 / model.seconds_per_step(devices)
        except ArgumentError:  # no probe across nodes at this batch
            continue
    return found
