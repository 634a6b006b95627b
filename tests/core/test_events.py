"""Events: every type survives the log, whatever numbers it holds."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core import events
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.events import Event, Reported, from_dict, to_dict
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.errors import StorageError
from lightning_hwtune.text import storable

# by name: a class with slots replaces the one that `Event.__subclasses__` lists
NAMES = sorted({cls.__name__ for cls in Event.__subclasses__()})
TYPES: list[type[Event]] = [getattr(events, name) for name in NAMES]


def texts(max_size: int) -> st.SearchStrategy[str]:
    """Texts as the channel lets them through: other ones never reach an event."""
    return st.text(max_size=max_size).map(storable)


numbers = st.floats()  # NaN and the infinities among them
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), numbers, texts(5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(3), inner, max_size=3)),
    max_leaves=5,
)
allocations = st.builds(Allocation, st.integers(0, 64), st.integers(0, 4), texts(5))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "float": numbers,
    "float | None": st.none() | numbers,
    "bool": st.booleans(),
    "int": st.integers(0, 2**60),
    "int | None": st.none() | st.integers(0, 2**60),
    "str": texts(10),
    "str | None": st.none() | texts(10),
    "str | float | bool | None": st.none() | st.booleans() | numbers | texts(10),
    "Allocation": allocations,
    "Allocation | None": st.none() | allocations,
    "Mapping[str, Any]": st.dictionaries(texts(5), plain, max_size=4),
    "Mapping[str, float]": st.dictionaries(texts(5), numbers, max_size=4),
    "Sequence[str] | None": st.none() | st.lists(texts(5), max_size=4),
    "Sequence[int]": st.lists(st.integers(0, 64), max_size=4),
}


def an(event_type: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(event_type, **{f.name: FIELDS[str(f.type)] for f in dataclasses.fields(event_type)})


@pytest.mark.parametrize("event_type", TYPES)
@given(data=st.data())
@settings(max_examples=30)
def test_an_event_comes_back_from_json(event_type: type[Event], data: st.DataObject) -> None:
    event = data.draw(an(event_type))
    text = json.dumps(to_dict(event))
    again = from_dict(json.loads(text))
    assert type(again) is event_type
    assert repr(again) == repr(event)  # NaN is not equal to itself, but is written alike
    assert json.dumps(to_dict(again)) == text


def test_every_type_is_exported_and_known() -> None:
    assert set(NAMES) == {name for name in events.__all__ if name[0].isupper()} - {"Event", "SessionState"}
    assert len(NAMES) == 23


def test_numbers_that_are_not_finite_stay_what_they_are() -> None:
    event = Reported(
        at=1.0, trial_id=1, segment=1, resource=3, values={"a": math.nan, "b": math.inf, "c": -math.inf},
        train_s=2.5, device_s=5.0, level=3, verdict="pause", target=3, rule="pause", reason="rank 3 of 3",
    )  # fmt: skip
    values = from_dict(json.loads(json.dumps(to_dict(event)))).values  # type: ignore[attr-defined]
    assert math.isnan(values["a"])
    assert (values["b"], values["c"]) == (math.inf, -math.inf)


WRITTEN = [json.dumps(to_dict(events.Noted(at=1.0, trial_id=0, text=text))) for text in ("a", "b\\c", "\x1b", "\u202e")]
DAMAGED = ["", "{", "[1]", "1,2", "{},{}", "null", '{"type": "Noted"', "[" * 100_000]


def test_many_texts_give_the_events_of_each() -> None:
    assert list(events.all_from_json(WRITTEN)) == [events.from_json(text) for text in WRITTEN]
    assert list(events.all_from_json([])) == []


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda text: text[:10])
def test_a_damaged_text_among_many_is_refused_in_its_turn(damaged: str) -> None:
    read = events.all_from_json([*WRITTEN, damaged, WRITTEN[0]])
    assert [next(read) for _ in WRITTEN] == [events.from_json(text) for text in WRITTEN]
    with pytest.raises((StorageError, ValueError, RecursionError)):
        next(read)


def test_events_are_facts_that_nobody_changes() -> None:
    event = events.Noted(at=0.0, trial_id=None, text="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "y"  # type: ignore[misc]


NOTED = {"type": "Noted", "at": 0.0, "trial_id": None, "text": "x"}
STARTED = {
    "type": "SegmentStarted", "at": 0.0, "trial_id": 0, "segment": 1, "slots": [0, 1], "checkpoint": None,
    "resource": 0, "target": 3, "promoted_from": None, "rule": "new", "reason": "",
}  # fmt: skip
CREATED = {
    "type": "TrialCreated", "at": 0.0, "trial_id": 0, "config": {"x": 1}, "seed": 1, "bracket": 0, "target": 1,
    "source": "searcher", "draw": 0, "reason": "",
}  # fmt: skip
ENDED = {
    "type": "SegmentEnded", "at": 0.0, "trial_id": 0, "segment": 1, "outcome": "out-of-memory", "state": "infeasible",
    "error": "", "wall_s": 1.0, "device_s": 4.0, "billed_usd": 0.0, "world_size": 4, "next_devices": 4,
}  # fmt: skip
REPORTED = {
    "type": "Reported", "at": 1.0, "trial_id": 1, "segment": 1, "resource": 3, "values": {"a": 0.5}, "train_s": 2.5,
    "device_s": 5.0, "level": 3, "verdict": "pause", "target": 3, "rule": "pause", "reason": "rank 3 of 3",
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "Reborn", "at": 0.0}, "its kind 'Reborn' is unknown to this version: a newer version"),
        ({"at": 0.0}, "its kind None is unknown to this version"),
        ({"type": ["Noted"], "at": 0.0}, "is unknown to this version"),
        ({"type": "Event", "at": 0.0}, "its kind 'Event' is unknown to this version"),
        ({**NOTED, "colour": "red"}, "the field 'colour' of Noted is unknown to this version: a newer version"),
        ({"type": "Noted", "at": 0.0}, "Noted lacks the field 'trial_id': the log is damaged"),
        ({**NOTED, "text": 7}, "text is 7 instead of text"),
        ({**NOTED, "trial_id": "0"}, "trial_id is '0' instead of an integer or null"),
        ({**NOTED, "at": None}, "at is None instead of a number"),
        ({**NOTED, "at": True}, "at is True instead of a number"),
        ({**REPORTED, "values": [0.5]}, "values is .* instead of a mapping"),
        ({**REPORTED, "values": {"a": "low"}}, "values is .* instead of a mapping"),
        ({**REPORTED, "resource": 3.0}, "resource is 3.0 instead of an integer"),
        ({**REPORTED, "level": False}, "level is False instead of an integer or null"),
        ([], r"it is \[\] instead of a mapping"),
        ("Noted", "it is 'Noted' instead of a mapping"),
        (None, "it is None instead of a mapping"),
    ],
)
def test_what_is_damaged_or_newer_is_refused(data: Any, said: str) -> None:
    with pytest.raises(StorageError, match=said):
        from_dict(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**NOTED, "form": 2}, "Noted has form 2, but this version reads forms up to 1: a newer version wrote it"),
        ({**NOTED, "form": 0}, "Noted has the form 0: the log is damaged"),
        ({**NOTED, "form": True}, "Noted has the form True: the log is damaged"),
        ({**STARTED, "num_devices": "2"}, "allocation: .* is not an allocation: the log is damaged"),
        ({**STARTED, "num_devices": None}, "SegmentStarted lacks the field 'allocation': the log is damaged"),
        ({**STARTED, "form": 2, "num_devices": 1}, "the field 'num_devices' of SegmentStarted is unknown"),
        ({**STARTED, "form": 2, "allocation": {"devices": 2}}, "is not an allocation"),
        ({**STARTED, "form": 2, "allocation": 2}, "allocation is 2 instead of an allocation"),
    ],
)
def test_a_form_that_is_newer_or_damaged_is_refused(data: Any, said: str) -> None:
    with pytest.raises(StorageError, match=said):
        from_dict(data)


def test_older_forms_are_brought_up() -> None:
    started = from_dict({**STARTED, "num_devices": 2})
    assert isinstance(started, events.SegmentStarted)
    assert started.allocation == Allocation(2)
    created = from_dict(CREATED)
    assert isinstance(created, events.TrialCreated)
    assert created.allocation.devices == 0  # the configuration says it
    ended = from_dict(ENDED)
    assert isinstance(ended, events.SegmentEnded)
    assert (ended.state, ended.next_allocation) == ("out-of-memory", Allocation(4))
    assert created.replicate_of is None
    for event, form in ((started, 2), (created, 4), (ended, 3)):
        assert to_dict(event)["form"] == form
        assert from_dict(to_dict(event)) == event


def test_an_event_of_an_older_version_gets_the_new_fields() -> None:
    old = {"type": "SessionOpened", "at": 0.0, "limits": {}, "host": "h", "pid": 1, "version": "0.1.0"}
    event = from_dict(old)
    assert isinstance(event, events.SessionOpened)
    assert (event.study_id, event.number, event.folder, event.replication) == ("", 0, "", {})


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_its_text_in_the_log(outcome: Outcome) -> None:
    def ended(text: str) -> events.SegmentEnded:
        return events.SegmentEnded(
            at=1.0, trial_id=0, segment=1, outcome=text, state=TrialState.PAUSED, error="", wall_s=1.0, device_s=1.0,
            billed_usd=0.0, world_size=1, next_allocation=Allocation(1),
        )  # fmt: skip

    written = json.dumps(to_dict(ended(outcome)))
    assert written == json.dumps(to_dict(ended(outcome.value)))
    assert from_dict(json.loads(written)) == ended(outcome)
    assert f"{outcome}" == outcome.value


@pytest.mark.parametrize("state", events.SessionState)
def test_the_end_of_a_session_is_its_text_in_the_log(state: events.SessionState) -> None:
    closed = events.SessionClosed(at=1.0, state=state, reason="", wall_s=1.0)
    written = json.dumps(to_dict(closed))
    assert json.loads(written)["state"] == state.value
    assert from_dict(json.loads(written)) == closed
