"""Foreign text: what is escaped, what stays, and that old logs with any text can be read."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.text import MAX_TEXT, brief, counted, storable, storable_data
from lightning_hwtune.training.channel import Ended, Note, storable_message

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


def test_an_error_and_a_note_lose_their_colors() -> None:
    text = "Weights only load failed. (1) \x1b[1mdo not\x1b[0m open \x1b[38;5;196mit\x1b[m."
    ended = Ended(rank=0, outcome=Outcome.ERROR, error=text, resource=0, reached_end=False)
    assert storable_message(ended).error == "Weights only load failed. (1) do not open it."
    assert storable_message(Note("\x1b[33mwarning\x1b[0m \x1b[2J")).text == "warning \\x1b[2J"


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


@pytest.mark.parametrize(
    ("n", "plural", "text"),
    [
        (1, "epochs", "1 epoch"),
        (0, "epochs", "0 epochs"),
        (2, "trials", "2 trials"),
        ("1", "samples", "1 sample"),
        ("1.5", "steps", "1.5 steps"),
        (1, "batches", "1 batch"),
        (1, "retries", "1 retry"),
        (1, "cpu devices", "1 cpu device"),
        (1, "fully trained trials", "1 fully trained trial"),
    ],
)
def test_a_number_has_its_noun(n: int | str, plural: str, text: str) -> None:
    assert counted(n, plural) == text


NOUNS = re.compile(
    r" (epochs|steps|samples|trials|devices|batches|parameters|objectives|configurations|combinations|ranks)\b"
)

ABBREVIATED = {"amounts.py", "quantities.py"}  # their units are "s" and "MB"


def _plurals_only(tree: ast.AST) -> Iterator[ast.JoinedStr]:
    """Yields the f-strings in which a number that may be 1 stands before a plural noun."""
    counted_ones = (node for node in ast.walk(tree) if isinstance(node, ast.IfExp) or _is_counted(node))
    chosen = {id(part) for node in counted_ones for part in ast.walk(node)}
    for text in ast.walk(tree):
        if not isinstance(text, ast.JoinedStr) or id(text) in chosen:
            continue
        before = ["", *(part.value if isinstance(part, ast.Constant) else "" for part in text.values)]
        for number, (part, after) in enumerate(itertools.pairwise(text.values)):
            if isinstance(part, ast.Constant) or re.search(r"\b(of|first|the|than|most|to) $", str(before[number])):
                continue
            noun = text.values[number + 2] if _is_blank(after) and len(text.values) > number + 2 else None
            is_unit = isinstance(noun, ast.FormattedValue) and ast.unparse(noun.value).endswith("unit")
            if is_unit or (isinstance(after, ast.Constant) and NOUNS.match(str(after.value))):
                yield text


def _is_counted(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted"


def _is_blank(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and part.value == " "


def test_every_message_has_a_singular() -> None:
    found = [
        f"{path}:{text.lineno}: {ast.unparse(text)}"
        for path in sorted(Path(hwt.__file__).parent.rglob("*.py"))
        if path.name not in ABBREVIATED
        for text in _plurals_only(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("one two", "one two"), ("one two three", "one two ..."), ("one twothree", "one ..."), ("x" * 20, "xxxxxxx ...")],
)
def test_a_line_is_cut_between_words(text: str, shown: str) -> None:
    assert brief(text, 11) == shown
