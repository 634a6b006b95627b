"""Optuna: two processes that share one study, and its asynchronous `SuccessiveHalvingPruner` (stopping).

They share it in a `JournalStorage`, which Optuna recommends for several processes instead of SQLite. A report and the
question whether to prune take 1.4 ms of processor time with it, and 14 ms with SQLite.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.peers.workload import Workload, contend

if TYPE_CHECKING:
    import optuna

__all__ = ["run"]

_STUDY = "overhead"


def run(workload: Workload) -> None:
    """Trains all configurations."""
    import optuna

    study = optuna.create_study(study_name=_STUDY, storage=_storage(workload), pruner=_pruner(workload))
    for index in range(workload.n_trials):
        study.enqueue_trial({"index": index}, user_attrs={"is_wanted": True})
    command = [sys.executable, "-m", "benchmarks.peers.optuna_pruner", "worker"]
    workers = [subprocess.Popen(command) for _ in range(workload.n_workers)]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        raise RuntimeError(f"workers ended with {statuses}")


def _work() -> None:
    """Trains queued configurations until none is left."""
    import optuna

    from benchmarks.peers.training import fit

    workload = Workload.current()
    study = optuna.load_study(study_name=_STUDY, storage=_storage(workload), pruner=_pruner(workload))

    def objective(trial: optuna.Trial) -> float:
        if "is_wanted" not in trial.user_attrs:  # not from the queue, so the queue is empty
            study.stop()
            raise optuna.TrialPruned
        last = [1.0, False]

        def is_over(epoch: int, error: float) -> bool:
            trial.report(error, epoch)
            last[:] = error, trial.should_prune()
            return bool(last[1])

        fit(trial.suggest_int("index", 0, workload.n_trials - 1), is_over)
        if last[1]:
            raise optuna.TrialPruned
        return last[0]

    study.optimize(objective)


def _storage(workload: Workload) -> optuna.storages.BaseStorage:
    """Returns the shared storage."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(f"{workload.folder}/study.log"))


def _pruner(workload: Workload) -> optuna.pruners.BasePruner:
    import optuna

    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=workload.eta)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        _work()
    else:
        contend(run)
