"""`optimization_results.yaml`: what the sweep found, in the shape that the Optuna sweeper gives it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightning_hwtune.core.state import StudyState
from lightning_hwtune.report.points import front_points

__all__ = ["results", "write_results"]


def results(state: StudyState) -> dict[str, Any]:
    """Returns the best trial of one objective, or the front of several, over fully trained trials."""
    names = state.spec.objectives.names
    found: list[dict[str, Any]] = [
        {"params": dict(point.trial.config), "values": [float(point.measurement.values[name]) for name in names]}
        for point in front_points(state)
    ]
    if len(names) > 1:
        return {"name": "hwtune", "solutions": found}
    best: dict[str, Any] = found[0] if found else {"params": {}, "values": [None]}
    return {"name": "hwtune", "best_params": best["params"], "best_value": best["values"][0]}


def write_results(state: StudyState, sweep_dir: Path) -> Path:
    """Writes the file whole or not at all; returns its path."""
    path = sweep_dir / "optimization_results.yaml"
    part = path.with_suffix(".part")
    OmegaConf.save(OmegaConf.create(results(state)), part)
    os.replace(part, path)
    return path
