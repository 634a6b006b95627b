"""How far the front can be believed if measured seconds are noisy; prints one JSON object.

    python benchmarks/noise.py [--seeds 20] [--first-seed 100] [--per-trial]

Every task of the table trimtuner is tuned (error, train_s) by ASHA on 4 simulated workers over the table's own
configurations. The seconds of each segment are multiplied by a log-normal factor of 5 or 15 %: the machine that it
gets. The front that the study shows is compared with the truth: the trials that finished, with the table's seconds.
Both fronts use the objectives of the study, with their resolution.

- `certain_and_true`: of the members that are shown as certain, the share that is truly on the front
- `true_and_certain`: of the true members among the finished, the share that is shown as certain
- `shown_and_true`: of all members that are shown, the share that is truly on the front
- `calibration`: the greatest distance of the mean probability from the true share, over bins of a tenth that have at
  least 30 members
- `calibration_if_exact`: the median of this distance if each member were on the front with exactly its probability; it
  falls with the number of members in the smallest bin

With --per-trial it repeats this with one factor for all segments of a trial. No study can measure such a noise, as it
looks like a property of the configuration. `choosing` and `reporting` are the tasks on which the least spread and the
limit of certainty were chosen (with seeds 0 to 3), and the two others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Listed
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.executor import Speeds, simulate
from lightning_hwtune.simulation.tables import Table
from lightning_hwtune.views.tables import front_entries

SPREADS = (0.05, 0.15)
N_WORKERS = 4
LEAST_IN_BIN = 30
N_DRAWS = 1000
OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])


@dataclass
class Found:
    """What the fronts of several studies have shown: one entry per member, and the number of true members."""

    probability: list[float] = field(default_factory=list)
    is_certain: list[bool] = field(default_factory=list)
    is_true: list[bool] = field(default_factory=list)
    n_true: int = 0

    def figures(self) -> dict[str, float | None]:
        """Returns the shares and the calibration."""
        probability, certain, true = map(np.array, (self.probability, self.is_certain, self.is_true))
        places = (probability * 10).astype(int).clip(max=9)
        bins = [places == low for low in range(10) if (places == low).sum() >= LEAST_IN_BIN]
        rng = np.random.default_rng(0)
        drawn = [greatest_gap(probability, rng.random(len(probability)) < probability, bins) for _ in range(N_DRAWS)]
        return {
            "certain_and_true": round(float(true[certain].mean()), 3),
            "true_and_certain": round(float((certain & true).sum()) / self.n_true, 3),
            "shown_and_true": round(float(true.mean()), 3),
            "calibration": round(greatest_gap(probability, true, bins), 3) if bins else None,
            "calibration_if_exact": round(float(np.median(drawn)), 3) if bins else None,
            "n_members": len(true),
        }


def greatest_gap(probability: Any, true: Any, bins: Sequence[Any]) -> float:
    """Returns the greatest distance of the mean probability from the true share; 0 without a bin."""
    return max((abs(float(probability[is_in].mean() - true[is_in].mean())) for is_in in bins), default=0.0)


def add_study(found: Found, table: Table, task: str, speeds: Speeds, seed: int) -> None:
    """Simulates one study and compares its front with the truth."""
    curves, pool = table.curves(task), Pool("cpu", N_WORKERS)
    scheduler = ASHA(max_epochs=table.max_resource)
    spec = StudySpec("noise", table.space, OBJECTIVES, scheduler, Listed(table.configs), pool, seed=seed)
    state = simulate(spec, curves, Limits(), speeds=speeds)
    full = [trial for trial in state.trials if trial.state is TrialState.COMPLETED and trial.last is not None]
    values = [
        {"error": curves.values(t.config, t.resource)["error"], "train_s": curves.elapsed_s(t.config, t.resource, 1)}
        for t in full
    ]
    is_true = non_dominated_mask([OBJECTIVES.loss(value) for value in values])
    true = {trial.trial_id for trial, on_front in zip(full, is_true, strict=True) if on_front}
    found.n_true += len(true)
    for entry in front_entries(state):
        found.probability.append(entry["probability"])
        found.is_certain.append(not entry["within_noise"])
        found.is_true.append(entry["trial_id"] in true)


def measured(table: Table, tasks: Sequence[str], spread: float, seeds: Sequence[int], per_trial: bool) -> Found:
    """Returns what all studies of these tasks and seeds have shown."""
    found = Found()
    for task in tasks:
        for seed in seeds:
            add_study(found, table, task, Speeds(spread, seed, per_trial), seed)
    return found


def main() -> None:
    """Simulates all studies and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--per-trial", action="store_true")
    parser.add_argument("--table", default="trimtuner")
    given = parser.parse_args()
    table, seeds = Table.load(given.table), range(given.first_seed, given.first_seed + given.seeds)
    halves = {
        "choosing": [task for task in table.tasks if not task.endswith("-60000")],
        "reporting": [task for task in table.tasks if task.endswith("-60000")],
    }
    out: dict[str, Any] = {"table": table.name, "seeds": list(seeds), "figures": {}}
    for per_trial in (False, True) if given.per_trial else (False,):
        kind = "per_trial" if per_trial else "per_segment"
        out[kind] = {}
        for spread in SPREADS:
            parts = {half: measured(table, tasks, spread, seeds, per_trial) for half, tasks in halves.items()}
            both = Found()
            for part in parts.values():
                both.probability += part.probability
                both.is_certain += part.is_certain
                both.is_true += part.is_true
                both.n_true += part.n_true
            name = f"{spread:.0%}"
            out[kind][name] = {half: part.figures() for half, part in parts.items()}
            out[kind][name]["all"] = both.figures()
            if not per_trial:
                chosen = ("certain_and_true", "true_and_certain", "calibration", "calibration_if_exact")
                out["figures"] |= {f"{key}_{round(100 * spread)}": both.figures()[key] for key in chosen}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
