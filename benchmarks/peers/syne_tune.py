"""Syne Tune: its Python backend (a fresh interpreter per trial) and its ASHA, which has only the stopping type.

The tuner looks for results every 0.1 s instead of every few seconds, which favours it. No checkpoints.
"""

from __future__ import annotations

import os

from benchmarks.peers.workload import METRIC, Workload, contend

__all__ = ["run"]

_POLL_S = 0.1


def run(workload: Workload) -> None:
    """Trains all configurations."""
    os.environ["SYNETUNE_FOLDER"] = f"{workload.folder}/results"
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import PythonBackend
    from syne_tune.config_space import randint
    from syne_tune.optimizer.baselines import ASHA

    space = {"index": randint(0, workload.n_trials - 1)}
    scheduler = ASHA(
        space,
        metric=METRIC,
        time_attr="epoch",
        max_t=workload.max_epochs,
        grace_period=1,
        reduction_factor=workload.eta,
        random_seed=workload.seed,
        points_to_evaluate=[{"index": index} for index in range(workload.n_trials)],
    )
    tuner = Tuner(
        trial_backend=PythonBackend(tune_function=_train, config_space=space, rotate_gpus=False),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=workload.n_trials - 1),
        n_workers=workload.n_workers,
        sleep_time=_POLL_S,
        wait_trial_completion_when_stopping=True,
        tuner_name="overhead",
    )
    tuner.run()


def _train(index):  # type: ignore[no-untyped-def]
    from syne_tune import Reporter

    from benchmarks.peers.training import fit

    report = Reporter()

    def is_over(epoch, error):  # type: ignore[no-untyped-def]
        report(epoch=epoch, val_error=error)
        return False

    fit(index, is_over)


if __name__ == "__main__":
    contend(run)
