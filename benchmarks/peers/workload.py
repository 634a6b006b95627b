"""The workload of every contender: the same configurations, drawn in advance, with the same rungs.

It is passed in an environment variable, which all processes of a contender inherit.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BATCH_SIZES", "DEPTHS", "DROPOUTS", "LEARNING_RATES", "METRIC", "VARIABLE", "WIDTHS", "Workload", "contend"]

VARIABLE = "HWTUNE_BENCHMARK_WORKLOAD"
METRIC = "val_error"
LEARNING_RATES = (1e-4, 1e-1)
WIDTHS = (16, 256)
DEPTHS = (1, 3)
DROPOUTS = (0.0, 0.5)
BATCH_SIZES = (32, 64, 128)


@dataclass(frozen=True, slots=True)
class Workload:
    """One run of one contender.

    Attributes:
        n_trials: configurations to try. seed: of their draw.
        max_epochs: full training; eta: one in eta continues at the rungs 1, eta, eta**2, ...
        n_workers: trainings at a time, each with one thread.
        epoch_s: each epoch is extended to this time by sleeping; 0 = not extended.
        folder: for all files of the contender; it exists and is empty.
    """

    n_trials: int
    seed: int
    max_epochs: int
    eta: int
    n_workers: int
    epoch_s: float
    folder: str

    @classmethod
    def current(cls) -> Workload:
        """Returns the workload of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        """Returns the variable that contains it."""
        return {VARIABLE: json.dumps(dataclasses.asdict(self))}

    @property
    def epochs_path(self) -> Path:
        """The file with one line per trained epoch: its seconds."""
        return Path(self.folder) / "epochs.txt"

    @property
    def result_path(self) -> Path:
        """The result that the contender writes, as JSON."""
        return Path(self.folder) / "result.json"

    def configs(self) -> list[dict[str, Any]]:
        """Returns the configurations; the same for the same number and seed."""
        rng = random.Random(self.seed)
        return [_drawn(rng) for _ in range(self.n_trials)]


def _drawn(rng: random.Random) -> dict[str, Any]:
    return {
        "lr": _log_uniform(rng, *LEARNING_RATES),
        "width": round(_log_uniform(rng, *WIDTHS)),
        "depth": rng.randint(*DEPTHS),
        "dropout": rng.uniform(*DROPOUTS),
        "batch_size": rng.choice(BATCH_SIZES),
    }


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)


def contend(run: Callable[[Workload], dict[str, Any] | None]) -> None:
    """Runs this process's workload and writes how long the call took, with what `run` returns."""
    workload = Workload.current()
    began = time.perf_counter()
    more = run(workload)
    result = {"run_s": time.perf_counter() - began, **(more or {})}
    workload.result_path.write_text(json.dumps(result))
