"""The machines of a study that are paid for as a whole, as recorded in its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.hardware.catalogue import InstanceType

__all__ = ["NodeRecord"]


@final
@dataclass(slots=True)
class NodeRecord:
    """One machine, from its launch to its release. Only `StudyFacts.apply` changes it.

    Attributes:
        number: its number in the study. place: its place in the pool, see `placement`. devices: how many it has there.
        is_spot: whether its price is that of a spot node. rented_as: see `events.NodeRequested`.
        launched_clock_s: the study's own clock at its launch (`core.study_clock`).
        is_ready: whether segments can start on it. has_trained: whether one did; otherwise the machine of a session is
            not billed, just as a session that trains nothing does not count in the time of a study.
        launch_s: the seconds of its launch; 0 while it is not ready.
        idle_clock_s: the study's own clock when it became ready, or when its last segment ended.
        ended_s: the seconds for which it was up; None while it is. billed_usd: its bill; 0 while it is up.
        is_lost: whether it was taken away, or failed.
    """

    number: int
    instance: InstanceType
    is_spot: bool
    launched_clock_s: float
    is_ready: bool = False
    has_trained: bool = False
    ended_s: float | None = None
    billed_usd: float = 0.0
    is_lost: bool = False
    rented_as: str = ""
    place: int = 0
    devices: int = 0
    idle_clock_s: float = 0.0
    launch_s: float = 0.0

    @property
    def shape(self) -> tuple[str, int]:
        """The name of its instance type, and its number of devices."""
        return self.instance.name, self.devices

    def up_s(self, clock_s: float) -> float:
        """Returns the seconds for which it has been up, at this time of the study's clock."""
        return max(clock_s - self.launched_clock_s, 0.0) if self.ended_s is None else self.ended_s

    def usd(self, clock_s: float, *, is_lost: bool = False) -> float:
        """Returns its bill at this time of the study's clock.

        Args:
            is_lost: whether it is taken away at this time.
        """
        if self.ended_s is not None:
            return self.billed_usd
        if not self.has_trained and not self.rented_as:
            return 0.0
        return bill(Node(self.instance, 0.0, self.up_s(clock_s), self.is_spot, is_lost), 0.0)

    def usd_until(self, clock_s: float) -> float:
        """Returns what had been billed for it at this time of the study's clock, which may be long ago."""
        if self.ended_s is not None and clock_s >= self.launched_clock_s + self.ended_s:
            return self.billed_usd
        if not self.has_trained or clock_s <= self.launched_clock_s:
            return 0.0
        return bill(Node(self.instance, 0.0, clock_s - self.launched_clock_s, self.is_spot), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for a cache."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {**fields, "instance": self.instance.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the record that `to_dict` described."""
        return cls(**{**data, "instance": InstanceType(**data["instance"])})
