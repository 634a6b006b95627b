"""What a page is sent: whole studies and what has changed, with the values of the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from page_model import PageModel
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored import Stored
from stored_study import store

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, Float, SearchSpace
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.web.watched import Position, Watched

VERSION = "0.2.0.dev0"
KINDS = ("trials", "curves", "segments")
CONDITIONAL = SearchSpace(
    lr=Float(1e-3, 1e-1, log=True), kind=Choice(["a", None]), depth=Float(0, 1, when={"kind": "a"})
)
FREE = Objectives([Metric("error", "min"), TrainSeconds()])
BOUNDED = Objectives([Metric("error", "min", at_most=0.115), TrainSeconds()])


def watched(folder: Path, name: str) -> Watched:
    found = Watched(StoredStudy.load(name, folder, None))
    found.refresh()
    return found


def printed(folder: Path, command: str) -> Any:
    result = CliRunner().invoke(app, [*command.split(), "--dir", str(folder), "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "parts",
    [{}, {"space": CONDITIONAL, "objectives": FREE}, {"objectives": BOUNDED}],
    ids=["plain", "conditional", "bounded"],
)
def test_the_page_has_the_values_of_the_commands(parts: dict[str, Any], tmp_path: Path) -> None:
    store(tmp_path, "digits", 12, diverging={3}, failing={5}, **parts)
    page = PageModel(watched(tmp_path, "digits").overview(KINDS))
    entries = [{**entry, "checkpoint": None} for entry in page.entries()]
    trials = [{**entry, "checkpoint": None} for entry in printed(tmp_path, "trials")]
    for entry, trial in zip(entries, trials, strict=True):
        entry.pop("train_s")
        entry.pop("draw")
        assert entry == {"reference": None, **trial}
    assert page.answers["front"]["front"] == printed(tmp_path, "front")
    assert page.answers["status"] == printed(tmp_path, "status")
    assert page.answers["ledger"] == printed(tmp_path, "ledger")


def test_one_trial_has_its_checkpoint_and_its_story(tmp_path: Path) -> None:
    store(tmp_path, "digits", 6)
    found = json.loads(watched(tmp_path, "digits").trial(2))
    assert found["entry"] == printed(tmp_path, "trials")[2]
    told = CliRunner().invoke(app, ["why", "2", "--dir", str(tmp_path)]).stdout
    assert found["story"] == told.rstrip("\n")


@pytest.mark.parametrize("name", ["asha_retries", "asha_three_counts", "hyperband", "asha_diverging"])
def test_a_page_that_follows_has_the_same_as_one_that_was_just_opened(name: str, tmp_path: Path) -> None:
    stored = Stored(VERSION, name)
    files = stored.put(tmp_path, 12)
    server = watched(tmp_path, name)
    page, position = PageModel(server.overview(KINDS)), server.position()
    away, left_at = PageModel(server.overview(KINDS)), Position(server.study_id, server.number)  # lost the server
    for first in range(12, len(stored.events), 37):
        with EventLog.open(files, create=True) as log:
            log.count()
            log.append(stored.events[first : first + 37])
        assert server.refresh()
        for answer in server._answers.values():
            answer.due_at = 0.0  # as if some time had passed
        server.refresh()
        message = server.message(position)
        assert message is not None
        page.apply(message)
    fresh = watched(tmp_path, name)
    late = fresh.message(left_at)  # of a server that was started meanwhile
    assert late is not None
    away.apply(late)
    whole = PageModel(fresh.overview(KINDS))
    for one in (page, away):
        assert (one.trials, one.curves, one.segments) == (whole.trials, whole.curves, whole.segments)
        assert one.answers == whole.answers
        assert one.number == whole.number == len(stored.events)


def test_only_what_has_changed_is_sent(tmp_path: Path) -> None:
    stored = Stored(VERSION, "asha_one_device")
    n_events = len(stored.events)
    stored.put(tmp_path)
    server = watched(tmp_path, stored.name)
    page = Position(server.study_id, n_events - 3)
    message = json.loads(server.message(page) or "")
    last = {event.trial_id for event in stored.events[-3:] if hasattr(event, "trial_id")}
    assert {row[0] for row in message.get("trials", ())} == last
    assert server.message(page) is None
    assert not server.refresh()


def test_a_page_of_another_study_or_of_the_future_starts_again(tmp_path: Path) -> None:
    store(tmp_path, "digits", 3)
    server = watched(tmp_path, "digits")
    for position in (Position("another", server.number), Position(server.study_id, server.number + 1)):
        assert json.loads(server.message(position) or "") == {"reset": True}
