"""Tune hyperparameters and hardware inside PyTorch Lightning training.

    import lightning_hwtune as hwt

    study = hwt.Study("digits", space, objectives, scheduler=hwt.ASHA(max_epochs=27))
    study.run(train, max_trials=40)
    study.front()

Every public name is listed here and imported on first use. This keeps `import lightning_hwtune` down to milliseconds
and imports neither torch nor Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_hwtune.core.allocation import Allocation
    from lightning_hwtune.core.constraints import Constraint
    from lightning_hwtune.core.decisions import Continue, Pause, Reason, Stop
    from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType
    from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
    from lightning_hwtune.core.hardware.instances import Instance
    from lightning_hwtune.core.hardware.kinds import Nodes
    from lightning_hwtune.core.hardware.moment import ExpectedPace, ExpectedSpeed, Moment
    from lightning_hwtune.core.hardware.policies import DoublingAllocation, FixedAllocation, SearchedAllocation
    from lightning_hwtune.core.hardware.policy import AllocationPolicy
    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingProfile, ScalingShape
    from lightning_hwtune.core.objective_kinds import Cost, DeviceSeconds, Energy, Metric, PeakMemory, TrainSeconds
    from lightning_hwtune.core.parameters.trainer_choices import Accumulation, Precision, Strategy
    from lightning_hwtune.core.schedulers import (
        ASHA,
        PASHA,
        Hyperband,
        MedianStopping,
        Promotion,
        Race,
        RungScheduler,
        RunToEnd,
        Scheduler,
        SuccessiveHalving,
    )
    from lightning_hwtune.core.searchers import TPE, Grid, History, ParetoPrior, Random, Searcher, Sobol
    from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
    from lightning_hwtune.engine.agents.ray_cluster import RayCluster
    from lightning_hwtune.engine.executor import Abilities, Executor
    from lightning_hwtune.engine.warm_up import warm_up
    from lightning_hwtune.errors import (
        ArgumentError,
        CheckpointError,
        HwTuneError,
        MetricError,
        MissingDependencyError,
        OwnedArgumentError,
        RenamedArgumentError,
        RenamedAttributeError,
        StorageError,
        StudyFailedError,
        StudyLockedError,
        StudyMismatchError,
        StudyNotFoundError,
        TrialError,
        UnknownArgumentError,
        UnknownAttributeError,
    )
    from lightning_hwtune.planning.advised_policy import AdvisedAllocation
    from lightning_hwtune.planning.planned_policy import PlannedAllocation
    from lightning_hwtune.planning.seer_policy import SeerAllocation
    from lightning_hwtune.searchers.evolution import Evolution
    from lightning_hwtune.searchers.gaussian_process import GP
    from lightning_hwtune.searchers.optuna_sampler import OptunaSampler
    from lightning_hwtune.settings.catalogue_file import read_catalogue
    from lightning_hwtune.store.profiles import read_profile
    from lightning_hwtune.study import Study
    from lightning_hwtune.study_reading import Result
    from lightning_hwtune.training.rung_callback import RungCallback
    from lightning_hwtune.training.trial import Trial

__all__ = [
    "ASHA",
    "Abilities",
    "Accumulation",
    "AdvisedAllocation",
    "Allocation",
    "AllocationPolicy",
    "ArgumentError",
    "Catalogue",
    "CheckpointError",
    "Choice",
    "Constraint",
    "Continue",
    "Cost",
    "DeadlineAllocation",
    "DeviceSeconds",
    "DoublingAllocation",
    "Energy",
    "Evolution",
    "Executor",
    "ExpectedPace",
    "ExpectedSpeed",
    "FixedAllocation",
    "Float",
    "GP",
    "Grid",
    "History",
    "HwTuneError",
    "Hyperband",
    "Instance",
    "InstanceType",
    "Int",
    "MedianStopping",
    "Metric",
    "MetricError",
    "MissingDependencyError",
    "Moment",
    "Nodes",
    "NumDevices",
    "OptunaSampler",
    "OwnedArgumentError",
    "PASHA",
    "ParetoPrior",
    "Pause",
    "PeakMemory",
    "PlannedAllocation",
    "Pool",
    "Precision",
    "Promotion",
    "Race",
    "Random",
    "RayCluster",
    "Reason",
    "RenamedArgumentError",
    "RenamedAttributeError",
    "Result",
    "RunToEnd",
    "RungCallback",
    "RungScheduler",
    "ScalingModel",
    "ScalingPoint",
    "ScalingProfile",
    "ScalingShape",
    "Scheduler",
    "SearchSpace",
    "SearchedAllocation",
    "Searcher",
    "SeerAllocation",
    "Sobol",
    "Stop",
    "StorageError",
    "Strategy",
    "Study",
    "StudyFailedError",
    "StudyLockedError",
    "StudyMismatchError",
    "StudyNotFoundError",
    "SuccessiveHalving",
    "TPE",
    "TrainSeconds",
    "Trial",
    "TrialError",
    "UnknownArgumentError",
    "UnknownAttributeError",
    "__version__",
    "read_catalogue",
    "read_profile",
    "warm_up",
]

__version__ = "0.1.0"

_NAMES: dict[str, str] = {
    name: module
    for module, names in {
        "core.allocation": ("Allocation",),
        "core.decisions": ("Continue", "Pause", "Reason", "Stop"),
        "core.hardware.catalogue": ("Catalogue", "InstanceType"),
        "core.hardware.instances": ("Instance",),
        "core.hardware.moment": ("ExpectedPace", "ExpectedSpeed", "Moment"),
        "core.hardware.deadline_policy": ("DeadlineAllocation",),
        "core.hardware.policies": ("DoublingAllocation", "FixedAllocation", "SearchedAllocation"),
        "core.hardware.policy": ("AllocationPolicy",),
        "core.hardware.kinds": ("Nodes",),
        "core.hardware.pool": ("Pool",),
        "core.hardware.scaling": ("ScalingModel", "ScalingPoint", "ScalingProfile", "ScalingShape"),
        "core.constraints": ("Constraint",),
        "core.objective_kinds": ("Cost", "DeviceSeconds", "Energy", "Metric", "PeakMemory", "TrainSeconds"),
        "core.schedulers": (
            "ASHA",
            "PASHA",
            "Hyperband",
            "MedianStopping",
            "Promotion",
            "Race",
            "RungScheduler",
            "RunToEnd",
            "Scheduler",
            "SuccessiveHalving",
        ),
        "core.searchers": ("TPE", "Grid", "History", "ParetoPrior", "Random", "Searcher", "Sobol"),
        "core.parameters.trainer_choices": ("Accumulation", "Precision", "Strategy"),
        "core.space": ("Choice", "Float", "Int", "NumDevices", "SearchSpace"),
        "searchers.gaussian_process": ("GP",),
        "engine.agents.ray_cluster": ("RayCluster",),
        "engine.executor": ("Abilities", "Executor"),
        "engine.warm_up": ("warm_up",),
        "errors": tuple(name for name in __all__ if name.endswith("Error")),
        "planning.advised_policy": ("AdvisedAllocation",),
        "planning.planned_policy": ("PlannedAllocation",),
        "planning.seer_policy": ("SeerAllocation",),
        "searchers.evolution": ("Evolution",),
        "searchers.optuna_sampler": ("OptunaSampler",),
        "settings.catalogue_file": ("read_catalogue",),
        "store.profiles": ("read_profile",),
        "study": ("Study",),
        "study_reading": ("Result",),
        "training.rung_callback": ("RungCallback",),
        "training.trial": ("Trial",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """Imports a public name from its module (PEP 562) and stores it here, so that the lookup happens only once."""
    if name not in _NAMES:
        from lightning_hwtune.names import unknown_attribute

        raise unknown_attribute(__name__, name, __all__)
    value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Returns the public names, including those not imported yet."""
    return sorted({*globals(), *__all__})
