"""Learning curves for simulated training: their interface, and a synthetic generator of them.

A curve is a pure function of the configuration, the resource and the devices. It has no state, so the order of calls
does not matter.

The generator. A configuration is a point x of the unit cube (`SearchSpace.encode`, `n_dims` coordinates). Fixed smooth
random functions f_k of x are sums of a few cosines. Their frequencies are drawn from the generator's seed, and their
values are mapped to [0, 1] by the normal distribution function. They give each configuration

    error(r) = floor + (start - floor) * (1 + r / half)**-power + noise(r)

    floor = best + spread * f_1                                the error in the limit of infinite training
    half  = R ** (3/4 * crossing * (f_2 + 1 - f_1) / 2)        the resource at which the curve begins to flatten
    power = 1 + f_3

`start` is 0.9 for all configurations. With `crossing` 0 all curves flatten at once, and the ranking at resource 1 is
nearly the final one. The larger `crossing` is, the later the curves flatten. Those with a low final error flatten later
than the others, so the curves cross. (Spearman's rank correlation between resources 1 and R, averaged over many seeds,
without noise: 0.87, 0.46, 0.02 for crossing 0, 0.5 and 1 at R = 27; 0.84, -0.04, -0.43 at R = 243.) The noise of a
measurement is normal with standard deviation `noise * (start - best)` and is determined by (seed, configuration,
resource). The error is clipped to [0, 1].

Time. One unit of resource takes `unit_s * 4**(2 * f_4 - 1)` seconds on one device. n devices are n**scaling times as
fast (with scaling 1 the speed-up is linear, with 0 there is none), so with a scaling below 1 more devices are faster
and cost more. A device costs `usd_per_device_hour`. These formulas were not fitted to any measurements.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, final

import numpy as np

from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError

__all__ = ["Curves", "SyntheticCurves"]

_START = 0.9
_N_WAVES = 6
_FREQUENCY = 3.0  # a deviation of frequency: about one bump over the unit cube


class Curves(Protocol):
    """The values, the time and the price of a simulated training."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the values that are available at every resource."""

    @property
    def max_resource(self) -> int:
        """The largest resource that the curves cover."""

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns a value for each metric, in the user's direction; NaN means that the training diverged."""

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of training from scratch to this resource on `num_devices`; 0.0 at resource 0."""

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        """Returns the price of one second of a segment on `num_devices` devices."""


@final
@dataclass(frozen=True, slots=True)
class SyntheticCurves:
    """Crossing power-law curves with noise, as described in the module. The only metric is "error", minimised.

    Args:
        space: the search space. A `NumDevices` in it changes only time and cost.
        max_resource: R, the resource of a full training.
        seed: the seed of the functions and of the noise.
        best: the floor of the best configuration.
        spread: how much higher the floor of the worst configuration is.
        crossing: from 0 (the ranking at the first resource is nearly final) to 1 (it says nothing about the end).
        noise: standard deviation of one measurement, as a fraction of `start - best`.
        unit_s: median seconds of one unit of resource on one device.
        scaling: exponent of the speed-up by more devices.
        usd_per_device_hour: the price of one device.
    """

    space: SearchSpace
    max_resource: int
    seed: int = 0
    best: float = 0.05
    spread: float = 0.4
    crossing: float = 0.5
    noise: float = 0.01
    unit_s: float = 10.0
    scaling: float = 0.8
    usd_per_device_hour: float = 1.0
    metrics: ClassVar[tuple[str, ...]] = ("error",)
    _known: dict[tuple[Any, ...], tuple[float, float, float, float]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.max_resource, bool) or not isinstance(self.max_resource, int) or self.max_resource < 1:
            raise ArgumentError("max_resource", self.max_resource, "a positive integer")
        for name in ("best", "spread", "crossing", "scaling"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(name, getattr(self, name), "a number from 0 to 1")
        if self.best + self.spread > _START:
            raise ArgumentError("spread", self.spread, f"at most {_START} - best, because all curves begin at {_START}")
        for name in ("noise", "usd_per_device_hour"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ArgumentError(name, getattr(self, name), "a finite number, at least 0")
        if not 0 < self.unit_s < math.inf:
            raise ArgumentError("unit_s", self.unit_s, "a finite number, above 0")

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns the error at this resource."""
        floor, half, power, _ = self.traits(config)
        smooth = floor + (_START - floor) * (1 + resource / half) ** -power
        return {"error": min(max(smooth + self._noise(config, resource), 0.0), 1.0)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds from scratch to this resource."""
        return resource * self.traits(config)[3] / float(num_devices**self.scaling)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        """Returns the devices' price; that of the configuration's machine if the space has an `Instance`."""
        key = self.space.instance_key
        price = self.usd_per_device_hour if key is None else self.space.usd_per_hour[config[key]]
        return num_devices * price / 3600

    def traits(self, config: Mapping[str, Any]) -> tuple[float, float, float, float]:
        """Returns floor, half, power, and the seconds of one unit of resource on one device."""
        key = self._key(config)
        if key not in self._known:
            f_1, f_2, f_3, f_4 = self._functions(config)
            half = self.max_resource ** (0.75 * self.crossing * (f_2 + 1 - f_1) / 2)
            self._known[key] = (self.best + self.spread * f_1, half, 1 + f_3, self.unit_s * 4 ** (2 * f_4 - 1))
        return self._known[key]

    def _functions(self, config: Mapping[str, Any]) -> list[float]:
        """Returns the four smooth functions of a configuration, each uniform on [0, 1] over many seeds."""
        point = [x for name in self.space if name != self.space.devices_key for x in self.space.cells(name, config)]
        rng = stream(self.seed, "waves", len(point))
        frequencies, phases = rng.standard_normal((4, _N_WAVES, len(point))), rng.random((4, _N_WAVES))
        waves = np.cos(_FREQUENCY * (frequencies * np.array(point)).sum(axis=2) + 2 * math.pi * phases)
        return [0.5 * (1 + math.erf(total / math.sqrt(_N_WAVES))) for total in waves.sum(axis=1).tolist()]

    def _noise(self, config: Mapping[str, Any], resource: int) -> float:
        if self.noise == 0:
            return 0.0
        key = zlib.crc32(repr(self._key(config)).encode())
        deviation = self.noise * (_START - self.best)
        return deviation * float(stream(self.seed, f"noise-{resource}", key).standard_normal())

    def _key(self, config: Mapping[str, Any]) -> tuple[Any, ...]:
        """Returns the values of a configuration, without its device count, which changes only time and cost.

        Options such as lists and dicts cannot be looked up, so their text takes their place.
        """
        values = (config.get(name, ...) for name in self.space if name != self.space.devices_key)
        return tuple(repr(value) if isinstance(value, list | dict) else value for value in values)
