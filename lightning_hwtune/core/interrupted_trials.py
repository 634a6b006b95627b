"""Trials that may train further at once, because nothing but an interruption, a retry or a limit has stopped them."""

from __future__ import annotations

from lightning_hwtune.core.decisions import Reason, Resume, Rule
from lightning_hwtune.core.record import TrialRecord, Unit
from lightning_hwtune.text import counted

__all__ = ["resume_of"]


def resume_of(trial: TrialRecord, unit: Unit, *, is_elastic: bool = False) -> Resume:
    """Returns the decision to train an interrupted trial up to its target.

    Args:
        is_elastic: whether the policy changes devices, so that the reason names a change.
    """
    if is_elastic and trial.segment_devices not in (0, trial.num_devices):
        text = f"it continues on {counted(trial.num_devices, 'devices')} instead of {trial.segment_devices}"
        return Resume(trial.trial_id, trial.allocation, trial.target, None, Reason(Rule.DEVICES, text))
    reason = Reason(Rule.UNFINISHED, f"its training to {unit.removesuffix('s')} {trial.target} was interrupted")
    return Resume(trial.trial_id, trial.allocation, trial.target, None, reason)
