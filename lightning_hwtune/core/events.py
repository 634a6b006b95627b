"""The facts a study's log holds. State is a fold over them; replay applies them and never decides again.

Every event is a frozen dataclass with the time `at` (seconds since the Unix epoch, or the virtual clock's seconds) and
plain fields that JSON can hold, or an allocation. `to_dict` and `from_dict` are the only serialisation; forms of older
versions are brought up to the present one (`core.upcasts`). Text of others in them, such as
an error, is made storable where the event is made or read, so that every reader can show it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.event_forms import misfit
from lightning_hwtune.core.upcasts import form_of, upcast
from lightning_hwtune.errors import StorageError
from lightning_hwtune.text import storable, storable_data

__all__ = [
    "CheckpointRemoved",
    "CheckpointSaved",
    "ConfigEnqueued",
    "DevicesReserved",
    "Event",
    "Noted",
    "Reported",
    "SegmentEnded",
    "SegmentStarted",
    "SessionClosed",
    "SessionOpened",
    "SessionState",
    "StudyCreated",
    "TrialCreated",
    "from_dict",
    "from_json",
    "to_dict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `at`."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCreated(Event):
    """The study began. `spec` holds every setting that may not change afterwards, resolved.

    `study_id` names it for good, whatever its folder is called; "" in logs of 0.1.0.
    """

    study: str
    spec: Mapping[str, Any]
    study_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Event):
    """A process began to drive the study under these limits (None = unlimited).

    Attributes:
        study_id: the study's, also where `StudyCreated` has none yet. number: of this session, rising.
        folder: the study's folder, as an absolute path on `host`.
    """

    limits: Mapping[str, Any]
    host: str
    pid: int
    version: str
    study_id: str = ""
    number: int = 0
    folder: str = ""


class SessionState(enum.StrEnum):
    """How a session ended."""

    FINISHED = "finished"  # nothing is left to do for the trials that were asked for
    PAUSED = "paused"  # a limit of time or money is reached, or ask and tell were closed
    INTERRUPTED = "interrupted"  # by the user
    FAILED = "failed"  # by too many failed trials, or an error of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """The process stopped driving it after `wall_s`. `state`: the text of a `SessionState`."""

    state: str
    reason: str
    wall_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEnqueued(Event):
    """A configuration that the user wants tried before the searcher's."""

    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCreated(Event):
    """A trial exists.

    Attributes:
        draw: the searcher's position, so that a continued study never repeats a draw.
        allocation: what the policy answered; 0 devices in logs of form 1, where the configuration says how many.
    """

    trial_id: int
    config: Mapping[str, Any]
    seed: int
    bracket: int
    target: int
    source: str
    draw: int | None
    reason: str
    allocation: Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesReserved(Event):
    """From now on devices are drained for another candidate, see `decisions.Reservation`; older logs lack the event.

    A reservation ends when its candidate begins, which has an event of its own. `allocation` None: it ended otherwise.
    """

    trial_id: int | None
    draw: int | None
    allocation: Allocation | None
    target: int
    promoted_from: int | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStarted(Event):
    """A segment began on `slots` (device numbers of the pool), from `checkpoint` (a relative path) or from scratch."""

    trial_id: int
    segment: int
    allocation: Allocation
    slots: Sequence[int]
    checkpoint: str | None
    resource: int
    target: int
    promoted_from: int | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Event):
    """A measurement and the verdict on it, one fact. `level` is the rung decided here, None if nothing was decided."""

    trial_id: int
    segment: int
    resource: int
    values: Mapping[str, float]
    train_s: float
    device_s: float
    level: int | None
    verdict: str
    target: int
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """A checkpoint is complete on disk under `path` with this digest.

    `is_inside`: it is of the best report, inside an epoch. It has the weights, but no trial resumes from it.
    `is_end`: the training ended there by the user's own rule, as by early stopping, so the trial is complete.
    """

    trial_id: int
    segment: int
    path: str
    digest: str
    n_bytes: int
    resource: int
    train_s: float
    device_s: float
    is_inside: bool = False
    is_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRemoved(Event):
    """A checkpoint file is gone, and why. `path` tells which; the trial's newest may be another by now."""

    trial_id: int
    path: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEnded(Event):
    """A segment ended.

    Attributes:
        outcome: the text of an `Outcome`.
        state: the trial's state from now on, decided then and never again.
        error: the traceback or the cause; empty if there is none.
        wall_s: from the start request to the release of its devices. device_s: the same times devices.
        billed_usd: what the ledger charges for it; 0 without a price.
        world_size: real size of the process group, asserted inside the ranks; 0 if it never got that far.
        next_allocation: of its next segment, should there be one.
    """

    trial_id: int
    segment: int
    outcome: str
    state: str
    error: str
    wall_s: float
    device_s: float
    billed_usd: float
    world_size: int
    next_allocation: Allocation

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", storable(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """Something a reader of the story should know, such as a restart from scratch.

    `trial_id` None: about the whole study; such notes come once per `topic`, or per text if that is empty.
    """

    trial_id: int | None
    text: str
    topic: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", storable(self.text))


_TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        StudyCreated, SessionOpened, SessionClosed, ConfigEnqueued, TrialCreated, DevicesReserved, SegmentStarted,
        Reported, CheckpointSaved, CheckpointRemoved, SegmentEnded, Noted,
    )
}  # fmt: skip


def to_dict(event: Event) -> dict[str, Any]:
    """Returns plain data with the keys `type` and `form`, the number of the form.

    Floats may be NaN or infinite: encode with Python's own JSON dialect.
    """
    fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
    plain = {key: value.to_dict() if isinstance(value, Allocation) else value for key, value in fields.items()}
    kind = type(event).__name__
    return {"type": kind, "form": form_of(kind), **plain}


def from_json(text: str) -> Event:
    """Returns the event whose `to_dict` this JSON text holds.

    Raises:
        StorageError: as for `from_dict`.
        ValueError, RecursionError: it is no JSON.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or "\\" in text or not text.isprintable():
        return from_dict(data)
    return _event(data.pop("type", None), data.pop("form", 1), data)  # a text without escapes is storable as it is


def from_dict(data: Mapping[str, Any]) -> Event:
    """Returns the event that `to_dict` described.

    Raises:
        StorageError: a type or field that this version does not know, or a value that has another form.
    """
    if not isinstance(data, Mapping):
        raise StorageError(f"it is {reprlib.repr(data)}, where a mapping belongs: the log is damaged")
    fields = {key: storable_data(value) for key, value in data.items() if key not in ("type", "form")}
    return _event(data.get("type"), data.get("form", 1), fields)


def _event(kind: object, form: object, fields: dict[str, Any]) -> Event:
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise StorageError(f"it is of a kind that this version does not know, {kind!r}: a newer version wrote the log")
    if not isinstance(form, int) or isinstance(form, bool) or form < 1:
        raise StorageError(f"{kind} has the form {reprlib.repr(form)}: the log is damaged")
    if form > form_of(str(kind)):
        raise StorageError(f"{kind} has form {form}, this version knows {form_of(str(kind))}: a newer version wrote it")
    fields = upcast(str(kind), form, fields)
    known, needed = _names(str(kind))
    if unknown := [key for key in fields if key not in known]:
        raise StorageError(f"this version does not know the field {unknown[0]!r} of {kind}: a newer version wrote it")
    if missing := [key for key in needed if key not in fields]:
        raise StorageError(f"{kind} lacks the field {missing[0]!r}: the log is damaged")
    for key in ("allocation", "next_allocation"):
        if isinstance(fields.get(key), dict):
            try:
                fields[key] = Allocation.from_dict(fields[key])
            except ValueError as error:
                raise StorageError(f"{kind}: {key}: {error}: the log is damaged") from None
    if wrong := misfit(cls, fields):
        raise StorageError(f"{kind}: {wrong}: the log is damaged")
    return cls(**fields)


@functools.cache
def _names(kind: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Returns the names of all fields of a kind of event, and of those that have no default."""
    fields = dataclasses.fields(_TYPES[kind])
    return frozenset(field.name for field in fields), tuple(field.name for field in fields if _is_needed(field))


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
