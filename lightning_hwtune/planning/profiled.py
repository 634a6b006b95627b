"""Speeds and times for a plan, from a profile: what was measured, and what its scaling model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingProfile
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted

__all__ = ["ProfiledSpeeds", "profiled_speeds"]


@final
@dataclass(frozen=True, slots=True)
class ProfiledSpeeds:
    """Speeds by number of devices.

    Attributes:
        speeds: optimiser steps per second.
        notes: why further numbers have no speed, and which speeds lie outside what was measured.
    """

    speeds: dict[int, float]
    notes: tuple[str, ...]


def profiled_speeds(profile: ScalingProfile, most: int) -> ProfiledSpeeds:
    """Returns the measured speeds at the profile's global batch, and the predicted ones of powers of two up to `most`.

    Raises:
        ArgumentError: one device was not measured at the global batch.
    """
    measured = {p.devices: 1 / p.seconds for p in profile.points if p.global_batch == profile.global_batch}
    if 1 not in measured:
        allowed = f"a profile with one device at the global batch, {profile.global_batch}"
        raise ArgumentError(
            "profile", sorted(measured), allowed, hint="All speeds are compared with that of one device."
        )
    speeds = {count: speed for count, speed in sorted(measured.items()) if count <= most}
    counts = [2**power for power in range(most.bit_length()) if 2**power <= most and 2**power not in measured]
    try:
        model = profile.model()
    except ArgumentError as error:
        return ProfiledSpeeds(speeds, (f"no speed is predicted: {error}",) if counts else ())
    predicted, notes = _predicted(model, counts)
    return ProfiledSpeeds(dict(sorted((speeds | predicted).items())), notes)


def _predicted(model: ScalingModel, counts: list[int]) -> tuple[dict[int, float], tuple[str, ...]]:
    speeds, notes = {}, []
    for count in counts:
        try:
            found = model.predict(count)
        except ArgumentError as error:
            notes.append(f"{counted(count, 'devices')}: {error}")
            continue
        speeds[count] = 1 / found.seconds
        if found.is_extrapolated:
            notes.append(f"the speed of {counted(count, 'devices')} is extrapolated; {', '.join(found.extrapolated)}")
    return speeds, tuple(notes)
