"""Applications whose step times are known, and their formula written again in plain Python."""

from __future__ import annotations

from lightning_hwtune.core.hardware.scaling import ScalingPoint
from lightning_hwtune.core.hardware.scaling.step_time import StepTime

PER_NODE = 4
VISION = StepTime(0.02, 0.0007, 0.0, 0.02, 0.15, 1.6, 0.0, 0.0, 0.0, 1.0, 0.0)
LANGUAGE = StepTime(0.22, 0.058, 0.0, 0.05, 2.2, 2.0, 0.05, 0.1, 0.0, 0.8, 0.03)
LOOKUP = StepTime(
    0.006, 5e-7, 512.0, 0.006, 0.03, 1.2, 0.0, 0.0, 0.0, 1.0, 0.0
)  # communication is longer than computing
BATCH = {VISION: 1024, LANGUAGE: 768, LOOKUP: 8192}


def plain_seconds(app: StepTime, devices: int, nodes: int, batch: float, accumulate: int = 1) -> float:
    """Returns the seconds of a step; an independent second form of `StepTime.seconds`."""
    computing = app.fixed_s + app.per_sample_s * (batch if batch > app.full_batch else app.full_batch)
    computing += computing * app.sharing * (devices - nodes) / devices
    sync = 0.0
    if devices > 1 and nodes == 1:
        sync = app.local_s + app.local_s * app.local_growth * (devices - 2)
    elif nodes > 1:
        sync = app.node_s * (1 + app.crowding * (devices / nodes - 1))
        sync *= 1.0 if nodes == 2 else app.third_node + app.per_node * (nodes - 3)
    last = (computing**app.overlap + sync**app.overlap) ** (1 / app.overlap)
    return last + (accumulate - 1) * computing


def point(app: StepTime, devices: int, nodes: int, global_batch: int, factor: float = 1.0) -> ScalingPoint:
    """Returns the exact point of an application, multiplied by a factor."""
    seconds = factor * plain_seconds(app, devices, nodes, global_batch / devices)
    return ScalingPoint(devices, nodes, global_batch, seconds)


def profile(app: StepTime, *, local: bool = True, nodes: bool = True) -> list[ScalingPoint]:
    """Returns a sweep of five batches on one device, and with them two and four devices, and two full nodes."""
    batch = BATCH.get(app, 1024)
    found = [point(app, 1, 1, batch // part) for part in (1, 2, 4, 8, 16)]
    found += [point(app, devices, 1, batch) for devices in (2, 4)] if local else []
    return found + ([point(app, 8, 2, batch)] if nodes else [])
