"""A study in a notebook: its table, the table of its front, and the bar while it runs."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from paper_study import begin, make_spec

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.space import Choice
from lightning_hwtune.study import Study
from lightning_hwtune.views.front_frame import FrontFrame
from lightning_hwtune.views.notebook import study_html
from lightning_hwtune.views.tables import front_frame

CELLS = [
    """
import lightning_hwtune as hwt

def train(trial):
    for epoch in range(1, 4):
        if trial.report(epoch, loss=trial["lr"] + 1 / epoch).kind != "continue":
            return

study = hwt.Study("rates", {"lr": hwt.Float(0.0, 1.0)}, [hwt.Metric("loss", "min")],
                  scheduler=hwt.ASHA(max_epochs=3, first_rung=1))
study
""",
    'study.run(train, max_trials=9, executor="inline", check=False)',
    "study.front()",
]


class Cells(HTMLParser):
    """The texts of all cells, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip()


def test_a_study_is_a_small_table(paper):
    found = Cells(study_html(paper.state, is_driven=False))
    pairs = dict(zip(found.cells[::2], found.cells[1::2], strict=False))
    assert pairs["state"] == "finished"
    assert pairs["trials"] == "4 of 4 trials, 2 fully trained"
    assert pairs["recommended"].startswith("trial ")
    assert "0.25" in found.cells
    assert "script" not in found.tags


def test_names_cannot_be_markup():
    s = begin(make_spec(name="a<b>", objectives=Objectives([Metric("<i>", "min")])))
    s.create(0.0, 0, 0.01, 1)
    s.start(0.0, 0, [0])
    s.report(1.0, 0, 9, 0.1, 1.0, values={"<i>": 0.1}, level=9, verdict="stop")
    s.end(1.0, 0, "completed", 1.0)
    text = study_html(s.state, is_driven=False)
    assert not Cells(text).tags & {"b>", "i"}
    assert "study a&lt;b&gt;" in text


def test_a_front_is_a_table_without_its_last_columns(paper):
    text = FrontFrame(front_frame(paper.state))._repr_html_()
    assert text.endswith("<p>and the columns epochs, probability, within_noise, checkpoint</p>")
    assert "checkpoint" not in Cells(text).cells
    assert "train_s" in Cells(text).cells


def test_a_study_that_has_not_begun(tmp_path: Path):
    study = Study("new", {"lr": Choice([1, 2])}, [Metric("loss", "min")], max_epochs=1, dir=tmp_path)
    assert study._repr_html_() == "<p><b>study new</b> has not begun</p>"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_running_study_is_one_line_in_a_real_kernel(tmp_path: Path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    before, run, front = notebook.cells
    assert "has not begun" in before.outputs[-1].data["text/html"]
    bars = [item for item in run.outputs if item.output_type == "display_data"]
    assert [item.data["text/html"][:36] for item in bars] == ['<progress value="1.0000" max="1"></p'[:36]]
    assert "9 of 9 trials" in bars[0].data["text/plain"]
    printed = "".join(item.text for item in run.outputs if item.output_type == "stream")
    assert "paused" not in printed  # no line per verdict
    [result] = [item for item in run.outputs if item.output_type == "execute_result"]
    assert "9 of 9 trials" in result.data["text/html"]
    assert "<table" in front.outputs[-1].data["text/html"]
