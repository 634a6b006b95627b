"""The facts in a study's log. State is a fold over them: replay applies them and never makes a decision again.

Every event is a frozen dataclass with the time `at` (seconds since the Unix epoch, or seconds of the virtual clock).
Its other fields are plain JSON data or an allocation. `to_dict` and `from_dict` are the only serialisation. Events in
an older form are converted to the current one (`core.upcasts`). Text from outside, such as an error, is made storable
when the event is made or read, so that it can be shown everywhere.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.event_forms import Shape
from lightning_hwtune.core.upcasts import form_of, upcast
from lightning_hwtune.errors import StorageError
from lightning_hwtune.text import storable, storable_data

__all__ = [
    "CheckpointRemoved",
    "CheckpointSaved",
    "ConfigEnqueued",
    "DevicesReserved",
    "Event",
    "LadderChosen",
    "NodeLost",
    "NodeReady",
    "NodeReleased",
    "NodeRequested",
    "Noted",
    "PackingChosen",
    "Reported",
    "ResultAdded",
    "SegmentEnded",
    "SegmentStarted",
    "SessionClosed",
    "SessionOpened",
    "SessionState",
    "StagePlanned",
    "StudyCreated",
    "Tested",
    "TrialCreated",
    "TrialStopped",
    "ValueNoted",
    "all_from_json",
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
    """The study began. `spec` has every setting that cannot be changed later, with defaults filled in.

    `study_id` identifies the study for good, whatever its folder is called; "" in logs of version 0.1.0.
    """

    study: str
    spec: Mapping[str, Any]
    study_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Event):
    """A process began to run the study under these limits (None means unlimited).

    Attributes:
        study_id: the id of the study, even if `StudyCreated` has none. number: of this session, increasing.
        folder: the absolute path of the study's folder on `host`.
        defaults: the limits that apply where the user gives none; they never change after the first session.
        replication: which trials this session trains again, how often, and whether as refits; empty for a session that
            searches.
        given: the names of the limits for which the user gave a value, here or in the session whose limits this one
            took over. None: an older version did not store them.
    """

    limits: Mapping[str, Any]
    host: str
    pid: int
    version: str
    study_id: str = ""
    number: int = 0
    folder: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    replication: Mapping[str, Any] = field(default_factory=dict)
    given: Sequence[str] | None = None


class SessionState(enum.StrEnum):
    """How a session ended."""

    FINISHED = "finished"  # nothing is left to do for the requested trials
    PAUSED = "paused"  # a limit of time or money was reached, or an ask-and-tell session was closed
    INTERRUPTED = "interrupted"  # by the user
    FAILED = "failed"  # by too many failed trials, or by an error of the session itself


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """The process stopped running the study after `wall_s` seconds. `state` is the value of a `SessionState`.

    Attributes:
        rule: by which the controller ended the session; empty if something else did.
    """

    state: str
    reason: str
    wall_s: float
    rule: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEnqueued(Event):
    """A configuration that the user wants to try before the searcher's."""

    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAdded(Event):
    """A result from elsewhere: all objectives of a configuration that was trained up to this resource, not here."""

    config: Mapping[str, Any]
    values: Mapping[str, float]
    resource: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderChosen(Event):
    """The settings of the ladder that the user left open were chosen, once, before the first trial.

    Older logs lack this event: their ladder is complete in `StudyCreated`.

    Attributes:
        settings: the chosen settings of the scheduler, by name.
        n_to_end: how many of the first trials train to the end without a pause.
        facts: what the choice was made from; see `core.ladder_choice.LadderFacts`.
        reason: the choice in words.
    """

    settings: Mapping[str, Any]
    n_to_end: int
    facts: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingChosen(Event):
    """The study chose how many trials share a GPU, by measured memory. Only studies with `per_device="auto"` do so.

    Attributes:
        per_device: the number of trials. reason: the choice in words.
        peak_bytes: the most memory of the trial of the check; 0 if it was not measured.
        total_bytes: the memory of the GPU.
    """

    per_device: int
    peak_bytes: int
    total_bytes: int
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlanned(Event):
    """The allocation policy planned a stage of successive halving. Only studies with such a policy have this event.

    Attributes:
        reached: the rung that the trials had reached; 0 before the first stage.
        trials, devices, up_to, nodes, seconds, rest_s, probe, is_first_wave, reason: the answer; see `StagePlan`.
        late_s: after this time, trials that have not arrived are late; 0 if the stage waits for all.
    """

    reached: int
    trials: int
    devices: int
    up_to: int
    nodes: int
    seconds: float
    rest_s: float
    probe: int
    is_first_wave: bool
    reason: str
    late_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRequested(Event):
    """A machine was launched, which is paid for from now on. Older logs, and pools without an instance type, have none.

    Attributes:
        node: its number in the study, from 0.
        instance: its type with its price, as `InstanceType.to_dict` gives it. A newer catalogue changes nothing.
        is_spot: whether its price is that of a spot node.
        rented_as: the provider's id of the node, which is billed from now on in any case; empty for the machine of a
            session, which costs nothing if the session trains nothing.
        devices: how many devices of it the pool uses; 0 for as many as each node of a pool with one kind.
    """

    node: int
    instance: Mapping[str, Any]
    is_spot: bool = False
    rented_as: str = ""
    devices: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReady(Event):
    """Segments can start on a node from now on."""

    node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReleased(Event):
    """A node was given back after `up_s` seconds. `billed_usd` is its whole bill."""

    node: int
    up_s: float
    billed_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost(Event):
    """The provider took a node away after `up_s` seconds, or it failed. `billed_usd` is its whole bill."""

    node: int
    up_s: float
    billed_usd: float
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCreated(Event):
    """A trial was created.

    Attributes:
        draw: the number of the searcher's draw, so that a continued study never repeats one.
        allocation: the policy's answer; 0 devices in logs of form 1, where the configuration has the count.
        replicate_of: the trial that it repeats with another seed; None for a trial of the search.
        refit: from where a refit of that trial begins, "scratch" or "checkpoint"; empty for any other trial.
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
    replicate_of: int | None = None
    refit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStopped(Event):
    """The user ended a trial for good. If it is running, its segment ends soon, which is another event."""

    trial_id: int
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesReserved(Event):
    """Devices are drained for another candidate from now on, see `decisions.Reservation`. Older logs lack this event.

    A reservation ends when its candidate begins, which has its own event. If it ends otherwise, `allocation` is None.
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
    """A measurement and its verdict, in one event.

    Attributes:
        values: of the objectives and constraints; seconds and cost are at the trial's reference count of devices.
        train_s, device_s: what the trial has really used.
        level: the rung decided here; None if nothing was decided.
        reference_factor: by what the seconds of this segment were multiplied to be seconds at the reference count.
        reference_basis: the value of a `Basis`, which says where the factor comes from.
        next_allocation: the devices to which a pause moves the trial; None if it keeps its devices.
        logged: the other numbers that the training has logged, if this report is at a rung or at the end.
    """

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
    reference_factor: float = 1.0
    reference_basis: str = ""
    next_allocation: Allocation | None = None
    logged: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """A checkpoint is complete on disk under `path` with this digest.

    `is_inside`: it was saved inside an epoch, at the best report. It has the weights, but no trial resumes from it.
    `is_end`: the training ended there by its own rule, such as early stopping, so the trial is complete.
    `reference_s`, `reference_device_s`: `train_s` and `device_s` at the reference count; None if they are the same.
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
    reference_s: float | None = None
    reference_device_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRemoved(Event):
    """A checkpoint file was deleted, and why. `path` identifies it; the trial may have a newer one by now."""

    trial_id: int
    path: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEnded(Event):
    """A segment ended.

    Attributes:
        outcome: the value of an `Outcome`.
        state: the trial's new state, decided at that moment and never again.
        error: the traceback or the cause; empty if there is none.
        wall_s: seconds from the start request to the release of the devices. device_s: `wall_s` times devices.
        billed_usd: the amount charged for the segment; 0 without a price.
        world_size: the actual size of the process group, checked inside the ranks; 0 if it never got that far.
        next_allocation: the allocation of the trial's next segment, if it gets one.
        max_per_device_batch: the most samples per device and batch of its next segments, since it ran out of memory
            with more; the rest of the global batch is accumulated. None for no limit.
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
    max_per_device_batch: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", storable(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """Something that a reader of the study's history should know, such as a restart from scratch.

    If `trial_id` is None, the note is about the whole study. It appears once per `topic`, or per text without a topic.
    """

    trial_id: int | None
    text: str
    topic: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", storable(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueNoted(Event):
    """The training called `trial.note(key, value)`. The newest value of a key counts. Older logs lack this event."""

    trial_id: int
    key: str
    value: str | float | bool | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", storable(self.key))
        object.__setattr__(self, "value", storable_data(self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested(Event):
    """A function of the user has tested a trial's checkpoint. The newest success counts. Older logs lack this event.

    Attributes:
        values: the results by name; empty after an error.
        error: the traceback or the cause; empty if there is none.
        digest: of the checkpoint file.
        function: the name of the function; empty in older logs.
    """

    trial_id: int
    values: Mapping[str, float]
    error: str
    digest: str
    function: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", storable(self.error))
        object.__setattr__(self, "function", storable(self.function))


_TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        StudyCreated, SessionOpened, SessionClosed, ConfigEnqueued, ResultAdded, LadderChosen, TrialCreated,
        PackingChosen, StagePlanned, NodeRequested, NodeReady, NodeReleased, NodeLost, DevicesReserved,
        TrialStopped,
        SegmentStarted, Reported, CheckpointSaved, CheckpointRemoved, SegmentEnded, Noted, ValueNoted, Tested,
    )
}  # fmt: skip


def to_dict(event: Event) -> dict[str, Any]:
    """Returns plain data with two more keys: `type`, and `form`, the version number of the event's form.

    Floats may be NaN or infinite: encode with Python's own JSON dialect.
    """
    fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
    plain = {key: value.to_dict() if isinstance(value, Allocation) else value for key, value in fields.items()}
    kind = type(event).__name__
    return {"type": kind, "form": form_of(kind), **plain}


def from_json(text: str) -> Event:
    """Returns the event whose `to_dict` is in this JSON text.

    Raises:
        StorageError: as for `from_dict`.
        ValueError, RecursionError: the text is not JSON.
    """
    return _from_parsed(json.loads(text), is_plain=_is_plain(text))


def all_from_json(texts: Sequence[str]) -> Iterator[Event]:
    """Yields the events of these texts as `from_json` does; parsing them in one call is quicker than one by one.

    Raises:
        StorageError, ValueError, RecursionError: as for `from_json`, once it is the turn of a damaged text.
    """
    joined = ",".join(texts)
    try:
        parsed = json.loads(f"[{joined}]")
    except (ValueError, RecursionError):
        parsed = []
    if len(parsed) != len(texts):  # one of them is damaged
        yield from map(from_json, texts)
        return
    is_plain = _is_plain(joined)
    for text, data in zip(texts, parsed, strict=True):
        yield _from_parsed(data, is_plain=is_plain or _is_plain(text))


def _is_plain(text: str) -> bool:
    """Returns whether a text has no escapes and no controls, so that all texts in it are storable."""
    return "\\" not in text and text.isprintable()


def _from_parsed(data: object, *, is_plain: bool) -> Event:
    if is_plain and isinstance(data, dict):
        return _event(data.pop("type", None), data.pop("form", 1), data)
    return from_dict(data)


def from_dict(data: object) -> Event:
    """Returns the event that `to_dict` described.

    Raises:
        StorageError: a type or field is unknown to this version, or a value has the wrong form.
    """
    if not isinstance(data, Mapping):
        raise StorageError(f"it is {reprlib.repr(data)} instead of a mapping: the log is damaged")
    fields = {key: storable_data(value) for key, value in data.items() if key not in ("type", "form")}
    return _event(data.get("type"), data.get("form", 1), fields)


def _event(kind: object, form: object, fields: dict[str, Any]) -> Event:
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise StorageError(f"its kind {kind!r} is unknown to this version: a newer version wrote the log")
    if not isinstance(form, int) or isinstance(form, bool) or form < 1:
        raise StorageError(f"{kind} has the form {reprlib.repr(form)}: the log is damaged")
    if form > form_of(str(kind)):
        raise StorageError(
            f"{kind} has form {form}, but this version reads forms up to {form_of(str(kind))}: a newer version wrote it"
        )
    shape = _shape(cls.__name__)
    fields = shape.converted(fields if form == form_of(str(kind)) else upcast(str(kind), form, fields))
    if not shape.fits(fields):
        raise StorageError(shape.complaint(fields))
    return cls(**fields)


@functools.cache
def _shape(kind: str) -> Shape:
    return Shape(_TYPES[kind])
