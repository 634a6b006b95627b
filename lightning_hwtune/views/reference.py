"""What is shown about seconds and costs that were converted to a trial's first number of devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objective_kinds import Cost
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.reference_count import CONVERTED, Basis
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.text import counted

__all__ = ["References", "report_reference_text"]

_SOURCES = {
    Basis.MODEL: " by the model",
    Basis.EXTRAPOLATED: ", extrapolated by the model",
    Basis.GUESS: ", a guess: too few trials show it",
}


@final
class References:
    """How the seconds of a study's trials were converted.

    Attributes:
        are_any: whether any were. Studies in which no trial changed its devices have none.
    """

    def __init__(self, state: StudyFacts) -> None:
        self._state = state
        self.are_any = any(segment.reference_basis for segment in state.segments)
        self._segments: dict[int, list[Segment]] = {}
        for segment in state.segments if self.are_any else ():
            self._segments.setdefault(segment.trial_id, []).append(segment)

    def keys(self, trial: TrialRecord, resource: int | None = None) -> dict[str, Any]:
        """Returns the key that the entries of a study have in addition in which some seconds were converted."""
        return {"reference": self.entry(trial, resource)} if self.are_any else {}

    def entry(self, trial: TrialRecord, resource: int | None = None) -> dict[str, Any] | None:
        """Returns how the seconds of a trial were converted; None if they are those of the devices that it had.

        Args:
            resource: of the measurement; None for the last one.

        Returns:
            devices: the number of devices at which its seconds and cost are given.
            measured_on: the numbers of devices on which it trained.
            speed_ups: number of devices -> by what its seconds were multiplied, of those that were converted.
            basis: "model", "extrapolated" or "guess"; the least certain one.
        """
        segments = list(self._useful(trial, trial.resource if resource is None else resource))
        converted = [segment for segment in segments if segment.reference_basis]
        if not converted:
            return None
        order = list(Basis)
        return {
            "devices": trial.reference_devices,
            "measured_on": sorted({segment.num_devices for segment in segments}),
            "speed_ups": {str(segment.num_devices): segment.reference_factor for segment in converted},
            "basis": max((Basis(segment.reference_basis) for segment in converted), key=order.index).value,
        }

    def text(self, trial: TrialRecord, resource: int | None = None) -> str:
        """Returns "1 device (measured on 2, speed-up 1.8 by the model)"; empty if nothing was converted."""
        entry = self.entry(trial, resource)
        if entry is None:
            return ""
        return _text(entry["devices"], entry["measured_on"], list(entry["speed_ups"].values()), entry["basis"])

    def _useful(self, trial: TrialRecord, resource: int) -> Iterator[Segment]:
        """Yields the segments that led to the measurement at a resource."""
        segments = self._segments.get(trial.trial_id, [])
        for place, segment in enumerate(segments):
            end = min([segment.reached, *(later.resource for later in segments[place + 1 :])])
            if segment.resource < min(end, resource):
                yield segment


def report_reference_text(state: StudyFacts, event: ev.Reported) -> str:
    """Returns "; seconds at 1 device (measured on 2, speed-up 1.8 by the model)" for a report; empty if as measured."""
    if not event.reference_basis:
        return ""
    own = next(s for s in state.segments if (s.trial_id, s.number) == (event.trial_id, event.segment))
    reference = state.trials[event.trial_id].reference_devices
    text = _text(reference, [own.num_devices], [event.reference_factor], event.reference_basis)
    is_only_cost = [name for name in state.spec.objectives.recorded if name in CONVERTED] == [Cost.name]
    return f"; {'cost' if is_only_cost else 'seconds'} at {text}"


def _text(reference: int, measured_on: list[int], factors: list[float], basis: str) -> str:
    where = f"measured on {_listed([str(count) for count in measured_on])}"
    speed_ups = f"speed-up{'s' if len(factors) > 1 else ''} {_listed([f'{factor:.3g}' for factor in factors])}"
    return f"{counted(reference, 'devices')} ({where}, {speed_ups}{_SOURCES[Basis(basis)]})"


def _listed(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]
