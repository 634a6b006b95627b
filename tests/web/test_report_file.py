"""A study as one file: what it contains, its size, and the summary in Markdown."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from page_model import PageModel
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored_study import store

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.events import Event
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.web import report


def hwtune(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    return result.stdout


def stored_data(page: str) -> Any:
    found = re.search(r'id="stored">([^<]*)<', page)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_the_file_has_the_whole_study_and_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    store(tmp_path, "digits", 12, failing={2})
    hwtune(tmp_path, "report")
    page = (tmp_path / "digits" / "report.html").read_text(encoding="utf-8")
    data = stored_data(page)
    found = [{**entry, "checkpoint": None} for entry in PageModel(json.dumps(data)).entries()]
    trials = json.loads(hwtune(tmp_path, "trials", "--format", "json"))
    assert [entry["objectives"] for entry in found] == [trial["objectives"] for trial in trials]
    assert data["front"]["front"] == json.loads(hwtune(tmp_path, "front", "--format", "json"))
    assert data["importance"] == json.loads(hwtune(tmp_path, "importance", "--format", "json"))
    for trial_id in range(12):
        assert data["stories"][str(trial_id)] == hwtune(tmp_path, "why", str(trial_id)).rstrip("\n")
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "default-src 'none'" in page
    assert 'http-equiv="refresh"' not in page
    assert page.count("Permission to use, copy, modify") == 2  # the licences of d3 and Plot


@pytest.mark.slow
def test_a_thousand_trials_take_less_than_two_megabytes(tmp_path: Path) -> None:
    log: list[Event] = []
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), width=Int(8, 128), dropout=Float(0.0, 0.5))
    spec = StudySpec("big", space, Objectives([Metric("error", "min"), TrainSeconds()]), ASHA(27), Random(), pool())
    simulate(spec, SyntheticCurves(space, 27), Limits(max_trials=1000), sink=log.extend)
    with EventLog.open(StudyFiles(tmp_path, "big"), create=True) as stored:
        stored.append(log)
    hwtune(tmp_path, "report", "--out", str(tmp_path / "page.html"))
    page = tmp_path / "page.html"
    assert 600_000 < page.stat().st_size < 2_000_000
    assert len(stored_data(page.read_text(encoding="utf-8"))["stories"]) == 1000


def pool() -> Any:
    from lightning_hwtune.core.hardware.pool import Pool

    return Pool("cpu", 8)


def test_a_large_study_keeps_the_stories_of_its_best_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_STORIES", 3)
    store(tmp_path, "digits", 12)
    hwtune(tmp_path, "report")
    data = stored_data((tmp_path / "digits" / "report.html").read_text(encoding="utf-8"))
    assert len(data["stories"]) == 3
    assert str(data["front"]["front"][0]["trial_id"]) in data["stories"]


def test_the_summary_has_the_front(tmp_path: Path) -> None:
    store(tmp_path, "digits", 12)
    text = hwtune(tmp_path, "report", "--format", "markdown")
    front = json.loads(hwtune(tmp_path, "front", "--format", "json"))
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0]] == ["trial", "error", r"train\_s", r"cost\_usd", "devices", "lr"]
    assert [int(row[0]) for row in rows[2:]] == [entry["trial_id"] for entry in front]
    for row, entry in zip(rows[2:], front, strict=True):
        assert float(row[1]) == pytest.approx(entry["objectives"]["error"], rel=1e-3)
    assert "recommended: trial" in text
    hwtune(tmp_path, "report", "--format", "markdown", "--out", str(tmp_path / "summary.md"))
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == text


def test_names_cannot_break_the_table(tmp_path: Path) -> None:
    space = SearchSpace({"a|b": Float(0.0, 1.0), "lr": Float(1e-3, 1e-1, log=True)})
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    store(tmp_path, "digits", 6, space=space, objectives=objectives)
    rows = [line for line in hwtune(tmp_path, "report", "--format", "markdown").splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_a_study_without_a_full_training(tmp_path: Path) -> None:
    store(tmp_path, "digits", 1, failing={0})
    assert "the front is empty" in hwtune(tmp_path, "report", "--format", "markdown")
    hwtune(tmp_path, "report")
