"""Names that other tools use, and what they are called here: every door answers a wrong habit in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest

__all__ = ["HABITS", "refuse_unknown"]

HABITS: Mapping[str, str] = {
    "n_trials": "here it is called `max_trials`, and it is the study's total over all its runs, not additional ones",
    "num_samples": "here it is called `max_trials`, the study's total over all its runs",
    "timeout": "here it is called `max_time` (e.g. '8h'), the study's total over all its runs",
    "time_budget_s": "here it is called `max_time` (e.g. '8h'), the study's total over all its runs",
    "n_jobs": "concurrency follows from the pool: Pool(devices=...); `max_parallel` caps it",
    "workers": "concurrency follows from the pool: Pool(devices=...); `max_parallel` caps it",
    "n_workers": "concurrency follows from the pool: Pool(devices=...); `max_parallel` caps it",
    "max_concurrent_trials": "concurrency follows from the pool: Pool(devices=...); `max_parallel` caps it",
    "max_t": "here it is called `max_epochs` (or `max_steps`, `max_samples`), on the scheduler: ASHA(max_epochs=27)",
    "max_resource": "here it is called `max_epochs` (or `max_steps`, `max_samples`)",
    "min_resource": "here it is called `first_rung`: the lowest rung, in epochs",
    "grace_period": "here it is called `first_rung`: the lowest rung, in epochs; no trial is judged before it",
    "reduction_factor": "here it is called `eta`: one in eta goes on at each rung",
    "direction": "objectives carry their direction: Metric('val_loss', 'min')",
    "directions": "objectives carry their direction: [Metric('val_loss', 'min'), TrainSeconds()]",
    "metric": "objectives are a list: [Metric('val_loss', 'min'), TrainSeconds()]",
    "mode": "objectives carry their direction: Metric('val_loss', 'min')",
    "monitor": "the names live in the study's objectives: Metric('val_loss', 'min')",
    "time_attr": "the resource is the scheduler's: `max_epochs`, `max_steps` or `max_samples`",
    "study_name": "here it is called `name`",
    "load_if_exists": "a study that exists is always continued; use another name for a new one",
    "sampler": "here it is called `searcher`",
    "pruner": "here it is called `scheduler`",
    "points_to_evaluate": "give them to study.enqueue(config, ...) before study.run(...)",
    "gpus": "here it is called `pool`: Pool('gpu', devices=4)",
    "resources_per_trial": "devices a trial are a parameter: NumDevices(1, 2); the pool has the total",
}


def refuse_unknown(where: str, given: Iterable[str], known: Iterable[str] = ()) -> None:
    """Does nothing if `given` is empty; otherwise says what the first name is called here.

    Raises:
        RenamedArgumentError: it is a name of another tool.
        ArgumentError: nobody knows it; the nearest known name is suggested.
    """
    known = list(known)
    for name in given:
        if name in HABITS and name not in known:
            raise RenamedArgumentError(
                f"{where}({name}=...)" if not where.endswith(":") else f"{where} {name}", HABITS[name]
            )
        raise ArgumentError(where, name, f"one of {', '.join(known) or 'the documented names'}{nearest(name, known)}")
