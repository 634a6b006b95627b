"""The prior on real training: how many epochs does a second demo study need to reach the result of the first one?

    python benchmarks/prior_demo.py [--seeds 5] [--max-trials 30] [--dir FOLDER] > prior_demo.json

The study of `configs/study/demo.yaml`, on one device and over two objectives (val_error, train_s), runs once. Then, for
each of the seeds 1, 2, ..., it runs twice, with `prior=auto` and without, in folders that contain only the first study.
These studies may have twice as many trials. The script counts the epochs that all trials trained, including repeated
work, until the hypervolume of all reports reached that of all reports of the first study. `error_epochs` counts the
epochs until a val_error as low as the lowest of the first study; the load of the machine does not affect it.

Hypervolume: val_error linear, train_s in its logarithm, on the scale of the first study: its lowest value is 0, its
highest value is 1 and the reference point. A study that never reaches the first one counts with all its epochs, as a
lower bound, and is named. The speed-up is the ratio of the two medians; its interval is a 90 % bootstrap over paired
seeds. Seconds depend on the machine and its load, so run it on a quiet machine. With --dir the studies are kept, and
studies that already exist do not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

REPOSITORY = Path(__file__).parents[1]
LOG_MASK = np.array([False, True])  # val_error, train_s
CHANGES = (
    "space.devices.counts=[1]",
    "pool.devices=1",
    "objectives=[{metric: val_error, mode: min}, train_s]",
)

Floats = npt.NDArray[np.float64]


def losses_of(folder: Path, seed: int, max_trials: int, prior: str | None) -> Floats:
    """Runs the demo study in `folder`; returns the losses of its reports, in their order."""
    from lightning_hwtune.core.events import Reported
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.study import Study

    changes = [*CHANGES, f"dir={folder}", f"study=demo-{seed}", f"seed={seed}", f"max_trials={max_trials}"]
    settings = StudySettings.load(REPOSITORY / "configs/study/demo.yaml", changes)
    study = Study(**{**settings.study_kwargs(), **({"prior": prior, "searcher": None} if prior else {})})
    study.run(**settings.run_kwargs(), progress=False)
    rows = [study.spec.objectives.loss(event.values) for event in study.events() if isinstance(event, Reported)]
    return np.array(rows)


def on_scale(losses: Floats, of: Floats) -> Floats:
    """Returns losses (logarithms where `LOG_MASK`) on the scale on which those of a study range from 0 to 1."""
    own, first = (np.where(LOG_MASK, np.log10(np.where(LOG_MASK, each, 1.0)), each) for each in (losses, of))
    low, high = np.nanmin(first, axis=0), np.nanmax(first, axis=0)
    return (own - low) / np.where(high > low, high - low, np.inf)


def epochs_to(is_there: npt.NDArray[np.bool_]) -> tuple[int, bool]:
    """Returns the epochs until the target is reached (all epochs if it never is), and whether it is reached."""
    there = np.flatnonzero(is_there)
    return (int(there[0]) + 1, True) if len(there) else (len(is_there), False)


def speedup(without: list[int], with_prior: list[int]) -> dict[str, Any]:
    """Returns the ratio of medians and its 90 % bootstrap interval over paired seeds."""
    pairs = np.array([without, with_prior], dtype=np.float64)
    picks = np.random.default_rng(0).integers(pairs.shape[1], size=(2000, pairs.shape[1]))
    ratios = np.median(pairs[0][picks], axis=1) / np.median(pairs[1][picks], axis=1)
    low, high = np.quantile(ratios, [0.05, 0.95])
    ratio = float(np.median(pairs[0]) / np.median(pairs[1]))
    return {"ratio": round(ratio, 3), "interval_90": [round(float(low), 3), round(float(high), 3)]}


def report_of(first: Floats, found: dict[str, list[Floats]]) -> dict[str, Any]:
    """Returns the results of the second studies of each arm, "without" and "prior"."""
    from lightning_hwtune.core.ranking.anytime import hypervolume_curve

    corner = np.ones(len(LOG_MASK))
    curves = {arm: [hypervolume_curve(on_scale(own, first), corner) for own in runs] for arm, runs in found.items()}
    target = float(hypervolume_curve(on_scale(first, first), corner)[-1])
    reached = {arm: [epochs_to(curve >= target) for curve in own] for arm, own in curves.items()}
    least = np.nanmin(first[:, 0])
    errors = {arm: [epochs_to(own[:, 0] <= least) for own in runs] for arm, runs in found.items()}
    report: dict[str, Any] = {"first_study": {"epochs": len(first), "hypervolume": round(target, 4)}}
    for name, counts in (("epochs", reached), ("error_epochs", errors)):
        report[name] = {arm: [n for n, _ in rows] for arm, rows in counts.items()}
        report[name]["never_there"] = {
            arm: [seed for seed, (_, is_there) in enumerate(rows, 1) if not is_there] for arm, rows in counts.items()
        }
        report[name]["speedup"] = speedup(report[name]["without"], report[name]["prior"])
    report["final_hypervolume"] = {arm: [round(float(curve[-1]), 4) for curve in own] for arm, own in curves.items()}
    report["figures"] = {
        "prior_demo_speedup": report["epochs"]["speedup"]["ratio"],
        "prior_demo_low": report["epochs"]["speedup"]["interval_90"][0],
        "prior_demo_high": report["epochs"]["speedup"]["interval_90"][1],
    }
    return report


def main() -> None:
    """Runs all studies and prints the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-trials", type=int, default=30, help="of the first study")
    parser.add_argument("--dir", type=Path, help="where to keep the studies; a temporary folder if not given")
    options = parser.parse_args()
    os.chdir(REPOSITORY)
    sys.path.insert(0, str(REPOSITORY))
    root = options.dir or Path(tempfile.mkdtemp(prefix="prior-demo-"))
    first = losses_of(root / "first", 0, options.max_trials, None)
    found: dict[str, list[Floats]] = {"without": [], "prior": []}
    for seed in range(1, options.seeds + 1):
        for arm in found:
            folder = root / f"{arm}-{seed}"
            if not folder.exists():
                shutil.copytree(root / "first", folder)
            found[arm].append(losses_of(folder, seed, 2 * options.max_trials, "auto" if arm == "prior" else None))
            print(f"seed {seed}, {arm}: {len(found[arm][-1])} epochs", file=sys.stderr, flush=True)
    settings = {"seeds": options.seeds, "max_trials": options.max_trials}
    print(json.dumps({"settings": settings, **report_of(first, found)}, indent=1))


if __name__ == "__main__":
    main()
