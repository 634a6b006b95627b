"""Names that other tools use, and what they are called here: every door answers a wrong habit in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest

__all__ = ["FILE_HABITS", "HABITS", "refuse_unknown", "refuse_unknown_keys"]

HABITS: Mapping[str, str] = {
    "n_trials": "here it is `max_trials` of study.run(...), the study's total over all its runs, not additional ones",
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


_FILE_POOL = "concurrency follows from the pool: `pool: {devices: 4}`; `max_parallel` caps it"
_FILE_OBJECTIVES = "objectives carry their direction: `objectives: [{metric: val_loss, mode: min}, train_s]`"
_FILE_SCHEDULER = "it belongs to the scheduler: `scheduler: {name: asha, max_epochs: 27}`"

FILE_HABITS: Mapping[str, str] = {
    **HABITS,
    **dict.fromkeys(("n_jobs", "workers", "n_workers", "max_concurrent_trials"), _FILE_POOL),
    **dict.fromkeys(("direction", "directions", "metric", "metrics", "mode", "monitor"), _FILE_OBJECTIVES),
    **dict.fromkeys(("max_epochs", "max_steps", "max_samples", "eta", "first_rung", "brackets"), _FILE_SCHEDULER),
    **dict.fromkeys(
        ("gpus", "devices", "accelerator"), "here it belongs to the pool: `pool: {accelerator: gpu, devices: 4}`"
    ),
    **dict.fromkeys(("study_name", "name"), "here it is called `study`"),
    "n_trials": HABITS["num_samples"],
    "max_t": "here it is called `max_epochs` (or `max_steps`, `max_samples`), among the scheduler's options",
    "points_to_evaluate": "here it is called `enqueue`: a list of configurations",
    "resources_per_trial": "devices a trial are a parameter: `{type: num_devices, counts: [1, 2]}`",
    "type": "here it is called `name`",
    "params": "here it is called `space`",
    "search_space": "here it is called `space`",
    "parameters": "here it is called `space`",
    "function": "here it is called `train`: `package.module:function`",
    "target": "here it is called `train`: `package.module:function`",
}
"""The same for the keys of a study file."""


def refuse_unknown(
    where: str, given: Iterable[str], known: Iterable[str] = (), elsewhere: Mapping[str, str] | None = None
) -> None:
    """Does nothing if `given` is empty; otherwise says what the first name is called here.

    Args:
        elsewhere: names that are known in another place -> where.

    Raises:
        RenamedArgumentError: what it is called here; for a name that nobody knows, all known ones and the nearest.
    """
    known = list(known)
    for name in given:
        if name in HABITS and name not in known:
            raise RenamedArgumentError(f"{where}({name}=...)", HABITS[name])
        if elsewhere and name in elsewhere:
            raise RenamedArgumentError(f"{where}({name}=...)", f"give it to {elsewhere[name]}")
        ours = f"those are {', '.join(known)}" if known else "see its documentation"
        raise RenamedArgumentError(f"{where}({name}=...)", f"{ours}{nearest(name, known)}")


def refuse_unknown_keys(where: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """The same for the keys of a study file; `where` goes before the key's name, e.g. "pool.".

    Raises:
        RenamedArgumentError: it is a name of another tool.
        ArgumentError: nobody knows it; the nearest known name is suggested.
    """
    known = list(known)
    for name, value in given.items():
        if name in known:
            continue
        if name in FILE_HABITS:
            raise RenamedArgumentError(f"{where}{name}", FILE_HABITS[name])
        close = nearest(str(name), known).removeprefix("; ")
        hint = close[:1].upper() + close[1:]
        raise ArgumentError(f"{where}{name}", value, f"the keys {', '.join(known) or '(none)'}", hint=hint)
