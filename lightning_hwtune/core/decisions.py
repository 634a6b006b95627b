"""The controller's answers: frozen values, each with its reason, which names the rule and gives the numbers.

ask()    -> Start | Resume | Wait | Done
report() -> Continue | Pause | Stop
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from lightning_hwtune.core.allocation import ONE_DEVICE, Allocation
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.text import counted

__all__ = [
    "Answer",
    "Continue",
    "Demand",
    "Done",
    "Pause",
    "Reason",
    "Reservation",
    "Resume",
    "Rule",
    "Start",
    "Stop",
    "Verdict",
    "VerdictKind",
    "Wait",
]


class VerdictKind(enum.StrEnum):
    """What a verdict says. The log has the value."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Rule(enum.StrEnum):
    """The rules of this package, by which decisions are made. The log has the value; rules of users are plain text."""

    PROMOTION = "promotion"
    QUOTA = "quota"
    NOT_FINITE = "not-finite"
    CAP = "cap"
    MIN_TRIALS = "min-trials"
    MEDIAN = "median"
    CLOSING = "closing"
    BARRIER = "barrier"
    STRICT = "strict"
    FRONT = "front"
    MAX_RESOURCE = "max-resource"
    MAX_PARALLEL = "max-parallel"
    NO_FREE_DEVICES = "no-free-devices"
    RESERVATION = "reservation"
    LIMIT_MAX_TIME = "limit:max_time"
    LIMIT_MAX_COST = "limit:max_cost"
    LIMIT_MAX_TRIALS = "limit:max_trials"
    STALLED = "stalled"
    EXHAUSTED = "exhausted"
    UNFINISHED = "unfinished"
    NEW = "new"
    FINISHER = "finisher"
    SURVIVOR = "survivor"
    MAX_FAILURES = "max-failures"
    VERDICT = "verdict"
    OVER = "over"
    INSIDE_EPOCH = "inside-epoch"
    CLEARED = "cleared"
    REPEATED = "repeated"
    BETWEEN_RUNGS = "between-rungs"
    CONSTRAINT = "constraint"
    INTERRUPTED = "interrupted"
    ASKED = "asked"
    REPLICATE = "replicate"
    DEVICES = "devices"
    NO_NODES = "no-nodes"
    STAGES = "stages"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: `rule` is a short stable key ("promotion", "limit:max_time"), `text` one plain sentence with the numbers.

    `standing` is (rank from 1, number of trials) if the order of a rung was used; the best rank if there is a range.

    Examples:
        >>> reason = hwt.Reason("promotion", "rank 1 of 3 at rung 9", standing=(1, 3))
        >>> print(reason)
        rank 1 of 3 at rung 9
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
        source: "searcher", "enqueued", "replicate" or "refit".
        target: the resource up to which the trial may train.
        reservation: the candidate for which devices are drained from now on.
        replicate_of: the trial that it repeats with another seed; None for a trial of the search.
        refit: for a refit, from where it begins; see `core.replication`. Empty for any other trial.
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
    replicate_of: int | None = None
    refit: str = ""

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

    def on(self, allocation: Allocation) -> Resume:
        """Returns the same decision on other devices, with their number in its reason."""
        text = f"{self.reason.text}; on {counted(allocation.devices, 'devices')} instead of {self.num_devices}"
        return dataclasses.replace(self, allocation=allocation, reason=dataclasses.replace(self.reason, text=text))


@dataclass(frozen=True, slots=True)
class Demand:
    """The devices of the work that would begin if enough were free.

    Attributes:
        devices: the number of devices; 0 for no work. first: the devices of what would begin first.
        is_new: whether it is new trials.
    """

    devices: int = 0
    first: Allocation = ONE_DEVICE
    is_new: bool = False


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


class _Word:
    """What all verdicts have in common: a verdict equals its word and its class, and is neither true nor false.

    So `verdict != "continue"` and `verdict == Pause` mean what they say, and `if verdict:` is an error.
    """

    __slots__ = ()
    kind: ClassVar[VerdictKind]
    reason: Reason

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.kind == other
        if isinstance(other, type):
            return isinstance(self, other)
        return isinstance(other, _Word) and (self.kind, self.reason) == (other.kind, other.reason)

    def __hash__(self) -> int:
        return hash(self.kind)

    def __bool__(self) -> NoReturn:
        hint = "Compare its kind: `if trial.report(...).kind != 'continue': trial.save(state); return`."
        raise ArgumentError(
            "bool(verdict)", self.kind.value, "a comparison, since a verdict is not true or false", hint=hint
        )


@checked_class()
@dataclass(frozen=True, slots=True, eq=False)
class Continue(_Word):
    """Continue training on the same devices.

    Examples:
        >>> hwt.Continue(hwt.Reason("front", "rank 1 of 5 at rung 3")).reason.text
        'rank 1 of 5 at rung 3'
    """

    reason: Reason
    kind: ClassVar[VerdictKind] = VerdictKind.CONTINUE

    def __post_init__(self) -> None:
        _check_reason(self)


@checked_class()
@dataclass(frozen=True, slots=True, eq=False)
class Pause(_Word):
    """Save a checkpoint and free the devices; the trial may be promoted later.

    Examples:
        >>> hwt.Pause(hwt.Reason("promotion", "rank 3 of 5 at rung 3")).reason.text
        'rank 3 of 5 at rung 3'
    """

    reason: Reason
    kind: ClassVar[VerdictKind] = VerdictKind.PAUSE

    def __post_init__(self) -> None:
        _check_reason(self)


@checked_class()
@dataclass(frozen=True, slots=True, eq=False)
class Stop(_Word):
    """End the trial for good.

    Examples:
        >>> hwt.Stop(hwt.Reason("median", "worse than the median at epoch 4")).reason.rule
        'median'
    """

    reason: Reason
    kind: ClassVar[VerdictKind] = VerdictKind.STOP

    def __post_init__(self) -> None:
        _check_reason(self)


def _check_reason(verdict: Continue | Pause | Stop) -> None:
    if not isinstance(verdict.reason, Reason):
        name = type(verdict).__name__
        raise ArgumentError(f"{name}.reason", verdict.reason, "a Reason", hint="trial.report(...) returns verdicts.")


Answer = Start | Resume | Wait | Done
Verdict = Continue | Pause | Stop
