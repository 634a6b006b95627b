"""`optimization_results.yaml`: the results of the sweep in the Optuna sweeper's format, and the checkpoints' paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.views.tables import front_entries

__all__ = ["results", "write_results"]


def results(state: StudyFacts, study_dir: Path, sweep_dir: Path) -> dict[str, Any]:
    """Return the best fully trained trial for one objective, or the front for several objectives.

    Checkpoint paths are relative to the sweep's directory; None if the study does not keep the checkpoint.
    """
    found = front_entries(state)
    names = state.spec.objectives.names
    places = [_place(entry, study_dir, sweep_dir) for entry in found]
    if len(names) > 1:
        values = [[float(entry["objectives"][name]) for name in names] for entry in found]
        points = zip(found, values, places, strict=True)
        solutions = [{"params": entry["config"], "values": value, **place} for entry, value, place in points]
        return {"name": "hwtune", "solutions": solutions}
    if not found:
        return {"name": "hwtune", "best_params": {}, "best_value": None}
    best = {"params": found[0]["config"], "value": float(found[0]["objectives"][names[0]]), **places[0]}
    return {"name": "hwtune", **{f"best_{key}": value for key, value in best.items()}}


def write_results(state: StudyFacts, study_dir: Path, sweep_dir: Path) -> Path:
    """Write the file, completely or not at all; return its path.

    Raises:
        StorageError: the file cannot be written.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(results(state, study_dir, sweep_dir)))
    return write_whole(sweep_dir / "optimization_results.yaml", text)


def _place(entry: Mapping[str, Any], study_dir: Path, sweep_dir: Path) -> dict[str, Any]:
    """Return the trial's number, its number of devices, and the path of its checkpoint."""
    saved = entry["checkpoint"]
    checkpoint = None if saved is None else os.path.relpath(study_dir / saved, sweep_dir)
    return {"trial": entry["trial_id"], "devices": entry["devices"], "checkpoint": checkpoint}
