"""Tests of checkpoints: a function of the user gets one trial after another, each in a fresh process.

Each result is in the log before the next test begins, so a session that was killed continues with what is missing. A
test that fails is logged with its error, and the others continue.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import Checkpoint, Outcome, TrialRecord
from lightning_hwtune.engine.check_segment import train_segment
from lightning_hwtune.engine.fork_server import PRELOAD, fork_server
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.engine.payload import ImportedFunction, check_function, write_payload
from lightning_hwtune.engine.segment_orders import segment_order
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import ArgumentError, CheckpointError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.text import storable
from lightning_hwtune.training.checkpoint_test import CheckpointTest

__all__ = ["function_name", "run_tests", "test_executor", "untested"]


Done = Callable[[int, Mapping[str, float], str], object]
"""A function that gets a trial's number, the results of its test, and the error that it ended with."""


def untested(state: StudyFacts, trials: Sequence[int], *, again: bool) -> list[int]:
    """Returns those of these trials that have no result yet, or all of them with `again`, each once.

    Raises:
        ArgumentError: there is no such trial, or it has no checkpoint.
    """
    for trial_id in trials:
        n, allowed = len(state.trials), "trials with a checkpoint, such as those of `study.front()`"
        if not 0 <= trial_id < n:
            raise ArgumentError("trials", trial_id, allowed, hint=f"The numbers are 0 to {n - 1}.")
        if state.trials[trial_id].measured_checkpoint is None:
            raise ArgumentError("trials", trial_id, allowed, hint=f"Trial {trial_id} has no checkpoint.")
    if not trials:
        hint = "The front is empty: no fully trained trial has finite values and violates no constraint."
        raise ArgumentError("trials", list(trials), "at least one trial", hint=hint)
    found = {trial_id: state.trials[trial_id] for trial_id in trials}
    return [trial_id for trial_id, trial in found.items() if again or not trial.tested or trial.test_error]


@contextlib.contextmanager
def test_executor(function: Callable[[Any], Any], files: StudyFiles, preload: Sequence[str]) -> Iterator[LocalExecutor]:
    """Yields an executor whose segments call a test function.

    Raises:
        ArgumentError: it is not a function of one argument, or cannot be sent to a process.
    """
    check_function(function, "function")
    folder = files.scratch("test")
    with fork_server().run((PRELOAD, *preload)):
        try:
            payload = write_payload(CheckpointTest(function), folder, "function")
            with contextlib.closing(LocalExecutor(payload.path, preload=preload)) as executor:
                yield executor
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def function_name(function: Callable[[Any], Any]) -> str:
    """Returns a test function as `module:name`; the name of its class if it has no name."""
    if isinstance(function, ImportedFunction):
        return function.path
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def run_tests(session: Session, executor: LocalExecutor, trials: Sequence[int], function: str, done: Done) -> None:
    """Tests the checkpoints of these trials, and logs each result; `done` is called after each test.

    Args:
        function: the name of the test function, for the log.
    """
    for trial_id in trials:
        trial = session.controller.state.trials[trial_id]
        checkpoint = trial.measured_checkpoint
        digest = checkpoint.digest if checkpoint is not None else ""
        try:
            values, error = _result(session, executor, trial, checkpoint)
        except CheckpointError as lost:
            values, error = {}, f"{type(lost).__name__}: {lost}"
        session.controller.tested(trial_id, values, session.clock.now(), error=error, digest=digest, function=function)
        done(trial_id, values, error)


def _result(
    session: Session, executor: LocalExecutor, trial: TrialRecord, checkpoint: Checkpoint | None
) -> tuple[dict[str, Any], str]:
    """Returns the values of a test, and the error that it ended with."""
    files, state = session.files, session.controller.state
    if checkpoint is None:
        raise CheckpointError("the checkpoint was removed")
    path = files.verify(checkpoint)
    order = segment_order(
        state.spec,
        trial_id=trial.trial_id,
        segment=0,
        config=trial.config,
        seed=trial.seed,
        slots=(0,),
        per_device=1,
        folder=files.make_trial_dir(trial.trial_id),
        resource=0,
        checkpoint=str(path),
        study_id=state.study_id,
        is_test=True,
    )
    found = train_segment(executor, order, lambda report: False, session.tick, None)
    ended = found.end
    assert ended is not None
    if ended.outcome != Outcome.DONE:
        return {}, storable(ended.error) or f"its process ended: {ended.outcome}"
    return dict(found.values), ""
