"""The training function of the executors' contract: a module, so that other processes can import it by name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

__all__ = ["SEEN", "loss_at", "train"]

SEEN = "seen.json"
"""The file in the trial's folder with what the last segment was given."""


def loss_at(config: Any, epoch: int) -> float:
    """Returns the value that `train` reports, so that a report of another trial or epoch is recognised."""
    return float(config["x"]) + 1.0 / epoch


def train(trial: Any) -> None:
    """Trains by the trial's parameter `does`: "train", "raise" after the first report, or "wait" after it."""
    rank, n_ranks = _joined(trial.num_devices)
    seen = {"config": dict(trial.config), "id": trial.id, "segment": trial.segment, "seed": trial.seed}
    seen |= {"devices": trial.num_devices, "ranks": n_ranks, "folder": str(trial.dir), "checkpoint": trial.ckpt_path}
    if rank == 0:
        Path(trial.dir, SEEN).write_text(json.dumps(seen), encoding="utf-8")
    begun = trial.load() or 0
    for epoch in range(begun + 1, trial.max_epochs + 1):
        verdict = trial.report(epoch, loss=loss_at(trial.config, epoch))
        if trial["does"] == "raise":
            raise ValueError("an error of the training")
        while trial["does"] == "wait":
            time.sleep(0.05)
        if verdict.kind != "continue":
            trial.save(epoch)
            return
    trial.save(trial.max_epochs)


def _joined(num_devices: int) -> tuple[int, int]:
    """Joins the process group of the segment, if it has several devices; returns the rank and the number of ranks."""
    if num_devices == 1:
        return 0, 1
    from torch import distributed

    distributed.init_process_group("gloo")
    return distributed.get_rank(), distributed.get_world_size()
