"""lightning_hwtune with its defaults: a fresh process per segment, promotion with checkpoints, a log, the check."""

from __future__ import annotations

import time
from typing import Any

import lightning_hwtune as hwt
from benchmarks.peers import workload as wl
from benchmarks.peers.workload import METRIC, Workload, contend

__all__ = ["run"]


def run(workload: Workload, *, asha_type: str = "promotion") -> dict[str, Any]:
    """Trains all configurations; returns how the devices spent their time, from the log."""
    began_at = time.time()
    hwt.warm_up()  # as a script does above its imports
    space = hwt.SearchSpace(
        lr=hwt.Float(*wl.LEARNING_RATES, log=True),
        width=hwt.Int(*wl.WIDTHS, log=True),
        depth=hwt.Int(*wl.DEPTHS),
        dropout=hwt.Float(*wl.DROPOUTS),
        batch_size=hwt.Choice(list(wl.BATCH_SIZES)),
    )
    study = hwt.Study(
        "overhead",
        space,
        [hwt.Metric(METRIC, "min")],
        scheduler=hwt.ASHA(max_epochs=workload.max_epochs, first_rung=1, eta=workload.eta, type=asha_type),
        pool=hwt.Pool("cpu", devices=workload.n_workers),
        dir=workload.folder,
        seed=workload.seed,
    )
    study.enqueue(*workload.configs())

    # inside this function, so that it arrives by value, like a function of the script that a user starts; otherwise
    # each segment of `ours_stopping` would import this module and what it needs to run a study
    def train(trial: hwt.Trial) -> None:
        from benchmarks.peers.training import EpochClock, model_and_data

        model, data = model_and_data(trial.config)
        trial.fit(model, data, logger=False, callbacks=[EpochClock(Workload.current())])

    # no finishers, because the peers do not train further trials to the end
    study.run(
        train,
        max_trials=workload.n_trials,
        finishers=0,
        progress=False,
        preload=("benchmarks.peers.training",),
    )
    from benchmarks.device_time import device_times  # here, because it imports most of the package

    return device_times(study.spec, study.events(), began_at).to_dict()


if __name__ == "__main__":
    contend(run)
