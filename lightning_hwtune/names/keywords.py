"""Keywords of other tools, and their names here: data only, read by `unknown`.

Optuna, Ray Tune, Keras Tuner, Ax, W&B sweeps and Syne Tune.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FILE_KEYWORDS", "KEYWORDS"]

_TRIALS = "here it is called `max_trials` of study.run(...): the total of the study over all its runs"
_TIME = "here it is called `max_time` (e.g. '8h'): the total of the study over all its runs"
_PARALLEL = "concurrency follows from the pool: Pool(devices=...); `max_parallel` limits it"
_DIRECTION = "objectives carry their direction: Metric('val_loss', 'min')"
_OBJECTIVES = "objectives are a list: [Metric('val_loss', 'min'), TrainSeconds()]"
_FIRST_RUNG = "here it is called `first_rung`: the lowest rung, in epochs; no trial is judged before it"
_LEVELS = "Float has no `step`: give Int(low, high, step=...), or list the values with Choice"
_LOW, _HIGH = "here it is called `low`", "here it is called `high`; it is included"
_LOG = "here it is called `log`: Float(1e-4, 1e-1, log=True)"
_OPTIONS = "options are one list: Choice(['adam', 'sgd'])"
_KEY_NAME = "names are given by the space: SearchSpace(lr=Float(1e-4, 1e-1, log=True))"
_NO_DEFAULT = "there are no defaults: study.enqueue({...}) tries a configuration first"
_START_UP = "the share of random draws is `random`, and the model begins with `min_points`: TPE(random=0.33)"
_NO_CALLBACKS = "there are no study callbacks: read study.events() or study.trials() after the run"

KEYWORDS: Mapping[str, str] = {
    # limits and concurrency
    **dict.fromkeys(("n_trials", "num_samples", "num_trials", "n_iter"), _TRIALS),
    **dict.fromkeys(("timeout", "time_budget_s", "max_time_s", "time_limit"), _TIME),
    **dict.fromkeys(("n_jobs", "workers", "n_workers", "num_workers", "max_concurrent_trials"), _PARALLEL),
    "executions_per_trial": "each trial trains once: search a seed as one more parameter if you need repetitions",
    "reuse_actors": "trials start from one warm server process by themselves",
    "show_progress_bar": "here it is called `progress`",
    "verbose": "here it is called `progress`: True or False",
    "callbacks": _NO_CALLBACKS,
    "catch": "failed trials are retried (`max_retries`) and counted (`max_failures`) by the study",
    "gc_after_trial": "each segment is a process of its own, so nothing is left to collect",
    "max_failure": "here it is called `max_failures`",
    "max_consecutive_failed_trials": "here it is called `max_failures`",
    "max_retries_per_trial": "here it is called `max_retries`",
    # schedulers
    "max_t": "here it is called `max_epochs` (or `max_steps`, `max_samples`), on the scheduler: ASHA(max_epochs=27)",
    "max_resource": "here it is called `max_epochs` (or `max_steps`, `max_samples`)",
    "min_resource": _FIRST_RUNG,
    "min_epochs": _FIRST_RUNG,
    "grace_period": _FIRST_RUNG,
    "n_warmup_steps": _FIRST_RUNG,
    "reduction_factor": "here it is called `eta`: the best 1/eta of a rung is promoted",
    "factor": "here it is called `eta`: the best 1/eta of a rung is promoted",
    "interval_steps": "here it is called `every`, of MedianStopping",
    "n_min_trials": "here it is called `min_trials`, of MedianStopping",
    "min_samples_required": "here it is called `min_trials`, of MedianStopping",
    "min_early_stopping_rate": _FIRST_RUNG,
    "time_attr": "the resource is the scheduler's: `max_epochs`, `max_steps` or `max_samples`",
    "hyperband_iterations": "here it is called `max_trials` of study.run(...)",
    # objectives
    "direction": _DIRECTION,
    "directions": "objectives carry their direction: [Metric('val_loss', 'min'), TrainSeconds()]",
    "metric": _OBJECTIVES,
    "metrics": _OBJECTIVES,
    "objective": _OBJECTIVES,
    "mode": _DIRECTION,
    "monitor": "the names live in the study's objectives: Metric('val_loss', 'min')",
    "minimize": _DIRECTION,
    "maximize": "objectives carry their direction: Metric('val_acc', 'max')",
    # the study
    "study_name": "here it is called `name`",
    "project_name": "here it is called `name`",
    "experiment_name": "here it is called `name`",
    "directory": "here it is called `dir`",
    "local_dir": "here it is called `dir`",
    "storage_path": "here it is called `dir`",
    "load_if_exists": "a study that exists is always continued; use another name for a new one",
    "resume": "a study that exists is always continued; use another name for a new one",
    "overwrite": "a study that exists is always continued; use another name for a new one",
    "sampler": "here it is called `searcher`",
    "search_alg": "here it is called `searcher`",
    "oracle": "here it is called `searcher`",
    "pruner": "here it is called `scheduler`",
    "param_space": "here it is called `space`",
    "search_space": "here it is called `space`",
    "config": "here it is called `space`",
    "hyperparameters": "here it is called `space`",
    "hypermodel": "here it is the training function: study.run(train, max_trials=20)",
    "trainable": "here it is the training function: study.run(train, max_trials=20)",
    "func": "here it is the training function: study.run(train, max_trials=20)",
    **dict.fromkeys(
        ("total_trials", "count", "run_cap", "max_num_trials_started", "max_num_trials_completed"), _TRIALS
    ),
    **dict.fromkeys(("max_wallclock_time", "max_duration", "timeout_hours"), _TIME),
    **dict.fromkeys(("max_parallelism", "max_concurrency"), _PARALLEL),
    **dict.fromkeys(("objective_name", "objectives_spec", "optimization_config"), _OBJECTIVES),
    **dict.fromkeys(("mode_list", "metric_goal", "goal"), _DIRECTION),
    **dict.fromkeys(("early_terminate", "stop_criterion", "early_stopping_strategy"), "here it is called `scheduler`"),
    **dict.fromkeys(("evaluation_function", "function", "entry_point", "program"), "here it is the training function"),
    "max_resource_attr": "here it is called `max_epochs` (or `max_steps`, `max_samples`)",
    "resource_attr": "the resource is the scheduler's: `max_epochs`, `max_steps` or `max_samples`",
    "points_to_evaluate": "give them to study.enqueue(config, ...) before study.run(...)",
    "resources_per_trial": "devices of a trial are a parameter: NumDevices(1, 2); the pool has the total",
    "gpus": "here it is called `pool`: Pool('gpu', devices=4)",
    "num_gpus": "here it is called `devices`: Pool('gpu', devices=4)",
    "num_cpus": "here it is called `devices`: Pool('cpu', devices=4)",
    "cpus": "here it is called `devices`: Pool('cpu', devices=4)",
    # arguments of `tell`
    "values": "values are not passed to tell: the training logs them, or calls trial.report(1, val_loss=0.5)",
    "value": "values are not passed to tell: the training logs them, or calls trial.report(1, val_loss=0.5)",
    "state": "the state follows from what happened; an error is passed as study.tell(trial, error=...)",
    "skip_if_finished": "a segment is told once",
    # the space
    "step": _LEVELS,
    "q": _LEVELS,
    "sampling": _LOG,
    "log_scale": _LOG,
    "prior": "the scale is `log=True`; for what is learned from earlier studies give Study(prior='auto')",
    **dict.fromkeys(("lower", "min", "min_value", "minval", "a"), _LOW),
    **dict.fromkeys(("upper", "max", "max_value", "maxval", "b"), _HIGH),
    "default": _NO_DEFAULT,
    "default_value": _NO_DEFAULT,
    "choices": _OPTIONS,
    "categories": _OPTIONS,
    "items": _OPTIONS,
    "weights": "each option is equally likely; list the values of a range with Int or Float instead",
    "parent_name": "there are no conditional parameters: each trial has a value of every parameter",
    "parent_values": "there are no conditional parameters: each trial has a value of every parameter",
    # searchers
    "seed": "the seed belongs to the study: Study(..., seed=0)",
    "random_state": "the seed belongs to the study: Study(..., seed=0)",
    "random_state_seed": "the seed belongs to the study: Study(..., seed=0)",
    "n_startup": _START_UP,
    "n_startup_trials": _START_UP,
    "n_startup_jobs": _START_UP,
    "n_initial_points": _START_UP,
    "num_initial_points": _START_UP,
    "n_ei_candidates": "here it is called `candidates`",
    "n_EI_candidates": "here it is called `candidates`",
    "gamma": "here it is called `good`: the share of a rung's trials that counts as good",
    "multivariate": "all parameters are always modelled together",
    "constant_liar": "concurrent draws are always kept apart",
    "scramble": "points are always scrambled, by the study's seed",
}
"""Keyword -> hint as Python code. A name that is an argument of the call is never looked up."""

_FILE_POOL = "concurrency follows from the pool: `pool: {devices: 4}`; `max_parallel` limits it"
_FILE_OBJECTIVES = "objectives carry their direction: `objectives: [{metric: val_loss, mode: min}, train_s]`"
_FILE_SCHEDULER = "it belongs to the scheduler: `scheduler: {name: asha, max_epochs: 27}`"

_FILE_SEED = "the seed belongs to the study: `seed: 0`"
_FILE_FIRST = "there are no defaults: `enqueue: [{lr: 0.001}]` tries a configuration first"
_FILE_STEP = "a float has no step: write `{type: int, low: 8, high: 64, step: 8}`, or `{type: choice, options: [...]}`"

FILE_KEYWORDS: Mapping[str, str] = {
    **KEYWORDS,
    **dict.fromkeys(("seed", "random_state", "random_state_seed"), _FILE_SEED),
    **dict.fromkeys(("default", "default_value"), _FILE_FIRST),
    **dict.fromkeys(("step", "q"), _FILE_STEP),
    **dict.fromkeys(("sampling", "log_scale", "scale"), "here it is called `log`: `log: true`"),
    **dict.fromkeys(("choices", "categories", "items", "values"), "here it is called `options`"),
    **dict.fromkeys(
        ("n_startup", "n_startup_trials", "n_startup_jobs", "n_initial_points", "num_initial_points"),
        "the share of random draws is `random`, and the model begins with `min_points`: `{name: tpe, random: 0.33}`",
    ),
    "prior": "the scale is `log: true`; what is tried next is learned from earlier studies with `prior: auto`",
    "max_t": "here it is called `max_epochs` (or `max_steps`, `max_samples`)",
    **dict.fromkeys(("n_jobs", "workers", "n_workers", "num_workers", "max_concurrent_trials"), _FILE_POOL),
    **dict.fromkeys(
        (
            "direction",
            "directions",
            "metric",
            "metrics",
            "mode",
            "monitor",
            "objective",
            "minimize",
            "maximize",
            "goal",
            "objective_name",
            "objectives_spec",
            "optimization_config",
            "mode_list",
            "metric_goal",
        ),
        _FILE_OBJECTIVES,
    ),
    **dict.fromkeys(("eta", "first_rung", "brackets"), _FILE_SCHEDULER),
    **dict.fromkeys(
        ("gpus", "num_gpus", "num_cpus", "cpus", "devices", "accelerator"),
        "here it belongs to the pool: `pool: {accelerator: gpu, devices: 4}`",
    ),
    **dict.fromkeys(("study_name", "name", "project_name", "experiment_name"), "here it is called `study`"),
    **dict.fromkeys(("n_trials", "num_samples", "num_trials"), "here it is called `max_trials`"),
    **dict.fromkeys(
        ("total_trials", "count", "run_cap", "max_num_trials_started", "max_num_trials_completed"),
        "here it is called `max_trials`",
    ),
    **dict.fromkeys(("max_wallclock_time", "max_duration", "timeout_hours"), "here it is called `max_time`"),
    **dict.fromkeys(("max_parallelism", "max_concurrency"), _FILE_POOL),
    "points_to_evaluate": "here it is called `enqueue`: a list of configurations",
    "resources_per_trial": "devices of a trial are a parameter: `{type: num_devices, counts: [1, 2]}`",
    "type": "here it is called `name`",
    "params": "here it is called `space`",
    "parameters": "here it is called `space`",
    **dict.fromkeys(
        ("function", "target", "func", "trainable", "hypermodel"),
        "here it is called `train`: `package.module:function`",
    ),
}
"""The same for the keys of a study file."""
