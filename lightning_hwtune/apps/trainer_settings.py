"""The devices and the horizon that the Trainer of a foreign app has in its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.apps.seen_configs import SeenConfigs
from lightning_hwtune.core.parameters import ALWAYS_DEVICES, Float, NumDevices, Parameter
from lightning_hwtune.errors import ArgumentError

__all__ = ["HORIZONS", "Horizon", "as_devices", "shared_devices", "shared_horizon"]

HORIZONS = ("max_epochs", "max_steps", "max_samples")
"""The keys of a scheduler's settings that give the horizon; each has its unit."""

_ONE = (None, "auto", 1, "1", -1, "-1")  # a trial with one device sees one device
_MAX_COUNTS = 100_000


@final
@dataclass(frozen=True, slots=True)
class Horizon:
    """The length of a full training. `epochs` and `steps` are None if the configuration does not limit them."""

    epochs: int | None
    steps: int | None

    def scheduler(self, form: Mapping[str, Any], epochs_key: str, steps_key: str) -> dict[str, Any] | None:
        """Return a scheduler's settings with this horizon, unless they have their own; None if neither has one.

        Raises:
            ArgumentError: the configuration limits both epochs and steps.
        """
        if any(form.get(name) is not None for name in HORIZONS):
            return dict(form)
        if self.epochs is not None and self.steps is not None:
            hint = f"Trials are compared in one unit. To compare them in steps, set {epochs_key} to -1."
            allowed = f"-1, because {epochs_key}={self.epochs} is the horizon"
            raise ArgumentError(steps_key, self.steps, allowed, hint=hint)
        if self.epochs is not None:
            return {**form, "max_epochs": self.epochs}
        return {**form, "max_steps": self.steps} if self.steps is not None else None


def shared_horizon(configs: SeenConfigs, epochs_key: str, steps_key: str, hint: str) -> Horizon:
    """Return the horizon that all configurations have in common.

    Args:
        hint: advice for configurations that differ; `{key}` stands for the key.

    Raises:
        ArgumentError: configurations differ, or a value is not an integer.
    """
    epochs, steps = (
        configs.shared(
            lambda facts: _limit(key, facts.values[key]),  # noqa: B023 - called at once
            key,
            "one value, the full training of all trials",
            hint.format(key=key),
        )
        for key in (epochs_key, steps_key)
    )
    return Horizon(epochs, steps)


def shared_devices(configs: SeenConfigs, key: str, hint: str) -> int:
    """Return the number of devices that all configurations have in common; `auto` and -1 are one device.

    Raises:
        ArgumentError: configurations differ, or a value is not a number of devices.
    """
    return configs.shared(
        lambda facts: _device_count(key, facts.values[key]), key, "the same number of devices for all trials", hint
    )


def as_devices(name: str, parameter: Parameter) -> NumDevices:
    """Return a parameter with integer values as a parameter of device counts.

    Raises:
        ArgumentError: the parameter has other values, or a condition.
    """
    if parameter.when is not None:
        raise ArgumentError(f"{name}.when", parameter.when, ALWAYS_DEVICES, hint="Leave it out.")
    is_countable = (parameter.n_values or _MAX_COUNTS) < _MAX_COUNTS
    values = list(parameter.levels()) if is_countable and not isinstance(parameter, Float) else []
    counts = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(counts) != len(values) or not counts:
        raise ArgumentError(name, parameter, "numbers of devices, e.g. choice(1,2)")
    return NumDevices(*counts)


def _device_count(key: str, value: Any) -> int:
    is_odd = isinstance(value, bool | float)
    if not is_odd and value in _ONE:
        return 1
    if is_odd or not str(value).isdecimal() or int(value) < 1:
        hint = "The study decides which devices a trial gets; give only their number."
        raise ArgumentError(key, value, "a number of devices", hint=hint)
    return int(value)


def _limit(key: str, value: Any) -> int | None:
    """Return a limit of a Trainer; None if there is none."""
    if value is None or (value == -1 and not isinstance(value, bool)):
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(key, value, "a positive integer, or -1 for no limit")
    return value
