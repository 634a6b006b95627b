"""What searchers have computed about the trials of one study, kept while the study grows.

A history is made whenever something has changed, but almost all of its trials are the same as before. So the memory
outlives the history. It only saves time: everything in it follows from the trials.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.space import SearchSpace

__all__ = ["Memory", "config_key"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Kept = TypeVar("Kept")


def config_key(config: Mapping[str, Any]) -> str:
    """Returns a text that is the same for two configurations if and only if they are equal."""
    return json.dumps(config, sort_keys=True)


@final
class Memory:
    """The key and the cells of each trial's configuration, and its losses at each level that has judged it."""

    def __init__(self) -> None:
        self._trials: dict[int, _Remembered] = {}
        self._cells: Cells | None = None
        self._kept: dict[int, tuple[object, Any]] = {}

    def kept(self, owner: object, make: Callable[[], Kept]) -> Kept:
        """Returns what `make` returned when it was first called for this owner.

        An owner may change what is kept, as long as its answers do not depend on what was asked before.
        """
        if id(owner) not in self._kept:
            self._kept[id(owner)] = owner, make()
        found: Kept = self._kept[id(owner)][1]
        return found

    def keys(self, trials: Sequence[TrialRecord]) -> frozenset[str]:
        """Returns the keys of the trials' configurations."""
        return frozenset([self._of(trial).key for trial in trials])

    def cells(self, space: SearchSpace) -> Cells:
        """Returns the translation between configurations and cells; a study has one space."""
        if self._cells is None or self._cells.space is not space:
            self._cells = Cells(space)
            for known in self._trials.values():
                known.row = None
        return self._cells

    def rows(self, space: SearchSpace, trials: Sequence[TrialRecord]) -> Floats:
        """Returns the cells of the trials, shape `(n_trials, n_parameters)`; a trial keeps its configuration."""
        cells = self.cells(space)
        rows = [known.row or known.encoded(cells) for known in map(self._of, trials)]
        return np.array(rows, dtype=np.float64).reshape(-1, len(space))

    def rungs(self, trials: Sequence[TrialRecord], objectives: Objectives) -> dict[int, tuple[Places, Floats]]:
        """Returns, for each level in ascending order, the trials that it has judged, and their losses.

        Trials are given by their places in `trials`. Losses have the shape `(n, n_objectives)`. A trial that ended by
        itself below the level has its last measurement there.
        """
        places: dict[int, list[int]] = {}
        rows: dict[int, list[Floats]] = {}
        for place, trial in enumerate(trials):
            if trial.is_judged:
                for level, loss in self._of(trial).judged(objectives).items():
                    places.setdefault(level, []).append(place)
                    rows.setdefault(level, []).append(loss)
        shape = (-1, len(objectives))
        return {level: (np.array(places[level]), np.array(rows[level]).reshape(shape)) for level in sorted(places)}

    def _of(self, trial: TrialRecord) -> _Remembered:
        known = self._trials.get(id(trial))
        if known is None:
            known = self._trials[id(trial)] = _Remembered(trial, config_key(trial.config))
        return known


@dataclass(slots=True)
class _Remembered:
    """What was computed about one trial. It refers to the trial, so that the id of the trial stays its own."""

    trial: TrialRecord
    key: str
    row: list[float] | None = None
    measurements: list[Measurement] = field(default_factory=list)  # those of `losses`
    losses: dict[int, Floats] = field(default_factory=dict)

    def encoded(self, cells: Cells) -> list[float]:
        """Returns the cells, and remembers them."""
        self.row = cells.row(self.trial.config)
        return self.row

    def judged(self, objectives: Objectives) -> dict[int, Floats]:
        """Returns the losses at each level; computed again if a repeated segment has replaced a measurement."""
        trial = self.trial
        if len(self.losses) != len(trial.decided) or self.measurements != trial.measurements:
            at = {level: trial.at(level) or trial.measurements[-1] for level in trial.decided}
            self.losses = {level: objectives.loss(measured.values) for level, measured in at.items()}
            self.measurements = list(trial.measurements)
        return self.losses
