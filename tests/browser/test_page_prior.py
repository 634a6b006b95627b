"""The view of a searcher with a prior: what `hwtune prior show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
pytest.importorskip("sklearn")
from page_actions import Opened, show, table
from served_studies import served
from stored_study import store

from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.study import Study
from lightning_hwtune.web.report import report_page

pytestmark = pytest.mark.slow


def test_it_shows_what_the_prior_has_learned_and_its_weight(opened: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    store(folder, "earlier", n_trials=12)
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    prior = ParetoPrior.from_studies(Study.load("earlier", folder), objectives=objectives.names)
    store(folder, "later", n_trials=12, searcher=prior, objectives=objectives)
    wanted = StoredStudy.load("later", folder, None).prior()
    report = tmp_path / "report.html"
    report.write_text(report_page(StoredStudy.load("later", folder, None)), encoding="utf-8")
    with served(folder, tmp_path / "state") as server:
        for address in (f"{server.address}#study=later&view=searcher", f"{report.as_uri()}#view=searcher"):
            page = opened(address)
            page.locator("[aria-label='Earlier studies'] tbody tr").first.wait_for()
            assert table(page, "Earlier studies") == wanted["tasks"]
            weights = [list(row.values()) for row in table(page, "Weights of the prior")]
            assert weights == [[name, weight] for name, weight in wanted["trust"].items()]
            assert table(page, "The next draws") == wanted["draws"]
            assert f"{round(wanted['own_share'] * 100)} % come from TPE" in page.locator("#prior").inner_text()
        page = opened(f"{server.address}#study=earlier")
        page.locator("html[data-drawn=front]").wait_for(state="attached")
        show(page, "searcher", study="earlier")
        assert page.locator("#prior").is_hidden()
