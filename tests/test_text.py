"""Foreign text: what is escaped, what stays, and that old logs with any text can be read."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.text import MAX_TEXT, storable, storable_data

TEXTS = st.text(st.characters(categories=None), max_size=50)


@pytest.mark.parametrize(
    ("foreign", "stored"),
    [
        ("plain text, ümlauts, 漢字, 😀\n\tindented", "plain text, ümlauts, 漢字, 😀\n\tindented"),
        ("cannot read " + os.fsdecode(b"data_\xff.csv"), r"cannot read data_\udcff.csv"),
        ("half \ud83d of an emoji", r"half \ud83d of an emoji"),
        ("a\x00b", r"a\x00b"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("bell \x07, \x9b31m, \x7f", r"bell \x07, \x9b31m, \x7f"),
        ("50 %\r100 %\r\ndone", "50 %\n100 %\ndone"),
        ("name\u202egpj.exe", r"name\u202egpj.exe"),
        ("a\u2028b", "a\nb"),
    ],
)
def test_what_cannot_be_shown_is_escaped(foreign: str, stored: str) -> None:
    assert storable(foreign) == stored


@given(TEXTS)
def test_every_text_becomes_storable_and_stays_so(text: str) -> None:
    once = storable(text)
    once.encode("utf-8")
    assert once.replace("\n", "").replace("\t", "").isprintable() or not text.isascii()
    assert "\x00" not in once
    assert storable(once) == once


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=50))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize("unit", ["x", "\x00", "\udcff", "\n", "line of text\n"])
def test_a_long_text_keeps_its_beginning_and_its_end(unit: str) -> None:
    text = "ValueError: first " + unit * (2_000_000 // len(unit)) + " last"
    stored = storable(text)
    assert len(stored) <= MAX_TEXT
    assert stored.startswith("ValueError: first ")
    assert stored.endswith(" last")
    assert "characters left out" in stored
    assert storable(stored) == stored


def test_plain_data_is_cleaned_to_its_leaves_and_keeps_its_length() -> None:
    data = {"a\x00": ["\udcff", {"b": "c" * 50_000}], "n": 1.5, "none": None}
    assert storable_data(data) == {r"a\x00": [r"\udcff", {"b": "c" * 50_000}], "n": 1.5, "none": None}


BAD = ["\udcff", "a\x00", "\x1b[2J", "a\u202eb", "\ud800"]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: hwt.Choice(["good", text]),
        lambda text: hwt.Metric(text, "min"),
        lambda text: hwt.SearchSpace({text: hwt.Float(0, 1)}),
    ],
    ids=["option", "metric", "parameter"],
)
def test_names_and_options_that_cannot_be_shown_are_refused(make: Any, text: str) -> None:
    with pytest.raises(hwt.ArgumentError, match="control characters"):
        make(text)


@pytest.mark.parametrize("text", ["a\nb", "a\tb"])
def test_a_name_is_one_line_and_an_option_may_have_several(text: str) -> None:
    assert hwt.Choice(["good", text]).options == ("good", text)
    with pytest.raises(hwt.ArgumentError, match="one line"):
        hwt.Metric(text, "min")
    with pytest.raises(hwt.ArgumentError, match="one line"):
        hwt.SearchSpace({text: hwt.Float(0, 1)})


@pytest.mark.parametrize("text", ["cannot read \udcff", "\x00", "\x1b[2J", "x" * 100_000])
def test_events_of_old_logs_are_storable_once_read(text: str) -> None:
    end = ev.SegmentEnded(
        at=1.0, trial_id=0, segment=1, outcome="error", state="failed", error="", wall_s=1.0, device_s=1.0,
        billed_usd=0.0, world_size=1, next_allocation=Allocation(1),
    )  # fmt: skip
    body = json.dumps({**ev.to_dict(end), "error": text})
    read = ev.from_dict(json.loads(body))
    assert isinstance(read, ev.SegmentEnded)
    assert read.error == storable(text)
    note = ev.from_dict(json.loads(json.dumps({"type": "Noted", "at": 1.0, "trial_id": 0, "text": text})))
    assert isinstance(note, ev.Noted)
    assert note.text == storable(text)
    created = {"type": "TrialCreated", "at": 1.0, "trial_id": 0, "config": {"x\udcff": "\udcff"}, "seed": 1,
               "bracket": 0, "target": 1, "source": "", "draw": None, "reason": ""}  # fmt: skip
    trial = ev.from_dict(created)
    assert isinstance(trial, ev.TrialCreated)
    assert trial.config == {r"x\udcff": r"\udcff"}
