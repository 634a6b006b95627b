"""What a user asks of a stored study, whether a process runs it or not: checked here, and put into its inbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.requests import EndSession, EnqueueConfig, Request, StopTrial, request_to_dict
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.inbox import Inbox
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy

__all__ = ["end_session", "enqueue", "stop_trial"]


def end_session(chosen: StoredStudy) -> None:
    """Asks the process that runs a study to end its session, as Ctrl-C does.

    Raises:
        ArgumentError: no process runs the study.
        StorageError: this user may not write to the study's database.
    """
    session = chosen.state().session
    if session is None or not chosen.is_driven():
        hint = f"Study {chosen.study.name!r} is not running, so there is nothing to end."
        raise ArgumentError("study", chosen.study.name, "a study that is running", hint=hint)
    _put(chosen, EndSession(session.number))


def stop_trial(chosen: StoredStudy, trial_id: int) -> None:
    """Asks that a trial ends for good. If no process runs the study, it ends when the study continues.

    Raises:
        ArgumentError: there is no such trial, or it has ended.
        StorageError: this user may not write to the study's database.
    """
    trial = chosen.state().require_trial(trial_id)
    if trial.state.is_final:
        hint = f"Trial {trial_id} is {trial.state}."
        raise ArgumentError("trial", trial_id, "a trial that has not ended", hint=hint)
    _put(chosen, StopTrial(trial_id))


def enqueue(chosen: StoredStudy, config: Mapping[str, Any]) -> bool:
    """Asks that a configuration is tried before those of the searcher; returns False if the study has it already.

    If no process runs the study, it is tried when the study continues. A configuration that failed is tried again.

    Raises:
        ArgumentError: the configuration is not in the search space.
        StorageError: this user may not write to the study's database.
    """
    valid = chosen.study.spec.space.validate(config)
    if chosen.state().knows(valid):
        return False
    _put(chosen, EnqueueConfig(valid))
    return True


def _put(chosen: StoredStudy, request: Request) -> None:
    files = StudyFiles(chosen.study.dir.parent, chosen.study.name)
    with EventLog.open(files, storage=chosen.storage, create=True) as log:
        Inbox(log).put(request_to_dict(request))
