"""Devices chosen for real trainings on this machine: the advisor's predictions, and a study with a deadline.

    python benchmarks/hardware_for_real.py            # about 15 minutes on two quiet cores
    python benchmarks/hardware_for_real.py --quick    # one run of each study, and a deadline of one minute

Trains a convolutional net of width 128 on scikit-learn's digits, on up to two CPU ranks. Prints one JSON object.

1. A calibration trains four short trials on one rank each, two at a time, and two on two ranks. It gives the seconds of
   an epoch, the speed on two ranks and the start-up time of a segment after the first ones. From these, the advisor
   predicts how long a study of eight trials takes with one and with two ranks per trial. Then both studies run. Their
   trials differ in the learning rate only, so they are equally fast (`variation=1`).
2. A study with `DeadlineAllocation` has a deadline and a budget, on a machine that is paid as a whole. Its full
   training takes longer than the deadline on one rank. A study with `SeerAllocation` has the same limits, and a full
   training that takes 0.9 times the deadline on one rank, so that its last trial needs both. It gets no speeds
   beforehand, and measures them itself.
3. A study with `SeerAllocation` and a net of width 8, where two ranks are not faster: one trial may try two ranks, and
   all others should keep one.

`figures`:

- advisor_error_1_rank, advisor_error_2_ranks: |predicted / measured - 1| of the makespan, the median over the runs.
- advisor_chose_the_faster: whether the advisor's choice was the faster one, by the medians.
- speed_2_ranks: how many times faster a trial is on two ranks.
- deadline_used, budget_used: the part of the deadline and of the budget that the study took; at most 1.
- moved_trials: trials whose ranks changed. fully_trained: trials that were trained to the end.
- The same with `seer_`, of the study with `SeerAllocation`; seer_stages: the number of its plans.
- small_on_2_ranks: segments on two ranks in the study of width 8, apart from the one that measures the speed.
- ledger_gap_usd: difference between the ledger's total and the sum of the nodes' bills.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import lightning_hwtune as hwt  # noqa: E402 - found from the repository's root
from lightning_hwtune.core.events import StagePlanned  # noqa: E402
from lightning_hwtune.planning.advisor import PoolStudy, advise  # noqa: E402
from lightning_hwtune.views.ledger import ledger_entry  # noqa: E402
from models.digits_study import train  # noqa: E402

__all__ = ["main"]

SPACE = hwt.SearchSpace(
    lr=hwt.Float(1e-3, 1e-2, log=True),
    width=hwt.Choice([128]),
    depth=hwt.Choice([2]),
    dropout=hwt.Choice([0.1]),
    weight_decay=hwt.Choice([1e-4]),
    batch_size=hwt.Choice([128]),
)
MACHINE = hwt.InstanceType("two-cores", 0.1, vcpus=2)
EPOCHS, TRIALS = 9, 8
OPTIONS: Mapping[str, Any] = {"check": False, "progress": False, "preload": ["models.digits_study"]}


def main() -> None:
    """Runs both parts and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one run of each study, and a deadline of one minute")
    quick: bool = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="hwt", dir="/tmp", ignore_cleanup_errors=True) as folder:
        calibrated = calibration(Path(folder))
        found = advisor(Path(folder), calibrated, n_runs=1 if quick else 3)
        deadline_s = 60.0 if quick else 180.0
        found |= with_deadline(Path(folder), calibrated, deadline_s)
        found |= by_plan(Path(folder), calibrated, deadline_s)
        found |= small_net(Path(folder), deadline_s / 2)
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}
    print(json.dumps({"figures": found, "calibration": calibrated, "machine": machine, "quick": quick}))


def calibration(folder: Path) -> dict[str, float]:
    """Returns the seconds of an epoch on one and on two ranks, and the start-up of a segment."""
    epoch_s, startups_s = {}, []
    for ranks in (1, 2):
        made = study(folder, f"calibration-{ranks}", hwt.RunToEnd(max_epochs=2), ranks)
        made.run(train, max_trials=4 // ranks, **OPTIONS)
        state = made.state()
        epoch_s[ranks] = statistics.median(trial.measurements[-1].train_s / 2 for trial in state.trials)
        later = [segment for segment in state.segments if segment.started_clock_s > state.segments[0].wall_s]
        startups_s += [segment.wall_s - segment.train_s for segment in later]
    return {"epoch_s_1": epoch_s[1], "epoch_s_2": epoch_s[2], "start_s": statistics.median(startups_s)}


def advisor(folder: Path, calibrated: Mapping[str, float], n_runs: int) -> dict[str, Any]:
    """Returns how far the predicted makespans are from the measured ones."""
    scheduler = hwt.ASHA(max_epochs=EPOCHS, first_rung=3, eta=3)
    speed = calibrated["epoch_s_1"] / calibrated["epoch_s_2"]
    asked = PoolStudy(scheduler, TRIALS, 2, calibrated["epoch_s_1"], calibrated["start_s"], variation=1.0)
    predicted = {ranks: asked.predicted(Fraction(ranks), by).seconds for ranks, by in ((1, 1.0), (2, speed))}
    measured: dict[int, list[float]] = {1: [], 2: []}
    for run in range(n_runs):
        for ranks in (1, 2) if run % 2 == 0 else (2, 1):
            made = study(folder, f"advised-{ranks}-{run}", scheduler, ranks)
            made.run(train, max_trials=TRIALS, **OPTIONS)
            state = made.state()
            measured[ranks].append(max(s.started_clock_s + s.wall_s for s in state.segments))
            taken_s = measured[ranks][-1]
            print(f"{ranks} per trial: predicted {predicted[ranks]:.1f} s, took {taken_s:.1f} s", file=sys.stderr)
    chosen = advise(asked, {1: 1.0, 2: speed}).best.devices
    medians = {ranks: statistics.median(times) for ranks, times in measured.items()}
    return {
        "advisor_error_1_rank": statistics.median(abs(predicted[1] / taken - 1) for taken in measured[1]),
        "advisor_error_2_ranks": statistics.median(abs(predicted[2] / taken - 1) for taken in measured[2]),
        "advisor_chose_the_faster": int(chosen) == min(medians, key=medians.__getitem__),
        "speed_2_ranks": speed,
    }


def with_deadline(folder: Path, calibrated: Mapping[str, float], deadline_s: float) -> dict[str, Any]:
    """Returns what a study took whose full training needs 1.2 times the deadline on one rank."""
    budget_usd = 0.95 * deadline_s * MACHINE.usd_per_hour / 3600
    scheduler = hwt.ASHA(max_epochs=max(round(1.2 * deadline_s / calibrated["epoch_s_1"]), 9), first_rung=3, eta=3)
    made = hwt.Study(
        "deadline", SPACE, [hwt.Metric("val_error", "min")], scheduler=scheduler, dir=folder, searcher="random",
        pool=hwt.Pool(instance=MACHINE), allocation=hwt.DeadlineAllocation(),
    )  # fmt: skip
    found = taken(made, deadline_s, budget_usd)
    return {**{name: found[name] for name in LIMITED}, "ledger_gap_usd": found["ledger_gap_usd"]}


LIMITED = ("deadline_used", "budget_used", "moved_trials", "fully_trained")


def by_plan(folder: Path, calibrated: Mapping[str, float], deadline_s: float) -> dict[str, Any]:
    """Returns what a study by SEER-style plans took within the same limits."""
    budget_usd = 0.95 * deadline_s * MACHINE.usd_per_hour / 3600
    epochs = max(round(0.9 * deadline_s / calibrated["epoch_s_1"]), 9)
    made = planned_study(folder, "seer", SPACE, epochs)
    found = taken(made, deadline_s, budget_usd)
    found["stages"] = sum(isinstance(event, StagePlanned) for event in made.events())
    for event in made.events():
        if isinstance(event, StagePlanned):
            print(f"stage from {event.reached}: {event.reason}", file=sys.stderr)
    return {f"seer_{name}": value for name, value in found.items()}


def small_net(folder: Path, deadline_s: float) -> dict[str, Any]:
    """Returns on how many ranks the trials of a net train that is not faster on two ranks."""
    space = hwt.SearchSpace({**dict(SPACE), "width": hwt.Choice([8])})
    made = planned_study(folder, "small", space, 81)
    taken(made, deadline_s, 0.95 * deadline_s * MACHINE.usd_per_hour / 3600)
    probes = sum(isinstance(event, StagePlanned) and event.probe > 0 for event in made.events())
    on_two = sum(segment.num_devices == 2 for segment in made.state().segments)
    return {"small_on_2_ranks": max(on_two - probes, 0)}


def planned_study(folder: Path, name: str, space: hwt.SearchSpace, epochs: int) -> hwt.Study:
    """Returns a study by SEER-style plans, on a machine that is paid as a whole."""
    return hwt.Study(
        name, space, [hwt.Metric("val_error", "min")], scheduler=hwt.SuccessiveHalving(max_epochs=epochs), dir=folder,
        searcher="random", pool=hwt.Pool(instance=MACHINE), allocation=hwt.SeerAllocation(),
    )  # fmt: skip


def taken(made: hwt.Study, deadline_s: float, budget_usd: float) -> dict[str, Any]:
    """Runs a study within limits; returns what it took, and whose ranks changed."""
    began = time.monotonic()
    made.run(train, max_time=deadline_s, max_cost=budget_usd, **OPTIONS)
    print(f"the study {made.name!r} took {time.monotonic() - began:.1f} s", file=sys.stderr)
    state, ranks = made.state(), dict[int, set[int]]()
    for segment in state.segments:
        ranks.setdefault(segment.trial_id, set()).add(segment.num_devices)
    entry = ledger_entry(state, state.last_at)
    return {
        "deadline_used": state.wall_s(state.last_at) / deadline_s,
        "budget_used": entry["total_usd"] / budget_usd,
        "moved_trials": sum(len(counts) > 1 for counts in ranks.values()),
        "fully_trained": state.n_full,
        "ledger_gap_usd": abs(entry["total_usd"] - sum(node["billed_usd"] for node in entry["nodes"])),
    }


def study(folder: Path, name: str, scheduler: Any, ranks: int) -> hwt.Study:
    """Returns a new study on both cores, with this number of ranks per trial."""
    return hwt.Study(
        name, SPACE, [hwt.Metric("val_error", "min")], scheduler=scheduler, dir=folder, searcher="random",
        pool=hwt.Pool("cpu", 2), allocation=hwt.FixedAllocation(ranks),
    )  # fmt: skip


if __name__ == "__main__":
    main()
