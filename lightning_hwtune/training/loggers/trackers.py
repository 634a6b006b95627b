"""One run per trial in W&B and MLflow: all segments of a trial share it, without changes to user code.

W&B takes the id of its run from `WANDB_RUN_ID`, which is the same in every segment of a trial. MLflow chooses ids
itself, so the id of the first segment is stored. `mlflow.start_run` takes it from `MLFLOW_RUN_ID`. Lightning's
`MLFlowLogger` does not, and has opened a new run before any callback is called. The content of that new run is copied
to the trial's run, and the new run is deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.training.channel import SegmentOrder
from lightning_hwtune.training.loggers.stored_runs import load_runs, save_runs
from lightning_hwtune.training.untraced import untraced

__all__ = ["continue_mlflow_run", "tracker_runs"]

_RUN_VARIABLES = ("WANDB_RUN_ID", "WANDB_RESUME", "MLFLOW_RUN_ID")


@contextlib.contextmanager
def tracker_runs(order: SegmentOrder, rank: int) -> Iterator[None]:
    """Sets the environment variables of trackers around user code; ends the runs that user code leaves open.

    Rank processes end without the exit handlers with which trackers would end their runs. If the process that started
    the study has a run, the variables that name it are removed during the block, because a trial is not part of that
    run. Only rank 0 has a run.
    """
    before, is_check = _open_runs(), order.probe_batches is not None
    silenced = untraced(Path(order.trial_dir)) if is_check else contextlib.nullcontext()
    with silenced, _variables(_run_variables(order) if rank == 0 else {}):
        is_failed = True
        try:
            yield
            is_failed = False
        except SystemExit as error:
            is_failed = error.code not in (0, None)
            raise
        finally:
            if rank == 0 and is_check:
                _delete_mlflow(before)
            elif rank == 0:
                _remember_mlflow(order, before)
            _end_runs(before, is_failed)


def continue_mlflow_run(logger: Any, seen: dict[str, Any]) -> None:
    """Makes an `MLFlowLogger` continue the run of the trial's earlier segments; stores the run of a first segment.

    Args:
        seen: what is stored of this logger, which is updated; its `run_id` is the run to continue.
    """
    fresh, client = logger.run_id, logger.experiment
    kept = _living_run(client, seen.get("run_id"))
    if kept is None or kept.info.run_id == fresh:
        seen["run_id"] = fresh
        return
    _carry_over(client, fresh, kept)
    client.update_run(kept.info.run_id, status="RUNNING")
    logger._run_id, logger._experiment_id = kept.info.run_id, kept.info.experiment_id


# ---------------------------------------------------------------------- variables


def _run_variables(order: SegmentOrder) -> dict[str, str]:
    """Returns the environment variables for this trial; a check has no run in W&B."""
    if order.probe_batches is not None:
        return {"WANDB_MODE": "disabled", "WANDB_DIR": order.trial_dir}
    stored = load_runs(order.trial_dir)
    if "wandb_run_id" not in stored:
        study = re.sub(r"[^\w.-]", "-", order.study)[:40]
        # studies with the same name may log to the same project, so a part is random (from an unseeded generator)
        stored["wandb_run_id"] = f"{study}-{order.trial_id:03d}-{secrets.token_hex(4)}"
        save_runs(order.trial_dir, stored)
    variables = {"WANDB_RUN_ID": stored["wandb_run_id"], "WANDB_RESUME": "allow"}
    return {**variables, "MLFLOW_RUN_ID": stored["mlflow_run_id"]} if "mlflow_run_id" in stored else variables


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    names = {*_RUN_VARIABLES, *values}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


# ---------------------------------------------------------------------- open runs of this process


def _open_runs() -> tuple[Any, Any, Any]:
    """Returns W&B's open run, MLflow's open run and the id of MLflow's last run; each is None if there is none."""
    wandb, mlflow = sys.modules.get("wandb"), sys.modules.get("mlflow")
    run = last = None
    if mlflow is not None:
        with _errors_printed():
            run = mlflow.active_run()
            last = run or mlflow.last_active_run()
    return getattr(wandb, "run", None), run, last.info.run_id if last else None


def _remember_mlflow(order: SegmentOrder, before: tuple[Any, Any, Any]) -> None:
    """Stores the run that user code started with `mlflow.start_run`, for the next segment."""
    with _errors_printed():
        last_run_id = _open_runs()[2]
        stored = load_runs(order.trial_dir)
        if last_run_id not in (None, before[2]) and "mlflow_run_id" not in stored:
            save_runs(order.trial_dir, {**stored, "mlflow_run_id": last_run_id})


def _delete_mlflow(before: tuple[Any, Any, Any]) -> None:
    """Deletes the run that user code started with `mlflow.start_run` in a check."""
    with _errors_printed():
        last_run_id = _open_runs()[2]
        if last_run_id not in (None, before[2]):
            while sys.modules["mlflow"].active_run() is not None:
                sys.modules["mlflow"].end_run()
            sys.modules["mlflow"].delete_run(last_run_id)


def _end_runs(before: tuple[Any, Any, Any], is_failed: bool) -> None:
    """Ends the runs that were opened since `before`."""
    with _errors_printed():
        wandb_run, mlflow_run, _ = _open_runs()
        if mlflow_run is not None and before[1] is None:
            while sys.modules["mlflow"].active_run() is not None:  # they may be nested
                sys.modules["mlflow"].end_run("FAILED" if is_failed else "FINISHED")
        if wandb_run is not None and wandb_run is not before[0]:
            sys.modules["wandb"].finish(exit_code=int(is_failed))


@contextlib.contextmanager
def _errors_printed() -> Iterator[None]:
    """Prints an error and continues: a tracker that does not respond must not fail a trial that has trained."""
    try:
        yield
    except Exception:
        traceback.print_exc()


# ---------------------------------------------------------------------- Lightning's MLflow logger


def _living_run(client: Any, run_id: str | None) -> Any:
    """Returns the run; None if it was deleted or there is no id."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return None
    return run if run.info.lifecycle_stage == "active" else None


def _carry_over(client: Any, fresh: str, kept: Any) -> None:
    """Copies the values that were logged to a new run to the kept run; deletes the new run if it has no files."""
    from mlflow.entities import Param, RunTag

    run_id, data = kept.info.run_id, client.get_run(fresh).data
    # a run's parameters cannot be changed, so the first values are kept
    params = [Param(key, value) for key, value in data.params.items() if key not in kept.data.params]
    metrics = [metric for key in data.metrics for metric in client.get_metric_history(fresh, key)]
    tags = [RunTag(key, value) for key, value in data.tags.items() if not key.startswith("mlflow.")]
    client.log_batch(run_id, metrics=metrics, params=params, tags=tags)
    if not client.list_artifacts(fresh):
        client.delete_run(fresh)
