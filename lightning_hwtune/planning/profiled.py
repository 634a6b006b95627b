"""Speeds and times for a plan, from a profile or an earlier study: what was measured, and what the model predicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.allocation import powers_up_to
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingProfile
from lightning_hwtune.core.measured_scaling import (
    batch_keys,
    fitted_scaling,
    likely_speed,
    scaling_points,
    unit_seconds,
)
from lightning_hwtune.core.pace import SeenPaces
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
        start_s: seconds to start a segment on one device, the median of the study.
        speeds, notes: see `ProfiledSpeeds`; the speeds are relative to that of one device.
    """

    unit_s: float
    start_s: float
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

    Numbers of devices with too few trials have a guess that the trials correct, see `likely_speed`, and a note.

    Raises:
        ArgumentError: the study has not measured the time on one device.
    """
    every = _with_shared_batch(state, scaling_points(state, most_sd=math.inf), most)
    known = _with_shared_batch(state, scaling_points(state), most)
    is_known = any(point.devices == 1 for point in known)
    points = known if is_known else [point for point in every if point.devices == 1]
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
    uncertain = sorted({point.devices for point in every} - measured.keys())
    measured |= {count: likely_speed(state, count, 1) for count in uncertain}
    found, notes = _completed(measured, lambda: fitted_scaling(state.spec, points), most, batch, seconds[1])
    name = state.spec.name
    if len(measured) == 1 and most > 1:
        notes = (f"{name} has trained on one device only, so plans use one device per trial",)
    for count in uncertain:
        text = (
            f"the speed on {counted(count, 'devices')} is partly a guess, because {name} has trained too little on them"
        )
        notes = (*notes, f"{text}; `hwtune profile` measures it")
    unit_s = unit_seconds(state.spec, seconds[1], batch, largest)
    return StudiedSpeeds(unit_s, SeenPaces(state).startup_s(1), found, notes)


def _with_shared_batch(state: StudyFacts, points: Sequence[ScalingPoint], most: int) -> list[ScalingPoint]:
    """Returns the points; without a batch size in the space, with a batch that all numbers of devices may share."""
    if not points or any(batch_keys(state.spec, trial.config) for trial in state.trials):
        return list(points)
    shared = math.lcm(points[0].global_batch, *powers_up_to(most))
    return [dataclasses.replace(point, global_batch=shared) for point in points]


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
