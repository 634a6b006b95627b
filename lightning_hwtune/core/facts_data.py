"""The facts about a study as plain data, for a cache: rows of JSON values, one per trial and segment, as columns.

This is not a format that must be read by other versions. Its reader discards it if the code has changed, and folds the
log again.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.columns import packed, unpacked
from lightning_hwtune.core.decisions import Reservation
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.nodes import NodeRecord
from lightning_hwtune.core.record import Checkpoint, Measurement, TrialRecord, TrialState
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.study_clock import StudyClock

__all__ = ["facts_from_data", "facts_to_data"]

_T = TypeVar("_T")
_SETS = ("waiting", "topics", "skipped", "full", "to_end")
_PLAIN = (
    "study_id", "enqueued", "next_draw", "n_failed", "slowest_s", "slowest_report_s", "n_repeated", "ended_usd",
    "has_knee_first", "has_reference_count", "has_guard", "most_per_device", "is_renting", "stage_clock_s",
)  # fmt: skip


def facts_to_data(facts: StudyFacts) -> dict[str, Any]:
    """Returns the facts as JSON values; floats may be NaN or infinite."""
    places = {id(segment): place for place, segment in enumerate(facts.segments)}
    return {
        "trials": packed([_to_row(trial) for trial in facts.trials]),
        "segments": packed([_to_row(segment) for segment in facts.segments]),
        "added": [_to_row(trial) for trial in facts.added],
        "running": [places[id(segment)] for segment in facts.running.values()],
        "reserved": None if facts.reserved is None else _to_row(facts.reserved),
        "nodes": [node.to_dict() for node in facts.nodes],
        "notes": [ev.to_dict(note) for note in facts.notes],
        "session": None if facts.session is None else ev.to_dict(facts.session),
        "closed": None if facts.closed is None else ev.to_dict(facts.closed),
        "chosen": None if facts.chosen is None else ev.to_dict(facts.chosen),
        "stages": [ev.to_dict(stage) for stage in facts.stages],
        "search_limits": facts.search_limits.to_dict(),
        "clock": [getattr(facts.clock, name) for name in StudyClock.__slots__],
        **{name: sorted(getattr(facts, name)) for name in _SETS},
        **{name: getattr(facts, name) for name in _PLAIN},
    }


def facts_from_data(spec: StudySpec, data: Mapping[str, Any]) -> StudyFacts:
    """Returns the facts that `facts_to_data` described. Uses up the data.

    Args:
        spec: the study's settings, which are not part of the data.

    Raises:
        Exception: of any kind, if the data has another form.
    """
    facts = StudyFacts(spec)
    facts.trials = [_from_row(TrialRecord, row) for row in unpacked(data["trials"])]
    facts.added = [_from_row(TrialRecord, row) for row in data["added"]]
    facts.segments = [_from_row(Segment, row) for row in unpacked(data["segments"])]
    running = [facts.segments[place] for place in data["running"]]
    facts.running = {segment.trial_id: segment for segment in running}
    facts.reserved = None if data["reserved"] is None else _from_row(Reservation, data["reserved"])
    facts.nodes = [NodeRecord.from_dict(node) for node in data["nodes"]]
    facts.nodes_up = {node.number: node for node in facts.nodes if node.ended_s is None}
    facts.notes = [_event(ev.Noted, note) for note in data["notes"]]
    facts.session = None if data["session"] is None else _event(ev.SessionOpened, data["session"])
    facts.closed = None if data["closed"] is None else _event(ev.SessionClosed, data["closed"])
    facts.chosen = None if data["chosen"] is None else _event(ev.LadderChosen, data["chosen"])
    facts.stages = [_event(ev.StagePlanned, stage) for stage in data["stages"]]
    facts.searched = [trial for trial in facts.trials if not trial.is_replicate]
    facts.replicates = [trial for trial in facts.trials if trial.is_replicate and not trial.refit]
    facts.refits = [trial for trial in facts.trials if trial.refit]
    facts.search_limits = Limits(**data["search_limits"]).resolved(spec)
    if facts.session is not None:
        facts.limits = Limits(**facts.session.limits).resolved(spec)
    for name, value in zip(StudyClock.__slots__, data["clock"], strict=True):
        setattr(facts.clock, name, value)
    for name in _SETS:
        setattr(facts, name, set(data[name]))
    for name in _PLAIN:
        setattr(facts, name, data[name])
    return facts


@functools.cache
def _allocation(devices: int, nodes: int, instance: str, per_device: int) -> Allocation:
    return Allocation(devices, nodes, instance, per_device)


def _event(kind: type[_T], data: Mapping[str, Any]) -> _T:
    event = ev.from_dict(data)
    if not isinstance(event, kind):
        raise TypeError(f"a {kind.__name__} was expected, not a {type(event).__name__}")
    return event


def _to_row(item: TrialRecord | Segment | Reservation | Measurement | Checkpoint | Allocation) -> list[Any]:
    """Returns the values of all fields, in order."""
    kind: Any = type(item)
    values, conversions = _columns(kind)
    row = list(values(item))
    for place, convert in conversions:
        if row[place] is not None:
            row[place] = convert(row[place])
    return row


@functools.cache
def _columns(kind: Any) -> tuple[Callable[[Any], tuple[Any, ...]], list[tuple[int, Callable[[Any], Any]]]]:
    """Returns the function that gives the values of all fields, and the conversions of those at some places."""
    names = [field.name for field in dataclasses.fields(kind)]
    return operator.attrgetter(*names), [(names.index(name), _TO_PLAIN[name]) for name in names if name in _TO_PLAIN]


def _from_row(kind: type[_T], row: list[Any]) -> _T:
    for place, convert in _CONVERSIONS[kind]:
        if row[place] is not None:
            row[place] = convert(row[place])
    return kind(*row)


def _measurements(rows: list[list[Any]]) -> list[Measurement]:
    return [Measurement(*row) for row in rows]


_TO_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("allocation", "next_allocation"), _to_row),
    "checkpoint": _to_row,
    "best_checkpoint": _to_row,
    "measurements": lambda measurements: list(map(list, map(_columns(Measurement)[0], measurements))),
    **dict.fromkeys(("decided", "known_from"), lambda of_levels: list(of_levels.items())),
    "state": str,
}
_FROM_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("allocation", "next_allocation"), lambda row: _allocation(*row)),
    "checkpoint": lambda row: Checkpoint(*row),
    "best_checkpoint": lambda row: Checkpoint(*row),
    "measurements": _measurements,
    "decided": dict,
    "known_from": dict,
    "state": TrialState,
    "slots": tuple,
}
"""Field -> the conversion of a value that is not a JSON value."""
_CONVERSIONS: Mapping[type, list[tuple[int, Callable[[Any], Any]]]] = {
    kind: [
        (place, _FROM_PLAIN[field.name])
        for place, field in enumerate(dataclasses.fields(kind))
        if field.name in _FROM_PLAIN
    ]
    for kind in (TrialRecord, Segment, Reservation)
}
