"""Attributes and methods of other tools, and their names here: data only.

Optuna, Ray Tune, Keras Tuner, Ax, W&B sweeps and Syne Tune.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ATTRIBUTES"]

_REPORT = "log values in the LightningModule, or call trial.report(1, val_loss=0.5)"
_VERDICT = "trial.report(...) returns what to do: Continue, Pause or Stop; with trial.fit Lightning stops by itself"
_SUGGEST = "values come from the study's space: SearchSpace(lr=Float(1e-4, 1e-1, log=True)), then trial['lr']"
_BEST = "use `best`: study.best.config, study.best.values, study.best.checkpoint"
_FRONT = "use `front()`, the fully trained trials of the Pareto front"
_FRAME = "use `trials()`, a pandas DataFrame with one row per trial"
_RUN = "use `run`: study.run(train, max_trials=20)"
_NO_NOTES = "a study has no user attributes, but each trial has: trial.note('params', 1200)"
_NOTE = "use `note`: trial.note('params', 1200); `study.trials()` has the column note/params"
_ASK = "use `ask`: trial = study.ask(), and study.tell(trial) after its training"
_TELL = "report values during the training: trial.report(1, val_loss=0.5); study.tell(trial) ends the segment"
_CONFIG = "use `config`: trial.config, or trial['lr']"
_STUDY = "use Study('name', space, objectives, max_epochs=27), then study.run(train, max_trials=20)"
_LOAD = "use Study.load('name')"
_CKPT = "the study keeps the checkpoints: use trial.ckpt_path, or trial.save(state) and trial.load()"
_OBJECTIVE = "use `objectives`, a list: [Metric('val_loss', 'min'), TrainSeconds()]"
_SCHEDULER = "the schedulers are ASHA, PASHA, Hyperband, SuccessiveHalving, MedianStopping and RunToEnd"
_SEARCHER = "the searchers are Random, Sobol, Grid, TPE, GP, Evolution, ParetoPrior, and OptunaSampler('CmaEsSampler')"
_PLOT = "use `plot`: study.plot('front'), study.plot('slices'), study.plot('importance') or study.plot('timeline')"
_IMPORTANCE = "use `importance()`, a pandas DataFrame with one row per objective and parameter"
_CONSTRAINTS = "the study has the bounds: Study(..., constraints=[Constraint('params', at_most=1e6)])"
_CALLBACK = "use `RungCallback`; a study attaches it automatically"

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
        **dict.fromkeys(("attach_trial", "add_trial_to_evaluate"), "use `enqueue`: study.enqueue({'lr': 1e-3})"),
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
            ("enqueue_trial", "suggest"),
            "use `enqueue`: study.enqueue({'lr': 1e-3})",
        ),
        **dict.fromkeys(
            ("add_trial", "add_trials", "add_result", "add_results"),
            "use `add` for a result from elsewhere: study.add({'lr': 1e-3}, {'val_loss': 0.5})",
        ),
        **dict.fromkeys(("plot_pareto_front", "plot_optimization_history", "visualize"), _PLOT),
        **dict.fromkeys(("get_param_importances", "param_importances", "feature_importances"), _IMPORTANCE),
        **dict.fromkeys(("set_constraint", "constraints"), _CONSTRAINTS),
        **dict.fromkeys(
            ("direction", "directions", "metric_names", "set_metric_names", "objectives"),
            "use study.spec.objectives",
        ),
        **dict.fromkeys(("sampler", "searcher"), "use study.spec.searcher"),
        **dict.fromkeys(("pruner", "scheduler"), "use study.spec.scheduler"),
        **dict.fromkeys(("space", "search_space", "search_space_summary", "param_space"), "use study.spec.space"),
        **dict.fromkeys(("study_name", "experiment_name", "project_name"), "use `name`"),
        **dict.fromkeys(("user_attrs", "set_user_attr", "system_attrs", "set_system_attr"), _NO_NOTES),
        "stop": "limits end a study: `max_trials`, `max_time`, `max_cost`, `stop_when`; Ctrl-C interrupts it",
        "report": "report values on the trial: trial.report(1, val_loss=0.5)",
        "save": "not needed: every event is stored at once; Study.load('name') reads the study",
        "resume": "call study.run(...) again: it continues the study",
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
                "values",
                "distributions",
                "relative_params",
            ),
            _SUGGEST,
        ),
        **dict.fromkeys(
            ("params", "parameters", "hyperparameters", "hparams", "hp"),
            "use `config`: trial.config, or trial['lr']",
        ),
        **dict.fromkeys(("number", "trial_id", "index", "config_id"), "use `id`"),
        **dict.fromkeys(("trial_params", "parameterization", "arm", "summary"), _CONFIG),
        **dict.fromkeys(("finish", "complete", "mark_completed"), "study.tell(trial) ends the segment"),
        **dict.fromkeys(("should_prune", "should_stop", "is_pruned", "prune"), _VERDICT),
        **dict.fromkeys(
            ("log", "log_metric", "log_metrics", "set_metric", "update", "value", "intermediate_values"), _REPORT
        ),
        **dict.fromkeys(("user_attrs", "set_user_attr", "system_attrs", "set_system_attr"), _NOTE),
        **dict.fromkeys(("get_checkpoint", "checkpoint", "restore"), "use `ckpt_path`, or trial.load()"),
        **dict.fromkeys(("get_trial_dir", "logdir", "path"), "use `dir`"),
        **dict.fromkeys(("resources", "devices", "n_devices"), "use `num_devices`"),
        **dict.fromkeys(("set_constraint", "constraints"), _CONSTRAINTS),
        **dict.fromkeys(("epochs", "max_t", "max_resource"), "use `max_epochs`"),
    },
    "Result": {
        **dict.fromkeys(("params", "hyperparameters", "hparams"), "use `config`"),
        **dict.fromkeys(("value", "metrics", "objectives", "score"), "use `values`: best.values['val_loss']"),
        **dict.fromkeys(("number", "id"), "use `trial_id`"),
        **dict.fromkeys(("ckpt_path", "path", "best_model_path"), "use `checkpoint`"),
        "devices": "use `num_devices`",
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
            (
                "StoppingCriterion",
                "Stopper",
                "MaximumIterationStopper",
                "EarlyStoppingStrategy",
                "MaxTrialsCallback",
                "Terminator",
                "terminator",
            ),
            "limits end a study: study.run(train, max_trials=20, max_time='1h', stop_when='stalled')",
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
            "the parameters are Float, Int, Choice and NumDevices",
        ),
        **dict.fromkeys(("ObjectiveProperties", "OptimizationConfig", "MultiObjective"), _OBJECTIVE),
        **dict.fromkeys(("visualization", "plot_pareto_front", "plot_optimization_history"), _PLOT),
        **dict.fromkeys(("create_trial", "FrozenTrial"), "use `add`: study.add({'lr': 1e-3}, {'val_loss': 0.5})"),
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
        **dict.fromkeys(("GPSampler", "BoTorchSampler", "BoTorch"), "use `GP`: Study(..., searcher=GP())"),
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
            "use `Float`: Float(0.0, 1.0)",
        ),
        **dict.fromkeys(("loguniform", "qloguniform", "LogUniform"), "use Float(1e-4, 1e-1, log=True)"),
        **dict.fromkeys(
            ("randint", "qrandint", "IntUniform", "Integer", "IntDistribution"),
            "use `Int`: Int(1, 8), both ends included",
        ),
        "lograndint": "use Int(1, 1024, log=True), both ends included",
        **dict.fromkeys(
            ("choice", "grid_search", "Categorical", "CategoricalDistribution", "Boolean", "Fixed", "sample_from"),
            "use `Choice`: Choice(['adam', 'sgd'])",
        ),
        **dict.fromkeys(
            ("HyperParameters", "HyperParameter", "hp", "distributions", "Space", "space"),
            "use `SearchSpace`: SearchSpace(lr=Float(1e-4, 1e-1, log=True))",
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
            "the devices per trial are a parameter: NumDevices(1, 2); the pool has the total: Pool(devices=4)",
        ),
        **dict.fromkeys(("with_parameters",), "use functools.partial to pass arguments to the training function"),
    },
}
"""Object -> attribute or method -> the hint to show."""
