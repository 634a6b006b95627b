"""The prior at work on real training: how many epochs a second demo study needs to come to where the first one ended.

    python benchmarks/prior_demo.py [--seeds 5] [--max-trials 60] [--dir FOLDER] > prior_demo.json

The study of `configs/study/demo.yaml` is run once. Then, for each of the seeds 1, 2, ..., it is run again twice, with
`prior=auto` and without, in folders that hold the first one only. Counted are the epochs that each trained, work done
again included, until the hypervolume of all its reports so far was that of all reports of the first study.

Hypervolume: val_error linear, train_s and cost_usd in their logarithm, scaled to [0, 1] by the least and the greatest
value in any of the studies; reference point 1 in every objective. A study that never came there counts with all its
epochs, as a lower bound, and is named. The speed-up is the ratio of the two medians; its interval is a 90 % bootstrap
over seeds. Times depend on the machine and its load: run it on a quiet one.
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
LOG_MASK = np.array([False, True, True])  # val_error, train_s, cost_usd

Floats = npt.NDArray[np.float64]


def losses_of(folder: Path, seed: int, max_trials: int, prior: str | None) -> Floats:
    """Runs the demo study in `folder`; returns the losses of its reports, in their order."""
    from lightning_hwtune.core.events import Reported
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.study import Study

    changes = [f"dir={folder}", f"study=demo-{seed}", f"seed={seed}", f"max_trials={max_trials}"]
    settings = StudySettings.load(REPOSITORY / "configs/study/demo.yaml", changes)
    study = Study(**{**settings.study_kwargs(), **({"prior": prior, "searcher": None} if prior else {})})
    study.run(**settings.run_kwargs(), progress=False)
    rows = [study.spec.objectives.loss(event.values) for event in study.events() if isinstance(event, Reported)]
    return np.array(rows)


def scaled(studies: list[Floats]) -> list[Floats]:
    """Returns the losses of all studies on one scale; the module tells which."""
    logged = [np.where(LOG_MASK, np.log10(np.where(LOG_MASK, losses, 1.0)), losses) for losses in studies]
    everything = np.concatenate(logged)
    low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
    return [(losses - low) / np.where(high > low, high - low, np.inf) for losses in logged]


def epochs_to(curve: Floats, target: float) -> tuple[int, bool]:
    """Returns the epochs until a hypervolume is there, and whether it ever was."""
    there = np.flatnonzero(curve >= target)
    return (int(there[0]) + 1, True) if len(there) else (len(curve), False)


def speedup(without: list[int], with_prior: list[int]) -> dict[str, Any]:
    """Returns the ratio of medians and its 90 % bootstrap interval over paired seeds."""
    pairs = np.array([without, with_prior], dtype=np.float64)
    picks = np.random.default_rng(0).integers(pairs.shape[1], size=(2000, pairs.shape[1]))
    ratios = np.median(pairs[0][picks], axis=1) / np.median(pairs[1][picks], axis=1)
    low, high = np.quantile(ratios, [0.05, 0.95])
    ratio = float(np.median(pairs[0]) / np.median(pairs[1]))
    return {"ratio": round(ratio, 3), "interval_90": [round(float(low), 3), round(float(high), 3)]}


def main() -> None:
    """Runs all studies and prints the report as JSON."""
    from lightning_hwtune.core.ranking.anytime import hypervolume_curve

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-trials", type=int, default=60)
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to keep the studies; a temporary folder if not given"
    )
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
            found[arm].append(losses_of(folder, seed, options.max_trials, "auto" if arm == "prior" else None))
            print(f"seed {seed}, {arm}: {len(found[arm][-1])} epochs", file=sys.stderr)
    unit = scaled([first, *found["without"], *found["prior"]])
    curves = [hypervolume_curve(points, np.ones(points.shape[1])) for points in unit]
    target = float(curves[0][-1])
    reached = [epochs_to(curve, target) for curve in curves[1:]]
    arms = {"without": reached[: options.seeds], "prior": reached[options.seeds :]}
    report: dict[str, Any] = {
        "settings": {"seeds": options.seeds, "max_trials": options.max_trials},
        "first_study": {"epochs": len(first), "hypervolume": round(target, 4)},
        "epochs": {arm: [n for n, _ in rows] for arm, rows in arms.items()},
        "never_there": {
            arm: [i + 1 for i, (_, is_there) in enumerate(rows) if not is_there] for arm, rows in arms.items()
        },
        "final_hypervolume": {
            "without": [round(float(curve[-1]), 4) for curve in curves[1 : options.seeds + 1]],
            "prior": [round(float(curve[-1]), 4) for curve in curves[options.seeds + 1 :]],
        },
    }
    report["speedup"] = speedup(report["epochs"]["without"], report["epochs"]["prior"])
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
