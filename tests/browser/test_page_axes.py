"""The axes of the parameters: a range keeps its scale in a study of few trials; without bars there is no legend."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened, show
from served_studies import served
from stored_study import store

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.parameters import Choice, Float, Int
from lightning_hwtune.core.space import SearchSpace

pytestmark = pytest.mark.slow

SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), width=Int(8, 128, log=True), batch_size=Choice([64, 128, 256]))
OBJECTIVES = Objectives([Metric("error", "min")])


def labels(page: Any, parameter: str) -> list[str]:
    chart = page.locator(f"[aria-label='error over {parameter}']")
    return list(chart.locator("[aria-label='x-axis tick label'] text").all_text_contents())


def test_few_trials_have_axes_of_the_kind_that_the_space_says(opened: Opened, tmp_path: Path) -> None:
    store(tmp_path / "hwtune", "points", 8, space=SPACE, objectives=OBJECTIVES)
    with served(tmp_path / "hwtune", tmp_path / "state") as server:
        page = opened(server.address)
        show(page, "parameters")
        page.locator("#importance", has_text="at least 10 trials").wait_for()
        assert "Bars:" not in page.locator("#importance").inner_text()
        assert page.get_by_role("button", name="Compute again").count() == 0
        config = "hw.study.trials.map(one => one.config)"
        drawn = {name: sorted(one[name] for one in page.evaluate(config)) for name in ("lr", "width")}
        for name, values in drawn.items():
            found = labels(page, name)
            assert 2 <= len(found) <= 7
            ticks = [float(text.replace("−", "-")) for text in found]
            assert all(values[0] <= tick <= values[-1] for tick in ticks)
            assert set(ticks) != set(values)
        assert {float(text) % 1 for text in labels(page, "width")} == {0.0}
        assert set(labels(page, "batch_size")) <= {"64", "128", "256"}
        boxes = page.evaluate(
            "[...document.querySelectorAll(\"[aria-label='error over lr'] [aria-label='x-axis tick label'] text\")]"
            ".map(one => one.getBoundingClientRect()).map(one => [one.left, one.right])"
        )
        boxes.sort()
        assert all(right < left for (_, right), (left, _) in itertools.pairwise(boxes))
