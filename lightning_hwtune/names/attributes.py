"""Attributes and methods of other tools, and their names here: data only.

Optuna, Ray Tune, Keras Tuner, Ax, W&B sweeps and Syne Tune.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ATTRIBUTES"]

_REPORT = "log values in the LightningModule, or call trial.report(1, val_loss=0.5)"
_VERDICT = "trial.report(...) returns what to do: Continue, Pause or Stop; with trial.fit Lightning stops by itself"
_SUGGEST = "values come from the study's space: SearchSpace(lr=Float(1e-4, 1e-1, log=True)), then trial['lr']"
_BEST = "here it is called `best`: study.best.config, study.best.values, study.best.checkpoint"
_FRONT = "here it is called `front()`, the fully trained trials of the Pareto front"
_FRAME = "here it is called `trials()`, a pandas DataFrame with one row per trial"
_RUN = "here it is called `run`: study.run(train, max_trials=20)"
_NO_NOTES = "a study has no user attributes: keep your own file in trial.dir"
_ASK = "here it is called `ask`: trial = study.ask(), and study.tell(trial) after its training"
_TELL = "values are reported while training, by trial.report(1, val_loss=0.5); study.tell(trial) ends the segment"
_CONFIG = "here it is called `config`: trial.config, or trial['lr']"
_STUDY = "here it is Study('name', space, objectives, max_epochs=27), then study.run(train, max_trials=20)"
_LOAD = "here it is Study.load('name')"
_CKPT = "checkpoints are the study's: trial.ckpt_path, or trial.save(state) and trial.load()"
_OBJECTIVE = "objectives are a list: [Metric('val_loss', 'min'), TrainSeconds()]"
_SCHEDULER = "schedulers are ASHA, PASHA, Hyperband, SuccessiveHalving, MedianStopping and RunToEnd"
_SEARCHER = "searchers are Random, Sobol, Grid, TPE and ParetoPrior"
_CALLBACK = "here it is called `RungCallback`; inside a study it is attached by itself"

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "Study": {
        **dict.fromkeys(("optimize", "fit", "search", "start", "run_trials", "execute"), _RUN),
        **dict.fromkeys(
            (
                "best_params",
                "best_value",
                "best_values",
                "best_trial",
                "best_config",
                "best_result",
                "best_checkpoint",
                "best_logdir",
                "get_best_config",
                "get_best_trial",
                "get_best_result",
                "get_best_checkpoint",
                "get_best_hyperparameters",
                "get_best_models",
                "best_hyperparameters",
            ),
            _BEST,
        ),
        **dict.fromkeys(
            ("get_best_parameters", "get_best_parameterization", "get_best_arm", "best_run", "best_arm"), _BEST
        ),
        **dict.fromkeys(("get_pareto_optimal_parameters", "get_pareto_frontier"), _FRONT),
        **dict.fromkeys(("get_trials_data_frame", "summarize", "tuning_status", "runs", "arms_by_name"), _FRAME),
        **dict.fromkeys(("sweep", "agent", "run_optimization", "run_trial", "tune"), _RUN),
        **dict.fromkeys(("get_next_trial", "get_next_trials", "get_next_point", "new_trial"), _ASK),
        **dict.fromkeys(("complete_trial", "log_trial_failure", "tell_and_ask", "attach_data"), _TELL),
        **dict.fromkeys(
            ("attach_trial", "add_trial_to_evaluate"), "here it is called `enqueue`: study.enqueue({'lr': 1e-3})"
        ),
        **dict.fromkeys(("best_trials", "get_best_trials", "pareto_front", "get_pareto_front"), _FRONT),
        **dict.fromkeys(
            (
                "trials_dataframe",
                "get_trials",
                "get_dataframe",
                "dataframe",
                "results",
                "results_df",
                "get_results",
                "result_df",
                "results_summary",
                "history",
            ),
            _FRAME,
        ),
        **dict.fromkeys(
            ("enqueue_trial", "add_trial", "add_trials", "suggest"),
            "here it is called `enqueue`: study.enqueue({'lr': 1e-3})",
        ),
        **dict.fromkeys(
            ("direction", "directions", "metric_names", "set_metric_names", "objectives"),
            "they are in the objectives: study.spec.objectives",
        ),
        **dict.fromkeys(("sampler", "searcher"), "it is called `searcher`: study.spec.searcher"),
        **dict.fromkeys(("pruner", "scheduler"), "it is called `scheduler`: study.spec.scheduler"),
        **dict.fromkeys(("space", "search_space", "search_space_summary", "param_space"), "it is study.spec.space"),
        **dict.fromkeys(("study_name", "experiment_name", "project_name"), "here it is called `name`"),
        **dict.fromkeys(("user_attrs", "set_user_attr", "system_attrs", "set_system_attr"), _NO_NOTES),
        "stop": "limits end a study (`max_trials`, `max_time`, `max_cost`), and Ctrl-C interrupts it",
        "report": "report on the trial: trial.report(1, val_loss=0.5)",
        "save": "a study is stored at every event: Study.load('name') reads it",
        "resume": "the same study.run(...) continues a study",
        "delete": "delete the study's folder, study.dir",
    },
    "Trial": {
        **dict.fromkeys(
            (
                "suggest_float",
                "suggest_int",
                "suggest_categorical",
                "suggest_uniform",
                "suggest_loguniform",
                "suggest_discrete_uniform",
                "suggest",
                "Float",
                "Int",
                "Choice",
                "Boolean",
                "Fixed",
                "uniform",
                "loguniform",
                "choice",
                "sample",
                "get",
                "values",
                "distributions",
                "relative_params",
            ),
            _SUGGEST,
        ),
        **dict.fromkeys(
            ("params", "parameters", "hyperparameters", "hparams", "hp"),
            "here it is called `config`: trial.config, or trial['lr']",
        ),
        **dict.fromkeys(("number", "trial_id", "index", "config_id"), "here it is called `id`"),
        **dict.fromkeys(("trial_params", "parameterization", "arm", "summary"), _CONFIG),
        **dict.fromkeys(("finish", "complete", "mark_completed"), "study.tell(trial) ends it"),
        **dict.fromkeys(("should_prune", "should_stop", "is_pruned", "prune"), _VERDICT),
        **dict.fromkeys(
            ("log", "log_metric", "log_metrics", "set_metric", "update", "value", "intermediate_values"), _REPORT
        ),
        **dict.fromkeys(("user_attrs", "set_user_attr", "system_attrs", "set_system_attr"), _NO_NOTES),
        **dict.fromkeys(("get_checkpoint", "checkpoint", "restore"), "here it is called `ckpt_path`, or trial.load()"),
        **dict.fromkeys(("get_trial_dir", "logdir", "path"), "here it is called `dir`"),
        **dict.fromkeys(("resources", "devices", "n_devices"), "here it is called `num_devices`"),
        **dict.fromkeys(("epochs", "max_t", "max_resource"), "here it is called `max_epochs`"),
    },
    "Result": {
        **dict.fromkeys(("params", "hyperparameters", "hparams"), "here it is called `config`"),
        **dict.fromkeys(
            ("value", "metrics", "objectives", "score"), "here it is called `values`: best.values['val_loss']"
        ),
        **dict.fromkeys(("number", "id"), "here it is called `trial_id`"),
        **dict.fromkeys(("ckpt_path", "path", "best_model_path"), "here it is called `checkpoint`"),
        "devices": "here it is called `num_devices`",
    },
    "lightning_hwtune": {
        **dict.fromkeys(
            ("create_study", "create_experiment", "Tuner", "tuner", "Experiment", "Objective", "HyperModel"), _STUDY
        ),
        **dict.fromkeys(
            (
                "load_study",
                "load_if_exists",
                "get_all_study_names",
                "get_all_study_summaries",
                "ExperimentAnalysis",
                "ResultGrid",
            ),
            _LOAD,
        ),
        **dict.fromkeys(("AxClient", "Experiment", "OptimizationLoop", "agent", "Sweep", "Backend"), _STUDY),
        **dict.fromkeys(("Reporter", "log", "init", "session", "get_context"), _REPORT),
        **dict.fromkeys(("checkpoint_dir", "get_checkpoint", "with_checkpointing"), _CKPT),
        **dict.fromkeys(
            ("StoppingCriterion", "Stopper", "MaximumIterationStopper", "EarlyStoppingStrategy"),
            "limits end a study: study.run(train, max_trials=20, max_time='1h')",
        ),
        **dict.fromkeys(
            (
                "RangeParameter",
                "ChoiceParameter",
                "FixedParameter",
                "ParameterType",
                "finrange",
                "logfinrange",
                "ordinal",
            ),
            "parameters are Float, Int, Choice and NumDevices",
        ),
        **dict.fromkeys(("ObjectiveProperties", "OptimizationConfig", "MultiObjective"), _OBJECTIVE),
        "delete_study": "delete the study's folder, study.dir",
        "copy_study": "copy the study's folder, study.dir",
        **dict.fromkeys(("tune", "run", "optimize", "fmin", "minimize", "search", "run_experiments"), _STUDY),
        **dict.fromkeys(("TuneConfig", "RunConfig", "FailureConfig", "CheckpointConfig", "ScalingConfig"), _STUDY),
        **dict.fromkeys(("TrialPruned", "TrialState", "should_prune"), _VERDICT),
        **dict.fromkeys(
            (
                "samplers",
                "TPESampler",
                "RandomSampler",
                "GridSampler",
                "QMCSampler",
                "CmaEsSampler",
                "NSGAIISampler",
                "GPSampler",
                "BayesianOptimization",
                "RandomSearch",
                "GridSearch",
                "OptunaSearch",
                "HyperOptSearch",
                "BasicVariantGenerator",
                "search_alg",
            ),
            _SEARCHER,
        ),
        **dict.fromkeys(
            (
                "pruners",
                "schedulers",
                "ASHAScheduler",
                "AsyncHyperBandScheduler",
                "HyperBandScheduler",
                "MedianStoppingRule",
                "MedianPruner",
                "HyperbandPruner",
                "SuccessiveHalvingPruner",
                "NopPruner",
                "FIFOScheduler",
                "PopulationBasedTraining",
                "PercentilePruner",
            ),
            _SCHEDULER,
        ),
        **dict.fromkeys(
            ("uniform", "quniform", "Uniform", "RealParameter", "FloatDistribution", "uniform_"),
            "here it is called `Float`: Float(0.0, 1.0)",
        ),
        **dict.fromkeys(("loguniform", "qloguniform", "LogUniform"), "here it is Float(1e-4, 1e-1, log=True)"),
        **dict.fromkeys(
            ("randint", "qrandint", "IntUniform", "Integer", "IntDistribution"),
            "here it is called `Int`: Int(1, 8), both included",
        ),
        "lograndint": "here it is Int(1, 1024, log=True), both included",
        **dict.fromkeys(
            ("choice", "grid_search", "Categorical", "CategoricalDistribution", "Boolean", "Fixed", "sample_from"),
            "here it is called `Choice`: Choice(['adam', 'sgd'])",
        ),
        **dict.fromkeys(
            ("HyperParameters", "HyperParameter", "hp", "distributions", "Space", "space"),
            "here it is called `SearchSpace`: SearchSpace(lr=Float(1e-4, 1e-1, log=True))",
        ),
        **dict.fromkeys(
            (
                "PyTorchLightningPruningCallback",
                "TuneReportCallback",
                "TuneReportCheckpointCallback",
                "RayTrainReportCallback",
                "callbacks",
            ),
            _CALLBACK,
        ),
        **dict.fromkeys(
            ("with_resources", "PlacementGroupFactory"),
            "devices of a trial are a parameter: NumDevices(1, 2); the pool has the total: Pool(devices=4)",
        ),
        **dict.fromkeys(("with_parameters",), "give the training function what it needs with functools.partial"),
    },
}
"""Object -> attribute or method -> the hint to show."""
