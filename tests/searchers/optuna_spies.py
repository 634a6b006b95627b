"""Samplers of Optuna that write down what they see."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.samplers import BaseSampler

__all__ = ["FirstValue", "OneObjective", "Witness"]


class FirstValue(BaseSampler):
    """Suggests the lowest value of everything; an option is stored, but has no effect."""

    def __init__(self, seed: int | None = None, label: str = "") -> None:
        self.label = label

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if isinstance(param_distribution, optuna.distributions.CategoricalDistribution):
            return param_distribution.choices[0]
        return param_distribution.low


class OneObjective(FirstValue):
    """Refuses several objectives, as Optuna's own samplers do."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        self._raise_error_if_multi_objective(study)
        return super().sample_independent(study, trial, param_name, param_distribution)


class Witness(BaseSampler):
    """Samples at random, and writes into a trial how many results it could see.

    Attributes:
        asked: what the study had at each question: a list of the trials.
    """

    asked: list[list[Any]] = []

    def __init__(self, seed: int | None = None) -> None:
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def before_trial(self, study: Any, trial: Any) -> None:
        trials = study.get_trials(deepcopy=False)[:-1]
        Witness.asked.append(trials)
        n_complete = sum(item.state.name == "COMPLETE" for item in trials)
        study._storage.set_trial_system_attr(trial._trial_id, "n_complete", n_complete)
        n_before = study._storage.get_study_system_attrs(study._study_id).get("n_asked", 0)
        study._storage.set_study_system_attr(study._study_id, "n_asked", n_before + 1)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)
