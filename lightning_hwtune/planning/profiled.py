"""Speeds and times for a plan, from a profile or an earlier study: what was measured, and what the model predicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.allocation import powers_up_to
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingProfile
from lightning_hwtune.core.measured_scaling import batch_keys, fitted_scaling, scaling_points, unit_seconds
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted

__all__ = ["ProfiledSpeeds", "StudiedSpeeds", "profiled_speeds", "studied_speeds"]


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


@final
@dataclass(frozen=True, slots=True)
class StudiedSpeeds:
    """What an earlier study has measured.

    Attributes:
        unit_s: seconds of one unit of its resource on one device, for a configuration that is the mean of the study.
        speeds, notes: see `ProfiledSpeeds`; the speeds are relative to that of one device.
    """

    unit_s: float
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
    return ProfiledSpeeds(*_completed(measured, profile.model, most, profile.global_batch))


def studied_speeds(state: StudyFacts, most: int) -> StudiedSpeeds:
    """Returns what an earlier study has measured at the batch with the most numbers of devices, and what it predicts.

    Raises:
        ArgumentError: the study has not measured the time on one device.
    """
    points = list(scaling_points(state))
    has_batches = any(batch_keys(state.spec, trial.config) for trial in state.trials)
    if points and not has_batches:  # the batch of the points then stands for any, so all numbers may share it
        shared = math.lcm(points[0].global_batch, *powers_up_to(most))
        points = [dataclasses.replace(point, global_batch=shared) for point in points]
    batches = {point.global_batch for point in points if point.devices == 1}
    if not batches:
        hint = "All speeds are compared with that of one device. Give --unit-s and --speeds, or a profile."
        allowed = "a study that has trained configurations on one device"
        raise ArgumentError("study", state.spec.name, allowed, hint=hint)
    counts = {batch: sum(point.global_batch == batch for point in points) for batch in batches}
    batch = max(batches, key=lambda item: (counts[item], item))
    seconds = {point.devices: point.seconds for point in points if point.global_batch == batch}
    largest = max(point.global_batch for point in points)
    measured = {count: seconds[1] / value for count, value in seconds.items()}
    found, notes = _completed(measured, lambda: fitted_scaling(state.spec, points), most, batch, seconds[1])
    if len(measured) == 1 and most > 1:
        notes = (f"{state.spec.name} has measured one device only, so plans use one device per trial",)
    return StudiedSpeeds(unit_seconds(state.spec, seconds[1], batch, largest), found, notes)


def _completed(
    measured: Mapping[int, float], fit: Callable[[], ScalingModel], most: int, batch: int, one_s: float = 1.0
) -> tuple[dict[int, float], tuple[str, ...]]:
    """Returns the measured speeds, and the predicted ones of powers of two up to `most`, with notes."""
    speeds = {count: speed for count, speed in sorted(measured.items()) if count <= most}
    counts = [count for count in powers_up_to(most) if count not in measured]
    try:
        model = fit()
    except ArgumentError as error:
        return speeds, (f"no speed is predicted: {error}",) if counts else ()
    predicted, notes = _predicted(model, counts, batch, one_s)
    return dict(sorted((speeds | predicted).items())), notes


def _predicted(
    model: ScalingModel, counts: list[int], batch: int, one_s: float
) -> tuple[dict[int, float], tuple[str, ...]]:
    """Returns the speeds that the model predicts; a step of `one_s` seconds has the speed 1."""
    speeds, notes = {}, []
    for count in counts:
        try:
            found = model.predict(count, None, batch)
        except ArgumentError as error:
            notes.append(f"{counted(count, 'devices')}: {error}")
            continue
        speeds[count] = one_s / found.seconds
        if found.is_extrapolated:
            notes.append(f"the speed of {counted(count, 'devices')} is extrapolated; {', '.join(found.extrapolated)}")
    return speeds, tuple(notes)
