"""A profile: a few measured steps of one configuration on several numbers of devices, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from lightning_hwtune.core.hardware.scaling.model import ScalingModel
from lightning_hwtune.core.hardware.scaling.points import ScalingPoint
from lightning_hwtune.core.hardware.scaling.shape import ScalingShape
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class

__all__ = ["ScalingProfile"]

_FORM = 1


@final
@checked_class(prefix="")
@dataclass(frozen=True, slots=True)
class ScalingProfile:
    """What `Study.profile` measured; `profile.json` in the study's folder has the same data.

    Attributes:
        study: the name of the study.
        config: the configuration that was trained, at the global batch.
        accelerator: "cpu" or "gpu".
        devices_per_node: the number of devices of the pool, which is one node.
        global_batch: samples per optimiser step on all devices together.
        steps: how many batches each measurement has, after those that were dropped.
        points: one measurement per allocation and batch.
        max_per_device_batch: the largest batch that fitted into memory, if a larger one did not; otherwise None.
        notes: lines for the user.

    Examples:
        >>> sizes = ((1, 1, 64, 1.0), (1, 1, 32, 0.6), (2, 1, 64, 0.65))
        >>> points = tuple(hwt.ScalingPoint(*size) for size in sizes)
        >>> profile = hwt.ScalingProfile("digits", {"lr": 0.1}, "cpu", 2, 64, 20, points)
        >>> round(profile.model().speed_up(2), 1)
        1.5
    """

    study: str
    config: Mapping[str, Any]
    accelerator: str
    devices_per_node: int
    global_batch: int
    steps: int
    points: tuple[ScalingPoint, ...]
    max_per_device_batch: int | None = None
    notes: tuple[str, ...] = ()

    def model(self, *, shape: ScalingShape | None = None) -> ScalingModel:
        """Returns the scaling model of the points.

        Raises:
            ArgumentError: the points cannot determine a model; the message says what to measure.
        """
        return ScalingModel.fit(
            self.points,
            self.devices_per_node,
            shape=shape,
            global_batch=self.global_batch,
            max_per_device_batch=self.max_per_device_batch,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for a file."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        points = [point.to_dict() for point in self.points]
        return {"form": _FORM, **plain, "config": dict(self.config), "points": points, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Returns the profile that `to_dict` described.

        Raises:
            ArgumentError: the data has another form.
        """
        if not isinstance(data, Mapping) or data.get("form") != _FORM:
            raise ArgumentError("profile", data, f"the data of a profile, with form {_FORM}")
        given = {name: value for name, value in data.items() if name != "form"}
        points, notes = given.get("points"), given.get("notes", [])
        if set(given) != set(cls.__slots__) or not isinstance(points, list) or not isinstance(notes, list):
            raise ArgumentError("profile", data, f"the keys {', '.join(cls.__slots__)}, with lists of points and notes")
        return cls(**{**given, "points": tuple(map(ScalingPoint.from_dict, points)), "notes": tuple(map(str, notes))})
