"""How much faster a trial trains on other devices, by what the segments of its study have measured.

The scaling model (`core.measured_scaling`) is fitted to the segments that ended first: to all of the first ten, and
after that whenever their number has grown by a tenth. A fit takes long in a large study. Which segments it is fitted to
follows from the log, so a study that is started again has the same model. If the segments do not show how the training
scales, the speed is assumed to be the number of devices to the power of 0.8, which is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from lightning_hwtune.core.hardware.scaling import ScalingModel
from lightning_hwtune.core.measured_scaling import guessed_speed, measured_scaling, speed_by
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError

__all__ = ["DeviceSpeeds"]

_FEW = 10


@final
class DeviceSpeeds:
    """The speeds of one study, from its current state. It only keeps the newest fit."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._fitted: tuple[tuple[int, int], ScalingModel | None] = (0, 0), None

    def relative(self, config: Mapping[str, Any], devices: int, reference: int) -> tuple[float, bool]:
        """Returns how many times faster than on `reference` devices a configuration trains, and if that is measured."""
        if devices == reference:
            return 1.0, True
        model = self._model()
        if model is not None:
            try:
                speed, is_extrapolated = speed_by(model, self._state.spec, config, devices, reference)
            except ArgumentError:
                pass
            else:
                return speed, not is_extrapolated
        return guessed_speed(devices, reference), False

    def _model(self) -> ScalingModel | None:
        state = self._state
        n_used = _n_used(len(state.segments) - len(state.running))
        key = n_used, state.n_repeated
        if self._fitted[0] != key:
            used = [segment for segment in state.segments if 0 < segment.ended_number <= n_used]
            try:
                model = measured_scaling(state, segments=used)
            except ArgumentError:
                model = None
            self._fitted = key, model
        return self._fitted[1]


def _n_used(n_ended: int) -> int:
    """Returns to how many of the ended segments the model is fitted."""
    n_used = min(n_ended, _FEW)
    while (more := n_used + max(n_used // _FEW, 1)) <= n_ended:
        n_used = more
    return n_used
