"""A study as runs of Weights & Biases: a parent run with one child run per trial, all in one group.

The ids of the runs follow from the study's id, so a later export of the same study updates them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.errors import MissingDependencyError, StorageError, first_line
from lightning_hwtune.views.front_points import front_points
from lightning_hwtune.views.kept_values import kept_cells

__all__ = ["write_wandb"]

_FAILED = (TrialState.FAILED, TrialState.OUT_OF_MEMORY)
_SILENT: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
}


def write_wandb(state: StudyFacts, project: str, group: str | None = None, folder: Path | None = None) -> str:
    """Writes a study; returns the id of the parent run. With `WANDB_MODE=offline` it writes files only.

    Args:
        project: the project, or "ENTITY/PROJECT".
        group: the name of the parent run and of the group; that of the study by default.
        folder: where W&B puts its folder `wandb`; the working directory by default.

    Raises:
        StorageError: W&B cannot write there, or no one is logged in.
        MissingDependencyError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise MissingDependencyError("an export to W&B needs wandb: pip install wandb") from error
    entity, _, name = project.rpartition("/")
    title = group or state.spec.name
    common: dict[str, Any] = {"project": name, "entity": entity or None, "group": title, "resume": "allow"}
    common |= {"dir": str(folder) if folder is not None else None, "reinit": "create_new"}
    common["settings"] = wandb.Settings(**_SILENT)
    try:
        return _written(state, wandb, title, common)
    except (wandb.errors.Error, OSError) as error:
        hint = "Log in with `wandb login`, or set WANDB_MODE=offline."
        raise StorageError(f"W&B cannot write to {project!r}: {first_line(str(error))}. {hint}") from error


def _written(state: StudyFacts, wandb: Any, title: str, common: dict[str, Any]) -> str:
    front = {point.trial.trial_id for point in front_points(state)}
    parent_id = _run_id(state, "study")
    parent = wandb.init(id=parent_id, name=title, job_type="study", config=_of_study(state), **common)
    parent.summary.update({"trials": len(state.searched), "fully_trained": state.n_full, "front": sorted(front)})
    for trial in state.searched:
        if trial.trial_id in front and trial.last is not None:
            for name, value in trial.last.values.items():
                parent.summary[f"front/{trial.trial_id}/{name}"] = value
    parent.finish()
    for trial in state.searched:
        config = {
            **trial.config,
            "hwtune": {"trial": trial.trial_id, "parent": parent_id, "devices": trial.num_devices},
        }
        run = wandb.init(
            id=_run_id(state, str(trial.trial_id)), name=f"trial_{trial.trial_id:03d}", job_type="trial", config=config,
            **common,
        )  # fmt: skip
        _child(run, trial, is_on_front=trial.trial_id in front)
        run.finish(exit_code=int(trial.state in _FAILED))
    return parent_id


def _child(run: Any, trial: TrialRecord, *, is_on_front: bool) -> None:
    for measured in trial.measurements:
        run.log(
            {name: value for name, value in measured.values.items() if math.isfinite(value)}, step=measured.resource
        )
    run.summary.update({"state": trial.state.value, "on_front": is_on_front, **kept_cells(trial)})


def _of_study(state: StudyFacts) -> dict[str, Any]:
    spec = state.spec
    scheduler = spec.to_dict()["scheduler"]
    return {"objectives": list(spec.objectives.names), "parameters": list(spec.space), "scheduler": scheduler}


def _run_id(state: StudyFacts, part: str) -> str:
    """Returns an id of the characters that W&B allows."""
    return re.sub(r"[^\w-]", "-", f"{state.spec.name}-{state.study_id[:12]}-{part}")
