"""The controller's answers: frozen values, each with its reason, which names the rule and gives the numbers.

ask()    -> Start | Resume | Wait | Done
report() -> Continue | Pause | Stop
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class

__all__ = ["Answer", "Continue", "Done", "Pause", "Reason", "Reservation", "Resume", "Start", "Stop", "Verdict", "Wait"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: `rule` is a short stable key ("promotion", "limit:max_time"), `text` one plain sentence with the numbers.

    `standing` is (rank from 1, number of trials) if the order of a rung was used; the best rank if there is a range.
    """

    rule: str
    text: str
    standing: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Reservation:
    """The candidate for which devices are drained, because it needs more of them than are free.

    Attributes:
        trial_id: the trial to resume; None for a new trial.
        draw: the number of the searcher's draw for a new trial; None if the user enqueued it.
        target, promoted_from, rule, reason: see `Resume`; 0, None, "" and "" for a new trial.
    """

    trial_id: int | None
    draw: int | None
    allocation: Allocation
    target: int
    promoted_from: int | None
    rule: str
    reason: str

    @property
    def num_devices(self) -> int:
        """The number of devices to drain."""
        return self.allocation.devices


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a new trial.

    Attributes:
        draw: the number of the searcher's draw that gave `config`; None for an enqueued configuration.
        source: "searcher" or "enqueued".
        target: the resource up to which the trial may train.
        reservation: the candidate for which devices are drained from now on.
    """

    trial_id: int
    config: Mapping[str, Any]
    allocation: Allocation
    bracket: int
    target: int
    seed: int
    source: str
    draw: int | None
    reason: Reason
    reservation: Reservation | None = None

    @property
    def num_devices(self) -> int:
        """The number of devices that the trial needs."""
        return self.allocation.devices


@dataclass(frozen=True, slots=True)
class Resume:
    """Give an existing trial a new segment: a promotion, or a continuation of interrupted work.

    Attributes:
        promoted_from: the rung level that the trial leaves; None if it was not promoted.
        reservation: the candidate for which devices are drained from now on.
    """

    trial_id: int
    allocation: Allocation
    target: int
    promoted_from: int | None
    reason: Reason
    reservation: Reservation | None = None

    @property
    def num_devices(self) -> int:
        """The number of devices that the trial needs."""
        return self.allocation.devices


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can start now. `reserved` devices are being drained for a trial that needs them (0 if none are)."""

    reason: Reason
    reserved: int = 0
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to start under the current limits."""

    reason: Reason
    reservation: Reservation | None = None


@checked_class()
@dataclass(frozen=True, slots=True)
class Continue:
    """Continue training on the same devices."""

    reason: Reason
    kind: ClassVar[str] = "continue"

    def __post_init__(self) -> None:
        _check_reason(self)


@checked_class()
@dataclass(frozen=True, slots=True)
class Pause:
    """Save a checkpoint and free the devices; the trial may be promoted later."""

    reason: Reason
    kind: ClassVar[str] = "pause"

    def __post_init__(self) -> None:
        _check_reason(self)


@checked_class()
@dataclass(frozen=True, slots=True)
class Stop:
    """End the trial for good."""

    reason: Reason
    kind: ClassVar[str] = "stop"

    def __post_init__(self) -> None:
        _check_reason(self)


def _check_reason(verdict: Continue | Pause | Stop) -> None:
    if not isinstance(verdict.reason, Reason):
        name = type(verdict).__name__
        raise ArgumentError(f"{name}.reason", verdict.reason, "a Reason", hint="trial.report(...) returns verdicts.")


Answer = Start | Resume | Wait | Done
Verdict = Continue | Pause | Stop
