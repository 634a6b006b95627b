from __future__ import annotations

import csv
import io
import json

import pytest

from lightning_hwtune.core import events as ev
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.export import events_text, front_text, json_text, trials_text, write_export


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_what_is_not_finite_becomes_null():
    assert strict(json_text({"a": [float("nan"), float("inf"), 1.5], "b": (1, None)})) == {
        "a": [None, None, 1.5],
        "b": [1, None],
    }


def test_trials(paper):
    records = strict(trials_text(paper.state))
    assert [r["trial_id"] for r in records] == [0, 1, 2, 3]
    assert records[2]["objectives"] == {"error": None, "train_s": 0.8, "cost_usd": 0.0016}
    table = rows(trials_text(paper.state, "csv"))
    assert [row["error"] for row in table] == ["0.25", "0.2", "", ""]
    assert table[3]["failure"] == "killed by signal 9"


def test_front(paper):
    assert [r["trial_id"] for r in strict(front_text(paper.state))] == [1, 0]
    assert [r["rung"] for r in strict(front_text(paper.state, at="rung"))] == [9, 9, 3, 3, 1]
    assert [(row["trial"], row["checkpoint"]) for row in rows(front_text(paper.state, "csv"))] == [
        ("1", "trials/001/3.ckpt"),
        ("0", "trials/000/2.ckpt"),
    ]


def test_numbers_survive_csv_exactly(paper):
    value = paper.state.trials[1].last.values["cost_usd"]
    assert float(rows(front_text(paper.state, "csv"))[0]["cost_usd"]) == value


def test_events_one_a_line(paper):
    lines = [strict(line) for line in events_text(paper.log).splitlines()]
    assert [line["type"] for line in lines] == [type(event).__name__ for event in paper.log]
    finite = [event for event in paper.log if not (isinstance(event, ev.Reported) and event.trial_id == 2)]
    assert ev.from_dict(lines[2]) == finite[2]
    table = rows(events_text(paper.log, "csv"))
    assert len(table) == len(lines)
    assert json.loads(table[2]["fields"])["reason"] == "draw 0 of the random searcher"


@pytest.mark.parametrize("ask", [trials_text, front_text])
def test_another_form_is_refused(paper, ask):
    with pytest.raises(ArgumentError, match="`form` is 'xml'; allowed: 'json' or 'csv'"):
        ask(paper.state, "xml")


def test_everything_into_a_folder_again_and_again(paper, tmp_path):
    for _ in range(2):
        paths = write_export(paper.state, paper.log, tmp_path / "out")
    assert sorted(path.name for path in paths) == [
        "events.jsonl",
        "front.csv",
        "front.json",
        "trials.csv",
        "trials.json",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    assert strict((tmp_path / "out" / "front.json").read_text())[0]["trial_id"] == 1
