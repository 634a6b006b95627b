"""How well a short profile predicts the time of a step on more nodes; prints one JSON object.

    python benchmarks/scaling.py [--rows]

Six applications, measured on 1 to 64 T4 GPUs, 4 per node, by the authors of Pollux (Qiao et al., OSDI 2021, repository
petuum/adaptdl, branch osdi21-artifact, Apache-2.0). Each application in turn is left out: `ScalingShape.learned` takes
the shape from the other five, measured at all sizes. The profile of the application itself is a sweep of batches on one
GPU, and one probe on two full nodes, at the middle batch. `ScalingModel` predicts from it the seconds of an optimiser
step on 3 to 16 full nodes, at the global batches of their validation study. A size counts if the devices share the
global batch equally and the batch per device was measured there; a batch between two measured ones is interpolated.
Accumulation steps are as in their simulator: each takes the step without its synchronisation.

The error is |predicted / measured - 1|. `constant` is the same model with the default shape, under which
synchronisation does not grow. The laws of speed-up, for comparison, start from the measured time of one device, and get
more: `amdahl` a probe on two full nodes at each global batch, and `usl`, the universal scalability law (Gunther, 1993),
in addition 2 and 4 devices of one node. `amdahl_one_node` and `usl_one_node` get 2 and 4 devices, without the probe.
`linear` is proportional to the devices, `power` to the devices to the power of 0.8.
`covered` is the share of sizes whose measurement lies in the interval of 80 %. `one_node_refused` is the share of
applications where a model of one node refuses two nodes, and names the probe to run.

With --rows the object has a row for each size. The script needs the measurements: HWTUNE_DATA, or `../shared/data`,
in the folder `scaling`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lightning_hwtune
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingShape
from lightning_hwtune.core.hardware.scaling.points import accumulation
from lightning_hwtune.errors import ArgumentError

PER_NODE, PROBE = 4, (8, 2)
SIZES = [(12, 3), (16, 4), (24, 6), (32, 8), (48, 12), (64, 16)]
BASELINES = ("amdahl", "usl", "power", "linear", "amdahl_one_node", "usl_one_node")
SOURCE = "Qiao et al., Pollux, OSDI 2021 (github.com/petuum/adaptdl, branch osdi21-artifact)"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Application:
    """What was measured of one application.

    Attributes:
        global_batches: those of the validation study.
        steps: (devices, nodes) -> batches per device, seconds of a step, and those of them spent in synchronisation.
    """

    name: str
    global_batches: Sequence[int]
    steps: Mapping[tuple[int, int], tuple[Array, Array, Array]]

    @property
    def largest_batch(self) -> int:
        """The largest batch that one device was measured with."""
        return int(self.steps[1, 1][0][-1])

    def measured_s(self, devices: int, nodes: int, global_batch: int) -> float | None:
        """Returns the seconds of a step; None if the devices cannot share the batch or its share was not measured."""
        if global_batch % devices or (devices, nodes) not in self.steps:
            return None
        passes = accumulation(global_batch, devices, self.largest_batch)
        share = global_batch / (devices * passes)
        batch, step, sync = self.steps[devices, nodes]
        if not batch[0] <= share <= batch[-1]:
            return None
        step_s, sync_s = np.interp(share, batch, step), np.interp(share, batch, sync)
        return float(step_s + (passes - 1) * (step_s - sync_s))

    def points(self, sizes: Sequence[tuple[int, int]]) -> list[ScalingPoint]:
        """Returns every measured point on allocations of these sizes."""
        return [
            ScalingPoint(devices, nodes, devices * int(batch), float(step))
            for devices, nodes in sizes
            for batch, step, _ in zip(*self.steps[devices, nodes], strict=True)
        ]

    def profile(self) -> list[ScalingPoint]:
        """Returns the batches on one device, and one probe on two full nodes."""
        probes = self.points([PROBE])
        return [*self.points([(1, 1)]), probes[len(probes) // 2]]


def folder() -> Path:
    """Returns the folder of the measurements; ends the script if they are not there."""
    found = Path(os.environ.get("HWTUNE_DATA", "../shared/data")) / "scaling"
    if not (found / "pollux_placements.parquet").is_file():
        sys.exit(f"the measurements of Pollux are not in {found}: set HWTUNE_DATA")
    return found


def applications(where: Path) -> list[Application]:
    """Returns the applications, by name."""
    import pandas as pd

    placed = pd.read_parquet(where / "pollux_placements.parquet")
    placed["is_full"] = placed["placement"] == placed["num_nodes"].map(lambda nodes: str(PER_NODE) * nodes)
    placed = placed[placed["is_full"] | (placed["num_nodes"] == 1)]
    both = pd.concat([placed, pd.read_parquet(where / "pollux_scalability.parquet")])
    validation = pd.read_parquet(where / "pollux_validation.parquet")
    found = []
    for name, rows in both.groupby("app"):
        steps = {}
        for (devices, nodes), size in rows.groupby(["num_replicas", "num_nodes"]):
            size = size.sort_values("local_bsz")
            columns = (size[key].to_numpy(dtype=np.float64) for key in ("local_bsz", "step_time", "sync_time"))
            steps[int(devices), int(nodes)] = tuple(columns)
        batches = sorted(int(batch) for batch in validation[validation["app"] == name]["batch_size"].unique())
        found.append(Application(str(name), batches, steps))
    return found


def learned_shapes(found: Sequence[Application]) -> dict[str, ScalingShape]:
    """Returns for each application the shape of the others."""
    sizes = [(1, 1), (2, 1), (4, 1), PROBE, *SIZES]
    models = {}
    for app in found:
        there = [size for size in sizes if size in app.steps]
        models[app.name] = ScalingModel.fit(app.points(there), PER_NODE)
    return {
        app.name: ScalingShape.learned(model for name, model in models.items() if name != app.name) for app in found
    }


def rows_of(app: Application, shape: ScalingShape) -> Iterator[dict[str, Any]]:
    """Yields a row for each size and global batch, with the measured and all predicted seconds."""
    options = {"devices_per_node": PER_NODE, "max_per_device_batch": app.largest_batch}
    model, constant = (ScalingModel.fit(app.profile(), shape=used, **options) for used in (shape, None))
    for batch in app.global_batches:
        one_s = app.measured_s(1, 1, batch)
        smaller = {n: app.measured_s(n, -(-n // PER_NODE), batch) for n in (2, 4, PROBE[0])}
        for devices, nodes in SIZES:
            true_s = app.measured_s(devices, nodes, batch)
            if true_s is None or one_s is None or None in smaller.values():
                continue
            found = model.predict(devices, nodes, batch)
            measured = {n: one_s / s for n, s in smaller.items() if s is not None}
            inside = {n: speed_up for n, speed_up in measured.items() if n <= PER_NODE}
            across = {PROBE[0]: measured[PROBE[0]]}
            predicted = {
                "model": found.seconds,
                "constant": constant.seconds_per_step(devices, nodes, batch),
                "amdahl": one_s / law(across, devices, with_crosstalk=False),
                "usl": one_s / law(measured, devices, with_crosstalk=True),
                "power": one_s / devices**0.8,
                "linear": one_s / devices,
                "amdahl_one_node": one_s / law(inside, devices, with_crosstalk=False),
                "usl_one_node": one_s / law(inside, devices, with_crosstalk=True),
            }
            yield {
                "app": app.name, "global_batch": batch, "devices": devices, "nodes": nodes,
                "measured_s": round(true_s, 6), "covered": found.low <= true_s <= found.high,
                **{name: round(abs(seconds / true_s - 1), 4) for name, seconds in predicted.items()},
            }  # fmt: skip


def law(speed_ups: Mapping[int, float], devices: int, *, with_crosstalk: bool) -> float:
    """Returns the speed-up on `devices`, by the law that fits measured ones best.

    The law is devices / speed-up = 1 + a (devices - 1) + b devices (devices - 1): Amdahl's without b, and Gunther's
    with it.
    """
    counts = np.array(sorted(speed_ups), dtype=np.float64)
    slow = np.maximum(counts / np.array([speed_ups[int(count)] for count in counts]) - 1, 0.0)
    columns = np.column_stack([counts - 1, counts * (counts - 1) if with_crosstalk else np.zeros_like(counts)])
    (a, b), _ = nnls(columns, slow)
    return float(devices / (1 + a * (devices - 1) + b * devices * (devices - 1)))


def is_refused(app: Application) -> bool:
    """Return whether a model of one node refuses more nodes, and names the probe."""
    points = app.points([(1, 1), (2, 1), (4, 1)])
    model = ScalingModel.fit(points, PER_NODE, max_per_device_batch=app.largest_batch)
    try:
        model.seconds_per_step(*PROBE)
    except ArgumentError as error:
        return f"one probe on 2 full nodes ({PROBE[0]} devices)" in str(error)
    return False


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the headline figures."""
    errors = {name: np.array([row[name] for row in rows]) for name in ("model", "constant", *BASELINES)}
    found = {
        "median_error": np.median(errors["model"]),
        "p90_error": np.quantile(errors["model"], 0.9),
        "median_error_amdahl": np.median(errors["amdahl"]),
        "median_error_linear": np.median(errors["linear"]),
        "median_error_constant": np.median(errors["constant"]),
        "covered": np.mean([row["covered"] for row in rows]),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def parts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the median and the 90th percentile of each way to predict: of all sizes, each application, each size."""
    groups = [("all", list(rows))]
    groups += [(name, [row for row in rows if row["app"] == name]) for name in sorted({row["app"] for row in rows})]
    sizes = sorted({row["devices"] for row in rows})
    groups += [(f"{devices} devices", [row for row in rows if row["devices"] == devices]) for devices in sizes]
    found = []
    for name, part in groups:
        entry: dict[str, Any] = {"part": name, "sizes": len(part)}
        for way in ("model", "constant", *BASELINES):
            errors = [row[way] for row in part]
            entry[way] = [round(float(np.median(errors)), 3), round(float(np.quantile(errors, 0.9)), 3)]
        found.append(entry)
    return found


def main() -> None:
    """Predicts all sizes of all applications and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="print a row for each size, too")
    given = parser.parse_args()
    found = applications(folder())
    shapes = learned_shapes(found)
    rows = [row for app in found for row in rows_of(app, shapes[app.name])]
    refused = float(np.mean([is_refused(app) for app in found]))
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    out = {
        "figures": {**figures(rows), "one_node_refused": refused},
        "parts": parts(rows),
        "shapes": {name: dataclasses.asdict(shape) for name, shape in shapes.items()},
        **({"rows": rows} if given.rows else {}),
        "versions": versions,
        "source": SOURCE,
        "licence": "Apache-2.0",
    }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
