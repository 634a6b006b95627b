"""Keywords of other tools, and their names here: data only, read by `unknown`.

Optuna, Ray Tune, Keras Tuner, Ax, W&B sweeps and Syne Tune.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FILE_KEYWORDS", "KEYWORDS"]

_TRIALS = "use `max_trials` of study.run(...), the total over all runs of the study"
_TIME = "use `max_time` of study.run(...), e.g. '8h': the total over all runs of the study"
_PARALLEL = "the pool decides how many trials train at the same time: Pool(devices=...); `max_parallel` limits it"
_DIRECTION = "set the direction in the objectives: Metric('val_loss', 'min')"
_CONSTRAINTS = "use `constraints`, a list: [Constraint('params', at_most=1e6)]"
_OBJECTIVES = "use `objectives`, a list: [Metric('val_loss', 'min'), TrainSeconds()]"
_FIRST_RUNG = "use `first_rung`, the lowest rung, e.g. in epochs; no trial pauses or stops before it"
_LEVELS = "Float has no `step`: use Int(low, high, step=...), or list the values with Choice"
_LOW, _HIGH = "use `low`", "use `high`, which is included"
_LOG = "use `log`: Float(1e-4, 1e-1, log=True)"
_OPTIONS = "give the options as one list: Choice(['adam', 'sgd'])"
_FIRST = "use `prior` for the value to try first, and study.enqueue({...}) for a whole configuration"
_START_UP = "use `random`, the share of random draws, and `min_points`, which the model needs: TPE(random=0.33); "
_START_UP += "the number of judged trials that the model of GP needs is `start`: GP(start=10)"

KEYWORDS: Mapping[str, str] = {
    # limits and concurrency
    **dict.fromkeys(("n_trials", "num_samples", "num_trials", "n_iter"), _TRIALS),
    **dict.fromkeys(("timeout", "time_budget_s", "max_time_s", "time_limit"), _TIME),
    **dict.fromkeys(("n_jobs", "workers", "n_workers", "num_workers", "max_concurrent_trials"), _PARALLEL),
    "executions_per_trial": "each trial trains once; study.replicate() repeats the best ones with other seeds",
    "reuse_actors": "not needed: all trials start from one server process that has already imported PyTorch",
    "show_progress_bar": "use `progress`",
    "verbose": "use `progress`: True or False",
    "catch": "not needed: a failed trial is retried (`max_retries`), and `max_failures` failed trials end the study",
    "gc_after_trial": "not needed: each segment runs in its own process, which frees all memory when it ends",
    "max_failure": "use `max_failures`",
    "max_consecutive_failed_trials": "use `max_failures`",
    "max_retries_per_trial": "use `max_retries`",
    # schedulers
    "max_t": "use `max_epochs` (or `max_steps`, `max_samples`) of the scheduler: ASHA(max_epochs=27)",
    "max_resource": "use `max_epochs` (or `max_steps`, `max_samples`)",
    "min_resource": _FIRST_RUNG,
    "min_epochs": _FIRST_RUNG,
    "grace_period": _FIRST_RUNG,
    "n_warmup_steps": _FIRST_RUNG,
    "reduction_factor": "use `eta`: the best 1/eta of the trials at a rung are promoted",
    "factor": "use `eta`: the best 1/eta of the trials at a rung are promoted",
    "interval_steps": "use `every` of MedianStopping",
    "n_min_trials": "use `min_trials` of MedianStopping",
    "min_samples_required": "use `min_trials` of MedianStopping",
    "min_early_stopping_rate": _FIRST_RUNG,
    "time_attr": "the scheduler sets the resource: `max_epochs`, `max_steps` or `max_samples`",
    "hyperband_iterations": "use `max_trials` of study.run(...)",
    # objectives
    "direction": _DIRECTION,
    "directions": "set the direction in the objectives: [Metric('val_loss', 'min'), TrainSeconds()]",
    "metric": _OBJECTIVES,
    "metrics": _OBJECTIVES,
    **dict.fromkeys(("constraints_func", "outcome_constraints", "constraint"), _CONSTRAINTS),
    "objective": _OBJECTIVES,
    "mode": _DIRECTION,
    "monitor": "the study's objectives name the metrics: Metric('val_loss', 'min')",
    "minimize": _DIRECTION,
    "maximize": "set the direction in the objectives: Metric('val_acc', 'max')",
    # the study
    "study_name": "use `name`",
    "project_name": "use `name`",
    "experiment_name": "use `name`",
    "directory": "use `dir`",
    "local_dir": "use `dir`",
    "storage_path": "use `dir`",
    "load_if_exists": "a study that exists is always continued; to start a new study, use another name",
    "resume": "a study that exists is always continued; to start a new study, use another name",
    "overwrite": "a study that exists is always continued; to start a new study, use another name",
    "sampler": "use `searcher`",
    "search_alg": "use `searcher`",
    "oracle": "use `searcher`",
    "pruner": "use `scheduler`",
    "param_space": "use `space`",
    "search_space": "use `space`",
    "config": "use `space`",
    "hyperparameters": "use `space`",
    "hypermodel": "pass the training function to study.run: study.run(train, max_trials=20)",
    "trainable": "pass the training function to study.run: study.run(train, max_trials=20)",
    "func": "pass the training function to study.run: study.run(train, max_trials=20)",
    **dict.fromkeys(
        ("total_trials", "count", "run_cap", "max_num_trials_started", "max_num_trials_completed"), _TRIALS
    ),
    **dict.fromkeys(("max_wallclock_time", "max_duration", "timeout_hours"), _TIME),
    **dict.fromkeys(("max_parallelism", "max_concurrency"), _PARALLEL),
    **dict.fromkeys(("objective_name", "objectives_spec", "optimization_config"), _OBJECTIVES),
    **dict.fromkeys(("mode_list", "metric_goal", "goal"), _DIRECTION),
    **dict.fromkeys(("early_terminate", "stop_criterion", "early_stopping_strategy"), "use `scheduler`"),
    **dict.fromkeys(
        ("evaluation_function", "function", "entry_point", "program"),
        "pass the training function to study.run: study.run(train, max_trials=20)",
    ),
    "max_resource_attr": "use `max_epochs` (or `max_steps`, `max_samples`)",
    "resource_attr": "the scheduler sets the resource: `max_epochs`, `max_steps` or `max_samples`",
    "points_to_evaluate": "call study.enqueue(config, ...) before study.run(...)",
    "resources_per_trial": "the devices per trial are a parameter: NumDevices(1, 2); the pool has the total",
    "gpus": "use `pool`: Pool('gpu', devices=4)",
    "num_gpus": "use `devices` of the pool: Pool('gpu', devices=4)",
    "num_cpus": "use `devices` of the pool: Pool('cpu', devices=4)",
    "cpus": "use `devices` of the pool: Pool('cpu', devices=4)",
    # arguments of `tell`
    "values": "do not pass values to tell: log them in the training, or call trial.report(1, val_loss=0.5)",
    "value": "do not pass values to tell: log them in the training, or call trial.report(1, val_loss=0.5)",
    "state": "the study sets the state itself; report a failure with study.tell(trial, error=...)",
    "skip_if_finished": "call study.tell(trial) once per segment",
    # the space
    "step": _LEVELS,
    "q": _LEVELS,
    "sampling": _LOG,
    **dict.fromkeys(("log_scale", "logarithmic", "log_uniform", "loguniform", "use_log"), _LOG),
    "prior": "for a logarithmic scale use `log=True`; to learn from earlier studies use Study(prior='auto')",
    **dict.fromkeys(("lower", "min", "min_value", "minval", "a"), _LOW),
    **dict.fromkeys(("upper", "max", "max_value", "maxval", "b"), _HIGH),
    "default": _FIRST,
    "default_value": _FIRST,
    "choices": _OPTIONS,
    "categories": _OPTIONS,
    "items": _OPTIONS,
    "weights": "use `prior` for the option to try first; for a range of numbers use Int or Float",
    "parent_name": 'use `when`: Float(0.5, 0.99, when={"optimizer": "sgd"})',
    "parent_values": 'use `when`: Float(0.5, 0.99, when={"optimizer": "sgd"})',
    # searchers
    "seed": "the study has the seed: Study(..., seed=0)",
    "random_state": "the study has the seed: Study(..., seed=0)",
    "random_state_seed": "the study has the seed: Study(..., seed=0)",
    "n_startup": _START_UP,
    "n_startup_trials": _START_UP,
    "n_startup_jobs": _START_UP,
    "n_initial_points": _START_UP,
    "num_initial_points": _START_UP,
    "n_ei_candidates": "use `candidates`",
    "n_EI_candidates": "use `candidates`",
    "gamma": "use `good`: the share of a rung's trials that counts as good",
    "multivariate": "all parameters are always modelled together",
    "constant_liar": "always on: draws avoid the configurations that are still in training",
    "scramble": "always on: the points are scrambled with the study's seed",
}
"""Keyword -> hint as Python code. A name that is an argument of the call is never looked up."""

_FILE_POOL = "the pool decides how many trials train at the same time: `pool: {devices: 4}`; `max_parallel` limits it"
_FILE_OBJECTIVES = "set the direction with `objectives: [{metric: val_loss, mode: min}, train_s]`"
_FILE_LIST = "use `objectives`, a list: `objectives: [{metric: val_loss, mode: min}, train_s]`"
_FILE_SCHEDULER = "set it under the scheduler: `scheduler: {name: asha, max_epochs: 27}`"

_FILE_SEED = "the study has the seed: `seed: 0`"
_FILE_FIRST = "use `prior` for the value to try first, and `enqueue: [{lr: 0.001}]` for a whole configuration"
_FILE_STEP = "a float has no step: use `{type: int, low: 8, high: 64, step: 8}` or `{type: choice, options: [...]}`"

FILE_KEYWORDS: Mapping[str, str] = {
    **KEYWORDS,
    **dict.fromkeys(("seed", "random_state", "random_state_seed"), _FILE_SEED),
    **dict.fromkeys(("default", "default_value"), _FILE_FIRST),
    **dict.fromkeys(("step", "q"), _FILE_STEP),
    **dict.fromkeys(
        ("sampling", "log_scale", "logarithmic", "log_uniform", "loguniform", "use_log", "scale"), "use `log: true`"
    ),
    **dict.fromkeys(("choices", "categories", "items", "values"), "use `options`"),
    **dict.fromkeys(
        ("n_startup", "n_startup_trials", "n_startup_jobs", "n_initial_points", "num_initial_points"),
        "use `random`, the share of random draws, and `min_points`, which the model needs: `{name: tpe, random: 0.33}`",
    ),
    "prior": "for a logarithmic scale use `log: true`; to learn from earlier studies use `prior: auto`",
    "max_t": "use `max_epochs` (or `max_steps`, `max_samples`)",
    **dict.fromkeys(("n_jobs", "workers", "n_workers", "num_workers", "max_concurrent_trials"), _FILE_POOL),
    **dict.fromkeys(
        (
            "direction",
            "directions",
            "mode",
            "minimize",
            "maximize",
            "goal",
            "mode_list",
            "metric_goal",
        ),
        _FILE_OBJECTIVES,
    ),
    **dict.fromkeys(
        ("metric", "metrics", "monitor", "objective", "objective_name", "objectives_spec", "optimization_config"),
        _FILE_LIST,
    ),
    **dict.fromkeys(("eta", "first_rung", "brackets"), _FILE_SCHEDULER),
    **dict.fromkeys(
        ("gpus", "num_gpus", "num_cpus", "cpus", "devices", "accelerator"),
        "set it under the pool: `pool: {accelerator: gpu, devices: 4}`",
    ),
    **dict.fromkeys(("study_name", "name", "project_name", "experiment_name"), "use `study`"),
    **dict.fromkeys(("n_trials", "num_samples", "num_trials"), "use `max_trials`"),
    **dict.fromkeys(
        ("total_trials", "count", "run_cap", "max_num_trials_started", "max_num_trials_completed"),
        "use `max_trials`",
    ),
    **dict.fromkeys(("max_wallclock_time", "max_duration", "timeout_hours"), "use `max_time`"),
    **dict.fromkeys(("max_parallelism", "max_concurrency"), _FILE_POOL),
    "points_to_evaluate": "use `enqueue`, a list of configurations",
    "resources_per_trial": "the devices per trial are a parameter: `{type: num_devices, counts: [1, 2]}`",
    "type": "use `name`",
    "params": "use `space`",
    "parameters": "use `space`",
    **dict.fromkeys(
        ("function", "target", "func", "trainable", "hypermodel"),
        "use `train`: `package.module:function`",
    ),
}
"""The same for the keys of a study file."""
