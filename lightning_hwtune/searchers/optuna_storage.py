"""A storage of Optuna around a list of trials, for one question to a sampler.

Optuna's storage in memory copies each trial that it is given, which takes a tenth of a second for a thousand. This one
shares them: they are replaced, never changed. The attributes that a sampler writes are its memory, and they are the
only thing that is kept of an answer.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, final

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["EPOCH", "ListStorage", "running_trial"]

EPOCH = datetime(2000, 1, 1)
"""The time of every trial: samplers do not use it, and proposals must not depend on a clock."""


def running_trial(
    place: int,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """Returns a trial without a result; `attrs` is what a sampler knows of it."""
    return FrozenTrial(
        number=place,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=EPOCH,
        datetime_complete=None,
        params=dict(params or {}),
        distributions=dict(distributions or {}),
        user_attrs={},
        system_attrs=dict(attrs or {}),
        intermediate_values={},
        trial_id=place,
    )


@final
class ListStorage(BaseStorage):
    """One study.

    Attributes:
        trials: its trials; the number and the id of a trial are its place. attrs: what samplers know of the study.
    """

    def __init__(self, trials: Sequence[FrozenTrial], attrs: dict[str, Any], n_objectives: int) -> None:
        self.trials, self.attrs = list(trials), dict(attrs)
        self._directions = [StudyDirection.MINIMIZE] * n_objectives

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Adds a running trial, and returns its id."""
        place = len(self.trials)
        self.trials.append(running_trial(place))
        return place

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Adds a parameter to a trial."""
        value = distribution.to_external_repr(param_value_internal)
        trial = self._copied(trial_id)
        trial.params = {**trial.params, param_name: value}
        trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Adds what a sampler knows of a trial."""
        trial = self._copied(trial_id)
        trial.system_attrs = {**trial.system_attrs, key: value}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Adds an attribute to a trial."""
        trial = self._copied(trial_id)
        trial.user_attrs = {**trial.user_attrs, key: value}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Adds what a sampler knows of the study."""
        self.attrs[key] = value

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns what samplers know of the study."""
        return dict(self.attrs)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Returns a trial."""
        return self.trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Returns the trials in these states."""
        found = [trial for trial in self.trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Returns the directions: every objective is minimised."""
        return self._directions

    def get_study_id_from_name(self, study_name: str) -> int:
        """Returns the id of the only study."""
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        """Returns the name of the only study."""
        return "hwtune"

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns an empty mapping."""
        return {}

    def get_all_studies(self) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def delete_study(self, study_id: int) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> NoReturn:
        """Is not needed by samplers."""
        raise NotImplementedError("this storage only answers samplers")

    def _copied(self, trial_id: int) -> FrozenTrial:
        """Puts a copy of a trial in its place, and returns the copy."""
        self.trials[trial_id] = copy.copy(self.trials[trial_id])
        return self.trials[trial_id]
