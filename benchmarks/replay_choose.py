"""Compares orders inside a front and values of eta on tasks that no headline uses; prints one JSON object.

The accounting is that of `benchmarks/replay.py`: speed-up over random full training to 95 % of the partial hypervolume,
paired by seed. The tasks are the eight of trimtuner that are not reserved there (error, seconds, dollars) and those of
lcbench-surrogate (error, seconds), which `replay.py` does not use.

    python benchmarks/replay_choose.py [--seeds 10] [--tables trimtuner lcbench-surrogate] [--rows FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.replay import RESERVED, SETTINGS, about, run
from benchmarks.replay_arms import from_table
from benchmarks.replay_figures import summary
from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.simulation.tables import Table

OBJECTIVES = {"trimtuner": None, "lcbench-surrogate": ["val_error", "train_s"]}
ETAS = (2, 3, "10/3", 4)


def main() -> None:
    """Replays the candidates and prints their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tables", nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--rows", type=Path, help="a folder to keep the rows of each task and arm in")
    arguments = parser.parse_args()
    report = {name: compared(name, arguments.seeds, arguments.rows) for name in arguments.tables}
    print(json.dumps({"tables": report, **about(arguments.seeds)}, indent=1))


def compared(name: str, n_seeds: int, folder: Path | None) -> dict[str, Any]:
    """Returns the results of each candidate on a table's tasks."""
    table = Table.load(name)
    problems = [from_table(table, task, OBJECTIVES[name]) for task in table.tasks if task not in RESERVED]
    return summary([row for each in problems for row in run(each, range(n_seeds), candidates(), folder)])


def candidates() -> dict[str, Any]:
    """Returns the arms: every order inside a front with every eta."""
    arms = {"random": SETTINGS["arms"]["random"]}
    for eta in ETAS:
        for within in WITHIN:
            name = f"eta {eta}, {within}".replace("/", ":")
            arms[name] = {"scheduler": {"name": "asha", "first_rung": 1, "eta": eta, "within": within}}
    return arms


if __name__ == "__main__":
    main()
