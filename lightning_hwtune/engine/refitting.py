"""Refits: what their segments get that those of the search and of replicates do not."""

from __future__ import annotations

import dataclasses

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.engine.folder import Folder
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["refit_order", "verify_weights"]


def refit_order(order: SegmentOrder, facts: StudyFacts, trial: TrialRecord, files: Folder) -> SegmentOrder:
    """Returns the order for a segment of a refit, which needs no objective, is not judged, and may begin with weights.

    A refit that resumes has its weights from its own checkpoint.
    """
    weights = None
    if trial.refit == "checkpoint" and order.checkpoint is None and trial.replicate_of is not None:
        saved = facts.trials[trial.replicate_of].measured_checkpoint
        weights = str(files.path(saved.path)) if saved is not None else None
    return dataclasses.replace(order, metrics=(), across_ranks={}, levels=(trial.target,), weights=weights)


def verify_weights(facts: StudyFacts, files: StudyFiles, trial_id: int) -> None:
    """Checks that a trial has the checkpoint that a refit would begin with.

    Raises:
        ArgumentError: it has none. CheckpointError: the file does not match the log.
    """
    saved = facts.trials[trial_id].measured_checkpoint if 0 <= trial_id < len(facts.trials) else None
    if saved is None:
        hint = f"Trial {trial_id} has none. Without `from_checkpoint`, the refit trains from scratch."
        raise ArgumentError("trial", trial_id, "a trial with a checkpoint", hint=hint)
    files.verify(saved)
