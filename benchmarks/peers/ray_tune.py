"""Ray Tune: a function trainable, its asynchronous successive halving (stopping), warm actors (`reuse_actors`).

Its dashboard, usage reports and progress output are off, and it saves no checkpoints.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.peers.workload import METRIC, Workload, contend

__all__ = ["run"]


def run(workload: Workload) -> None:
    """Trains all configurations."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler

    ray.init(
        num_cpus=workload.n_workers, include_dashboard=False, log_to_driver=False, _temp_dir=f"{workload.folder}/ray"
    )
    scheduler = AsyncHyperBandScheduler(
        time_attr="epoch",
        metric=METRIC,
        mode="min",
        max_t=workload.max_epochs,
        grace_period=1,
        reduction_factor=workload.eta,
    )
    tuner = tune.Tuner(
        tune.with_resources(_train, {"cpu": 1}),
        param_space={"index": tune.grid_search(list(range(workload.n_trials)))},
        tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=workload.n_workers, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=f"{workload.folder}/results", verbose=0),
    )
    results = tuner.fit()
    ray.shutdown()
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed; the first: {results.errors[0]}")


def _train(config: dict[str, Any]) -> None:
    from ray import tune

    from benchmarks.peers.training import fit

    def is_over(epoch: int, error: float) -> bool:
        tune.report({"epoch": epoch, METRIC: error})  # does not return if the trial must end
        return False

    fit(config["index"], is_over)


if __name__ == "__main__":
    contend(run)
