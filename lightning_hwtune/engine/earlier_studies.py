"""The finished studies in the folder of a study, and the prior made from them: `prior="auto"`.

A study is used if it is finished, has every objective of the new one in the same direction, and shares parameters with
it by name. Among those, only the studies are kept that have all the shared parameters of the best match. So a study
with little in common does not reduce what the others contribute.

Each study is read as by the commands: the settings first, and the whole log only if they fit. A large study is read
from the facts that are cached in its folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lightning_hwtune.core.events import SessionState
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import ArgumentError, HwTuneError
from lightning_hwtune.store.files import StudyFiles, study_names
from lightning_hwtune.store.stored_names import stored_names

__all__ = ["FinishedStudy", "auto_prior", "finished_studies"]


@final
@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A finished study, read from its log; can be passed to `ParetoPrior.from_studies`."""

    stored: StudyFacts

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.name

    @property
    def spec(self) -> StudySpec:
        """The study's resolved settings."""
        return self.stored.spec

    def state(self) -> StudyFacts:
        """Returns the facts that its log describes."""
        return self.stored


def finished_studies(
    dir: Path,  # noqa: A002 - as in Study
    storage: str | None = None,
    objectives: Objectives | None = None,
) -> Iterator[FinishedStudy]:
    """Yields the finished studies of a folder (or of a database) by name; unreadable ones are left out.

    Args:
        objectives: those that a study must have, each in the same direction; None for any.
    """
    for name in stored_names(storage) if storage is not None else study_names(dir):
        reader = Reader(StudyFiles(dir, name), storage)
        try:
            spec = reader.spec()
            if spec is None or not _has(spec, objectives):
                continue
            facts = reader.state()
        except HwTuneError:
            continue
        if facts is not None and facts.closed is not None and facts.closed.state == SessionState.FINISHED:
            yield FinishedStudy(facts)


def auto_prior(
    name: str,
    space: SearchSpace,
    objectives: Objectives,
    dir: Path,  # noqa: A002 - as in Study
    storage: str | None = None,
) -> ParetoPrior | None:
    """Returns the prior from the other finished studies in the folder of study `name`; None if none can be used."""
    others = [study for study in finished_studies(dir, storage, objectives) if study.name != name]
    others = [study for study in others if _has_points(study, space)]
    shared = {study.name: {key for key in study.spec.space if key in space} for study in others}
    most = max(shared.values(), key=len, default=set())
    kept = [study for study in others if most and most <= shared[study.name]]
    return ParetoPrior.from_studies(*kept, objectives=objectives.names) if kept else None


def _has(spec: StudySpec, objectives: Objectives | None) -> bool:
    modes = {item.name: item.mode for item in spec.objectives}
    return objectives is None or all(modes.get(item.name) == item.mode for item in objectives)


def _has_points(study: FinishedStudy, space: SearchSpace) -> bool:
    """Return whether a configuration of the study is in the space, judged by the parameters that both have."""
    try:
        ParetoPrior.from_studies(study).check(space)
    except ArgumentError:
        return False
    return True
