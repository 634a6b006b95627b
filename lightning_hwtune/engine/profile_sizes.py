"""Which allocations and batches a profile measures: few, so that it is short, and such that a model can be fitted.

Each number of devices is measured at the global batch. One device is also measured at the batches that each of several
devices would have, so that the difference is synchronisation. A half and a quarter of the batch show how the time of
computing depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from lightning_hwtune.core.allocation import powers_up_to
from lightning_hwtune.core.hardware.policy import divides
from lightning_hwtune.core.measured_scaling import batch_keys
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted

__all__ = ["ProfileSize", "profile_sizes"]


@final
@dataclass(frozen=True, slots=True)
class ProfileSize:
    """One measurement: the number of devices, and the configuration that they train.

    Attributes:
        is_whole: whether the devices share the global batch; otherwise it is a smaller batch on one device.
    """

    devices: int
    config: Mapping[str, Any]
    is_whole: bool


def profile_sizes(
    spec: StudySpec, config: Mapping[str, Any], counts: Sequence[int] | None, global_batch: int | None
) -> list[ProfileSize]:
    """Returns what to measure, the smallest number of devices first.

    Args:
        config: a configuration of the study.
        counts: numbers of devices; None for those of the study, and without a `NumDevices` for powers of two.
        global_batch: the batch over all devices; None for that of the configuration.

    Raises:
        ArgumentError: a count is not in the pool, or the devices cannot share the batch.
    """
    keys = batch_keys(spec, config)
    if global_batch is not None and not keys:
        hint = "The search space has no parameter called batch_size: the batch is that of your training code."
        raise ArgumentError("global_batch", global_batch, "None", hint=hint)
    start = int(spec.allocator.first(config).devices)
    whole = _whole_batch(spec, config, keys, start) if global_batch is None else global_batch
    chosen = _counts(spec, config, keys, whole, counts)
    sizes = [ProfileSize(count, _config(spec, config, keys, count, whole), True) for count in chosen]
    if keys and whole is not None:
        parts = sorted({1, 2, 4, *chosen})
        smaller = [whole // part for part in parts if whole % part == 0]
        known = {1} & set(chosen)
        sizes += [
            ProfileSize(1, _config(spec, config, keys, 1, batch), batch == whole)
            for batch in smaller
            if not (batch == whole and known)
        ]
    return sorted(sizes, key=lambda size: (size.devices, not size.is_whole))


def _whole_batch(spec: StudySpec, config: Mapping[str, Any], keys: Sequence[str], devices: int) -> int | None:
    """Returns the global batch of a configuration; None if the space has no batch size."""
    if not keys:
        return None
    return int(config[keys[0]]) * (devices if spec.batch == "per_device" else 1)


def _counts(
    spec: StudySpec, config: Mapping[str, Any], keys: Sequence[str], whole: int | None, given: Sequence[int] | None
) -> list[int]:
    most = spec.pool.size
    for count in given or ():
        if count > most:
            allowed = f"at most {most}, the number of {spec.pool.accelerator} devices in the pool"
            raise ArgumentError("devices", count, allowed)
        if whole is not None and (whole % count or whole < count):
            allowed = f"a multiple of {count}, to be shared by {counted(count, 'devices')}"
            hint = "Choose another batch or other numbers of devices."
            raise ArgumentError("global_batch", whole, allowed, hint=hint)
    if given:
        return sorted(set(given))
    counts = spec.space.device_counts or powers_up_to(most)
    if whole is not None:
        return [count for count in counts if whole % count == 0 and whole >= count and count <= most] or [1]
    return [count for count in counts if count <= most and divides(spec.space, config, count)] or [1]


def _config(
    spec: StudySpec, config: Mapping[str, Any], keys: Sequence[str], devices: int, whole: int | None
) -> dict[str, Any]:
    """Returns the configuration with this number of devices and this global batch."""
    changed = dict(config)
    if spec.space.devices_key is not None:
        changed[spec.space.devices_key] = devices
    if not keys or whole is None:
        return changed
    share = Fraction(whole if spec.batch == "global" else whole // devices, int(config[keys[0]]))
    for key in keys:
        scaled = share * int(config[key])
        if scaled.denominator != 1 or scaled < 1:
            hint = f"The batch sizes {', '.join(map(repr, keys))} cannot be changed by the same factor."
            raise ArgumentError(key, config[key], f"a multiple of {share.denominator}", hint=hint)
        changed[key] = int(scaled)
    return changed
