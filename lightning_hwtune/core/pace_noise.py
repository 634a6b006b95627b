"""How exactly the seconds of trials are known, and what the true ones may be.

The same training takes longer on another day or another machine. The true paces of all trials have one joint
distribution: a Gaussian process over configurations and device counts, with an effect of each trial
(`core.pace_posterior`), given the paces of all segments (`core.segment_paces`). The noise of a segment is independent
of that of other segments. Small errors in the logarithms of its segments' paces change the logarithm of a trial's
seconds by their mean, weighted by the seconds of the segments.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.pace_posterior import PacePosterior
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.gaussian_process import GaussianProcess
from lightning_hwtune.core.segment_paces import SegmentPace, segment_paces, spread_of

__all__ = ["PaceNoise"]

_MOST_FITTED = 300  # the fully trained trials, and the newest others
_LOG_RANGE = 8  # a process over coordinates from 0 to 1 covers up to 256 devices

Array = npt.NDArray[np.float64]


@final
class PaceNoise:
    """The noise of the seconds in a study.

    Attributes:
        spread: the standard deviation of the logarithm of a segment's seconds.
    """

    def __init__(self, state: StudyFacts) -> None:
        self._paces = segment_paces(state)
        self.spread = spread_of(self._paces)
        trials = [trial for trial in state.searched if trial.trial_id in self._paces]
        trials.sort(key=lambda trial: (trial.state is TrialState.COMPLETED, trial.trial_id))
        cells, keys = Cells(state.spec.space), dict[tuple[int, int], None]()
        for trial in trials[-_MOST_FITTED:]:
            keys |= dict.fromkeys((trial.trial_id, work.num_devices) for work in self._paces[trial.trial_id])
        self._places = {key: place for place, key in enumerate(keys)}
        rows = [[*cells.row(state.trials[i].config), math.log2(devices) / _LOG_RANGE] for i, devices in keys]
        logs = [[work.log_pace for work in self._paces[i] if work.num_devices == devices] for i, devices in keys]
        self._posterior = _posterior(cells, rows, logs, self.spread) if rows else None

    def sample(self, measured: Sequence[tuple[TrialRecord, Measurement]], n: int, rng: np.random.Generator) -> Array:
        """Returns samples of the logarithms of true seconds less those of the measured ones.

        Args:
            measured: trials, each with one of its measurements.
            n: number of samples.

        Returns:
            Shape `(n, len(measured))`.
        """
        weights, shift, left = (
            np.zeros((len(self._places), len(measured))),
            np.zeros(len(measured)),
            np.zeros(len(measured)),
        )
        for column, (trial, measurement) in enumerate(measured):
            for share, work in self._shares(trial, measurement):
                place = self._places.get((trial.trial_id, work.num_devices)) if work is not None else None
                if work is None or place is None:  # nothing is known except the noise
                    left[column] += share**2
                else:
                    weights[place, column] += share
                    shift[column] -= share * work.log_pace
        found: Array = shift + self.spread * np.sqrt(left) * rng.standard_normal((n, len(measured)))
        if self._posterior is not None:
            found += self._posterior.sample(n, rng) @ weights
        return found

    def _shares(self, trial: TrialRecord, measurement: Measurement) -> list[tuple[float, SegmentPace | None]]:
        """Returns the segments of a measurement, each with its share of the seconds."""
        works = self._paces.get(trial.trial_id, [])
        seconds = [min(work.end_s, measurement.train_s) - work.begin_s for work in works]
        total_s = math.fsum(s for s in seconds if s > 0)
        found: list[tuple[float, SegmentPace | None]] = [
            (s / total_s, work) for s, work in zip(seconds, works, strict=True) if s > 0
        ]
        return found or [(1.0, None)]


def _posterior(
    cells: Cells, rows: Sequence[Sequence[float]], logs: Sequence[Sequence[float]], spread: float
) -> PacePosterior:
    """Returns the joint distribution of the true logarithms of paces."""
    measured = np.array([statistics.fmean(of_place) for of_place in logs])
    noise = spread**2 / np.array([len(of_place) for of_place in logs])
    process = GaussianProcess(cells, np.array(rows), measured)
    return PacePosterior(process.prior_covariance(), measured, noise, spread**2)
