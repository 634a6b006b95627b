"""The finished studies beside a study, and the prior that they make: `prior="auto"`.

A study is learned from if it is finished, has every objective of the new one in the same direction, and shares
parameters with it, by name. Of those the ones count that have all the parameters which the best match has, so that no
study with little in common takes from what the others tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lightning_hwtune.core.events import SessionState
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.fold import replay
from lightning_hwtune.errors import ArgumentError, HwTuneError
from lightning_hwtune.store.files import StudyFiles, study_names
from lightning_hwtune.store.log import EventLog, stored_names

__all__ = ["FinishedStudy", "auto_prior", "finished_studies"]


@final
@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A finished study as its log tells it; can be given to `ParetoPrior.from_studies`."""

    replayed: StudyState

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.name

    @property
    def spec(self) -> StudySpec:
        """Its settled settings."""
        return self.replayed.spec

    def state(self) -> StudyState:
        """Returns what its log says."""
        return self.replayed


def finished_studies(dir: Path, storage: str | None = None) -> Iterator[FinishedStudy]:  # noqa: A002 - as in Study
    """Yields the finished studies of a folder (or of a database), by name; those that cannot be read are left out."""
    for name in stored_names(storage) if storage is not None else study_names(dir):
        try:
            with EventLog.open(StudyFiles(dir, name), storage=storage, create=False) as log:
                state = replay(log)
        except HwTuneError:
            continue
        if state is not None and state.closed is not None and state.closed.state == SessionState.FINISHED:
            yield FinishedStudy(state)


def auto_prior(
    name: str,
    space: SearchSpace,
    objectives: Objectives,
    dir: Path,  # noqa: A002 - as in Study
    storage: str | None = None,
) -> ParetoPrior | None:
    """Returns what the finished studies beside study `name` tell, None if there is none to learn from."""
    others = [study for study in finished_studies(dir, storage) if study.name != name and _fits(study, objectives)]
    others = [study for study in others if _has_points(study, space)]
    shared = {study.name: {key for key in study.spec.space if key in space} for study in others}
    most = max(shared.values(), key=len, default=set())
    kept = [study for study in others if most and most <= shared[study.name]]
    return ParetoPrior.from_studies(*kept, objectives=objectives.names) if kept else None


def _fits(study: FinishedStudy, objectives: Objectives) -> bool:
    modes = {item.name: item.mode for item in study.spec.objectives}
    has_objectives = all(modes.get(item.name) == item.mode for item in objectives)
    return has_objectives and any(trial.decided and trial.measurements for trial in study.replayed.trials)


def _has_points(study: FinishedStudy, space: SearchSpace) -> bool:
    """Tells whether a configuration of the study lies inside the space, as far as the two share parameters."""
    try:
        ParetoPrior.from_studies(study).check(space)
    except ArgumentError:
        return False
    return True
