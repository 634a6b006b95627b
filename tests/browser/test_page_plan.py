"""The budget of a study that runs by a plan: what was predicted, next to what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened, printed, table
from stored_study import store

from lightning_hwtune.planning.plan_file import PLAN, PlanFile, write_plan
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.web.report import report_page

pytestmark = pytest.mark.slow


def test_it_shows_what_the_plan_predicted_and_what_the_study_took(opened: Opened, tmp_path: Path) -> None:
    files = store(tmp_path, "digits", 9)
    plan = PlanFile("static", 12, "1", None, 2, {"name": "asha", "max_epochs": 9}, 30.0, 0.5, 25.0, 40.0, 60.0, None)
    report = tmp_path / "report.html"
    for is_planned in (False, True):
        if is_planned:
            write_plan(files.root / PLAN, plan)
        report.write_text(report_page(StoredStudy.load("digits", tmp_path, None)), encoding="utf-8")
        page = opened(f"{report.as_uri()}#view=budget")
        page.locator("html[data-drawn=budget]").wait_for(state="attached")
        assert page.locator("[aria-label='The plan']").count() == is_planned
    rows = {row.pop(""): row for row in table(page, "The plan")}
    for wanted in printed(tmp_path, "plan --compare digits --format json"):
        shown = rows[wanted["name"]]
        assert (shown["predicted"], shown["actual"]) == (wanted["predicted"], wanted["actual"])
        assert (shown["at least"], shown["at most"]) == (wanted["least"], wanted["most"])
    assert (rows["time"]["predicted"], rows["trials"]["actual"]) == (30.0, 9)
