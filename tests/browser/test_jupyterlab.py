"""A notebook in a real JupyterLab: what a study shows there, and that an interrupted cell keeps the kernel."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from local_server import free_port, serving

import lightning_hwtune as hwt

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")

pytestmark = pytest.mark.slow

LIMIT_S = 180.0
STUDY = """
import time
from pathlib import Path
import lightning_hwtune as hwt

def train(trial):
    for epoch in range((trial.load() or 0) + 1, 4):
        if trial.report(epoch, error=trial["x"] / epoch).kind != "continue":
            break
        trial.save(epoch)
        if trial.id == 2 and not Path("continue").exists():
            Path("waiting").touch()
            time.sleep(600)

study = hwt.Study("rates", hwt.SearchSpace(x=hwt.Float(0.0, 1.0)), [hwt.Metric("error", "min")],
                  scheduler=hwt.ASHA(max_epochs=3, first_rung=1), pool=hwt.Pool("cpu", devices=1))
study
"""
RUN = "study.run(train, max_trials=6, check=False)"
CELLS = [STUDY, RUN, "study.front()"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that shows a folder with one notebook."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "study.ipynb")
    port = free_port()
    places = {name: str(tmp_path / "jupyter" / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    options = ["--ServerApp.port_retries=0", "--IdentityProvider.token=known", f"--ServerApp.root_dir={tmp_path}"]
    quiet = ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        return answers(f"{address}/api?token=known")

    with serving([*command, *options, *quiet], tmp_path / "output", is_up, LIMIT_S, places):
        yield f"{address}/lab/tree/study.ipynb?token=known&reset"


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def wait_for_file(path: Path, page: Any) -> None:
    """Waits until the running cell has made a file."""
    deadline = time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < deadline, page.locator(".jp-Notebook").inner_text()
        page.wait_for_timeout(100)


@pytest.mark.timeout(800)
def test_a_study_shows_itself_and_continues_after_an_interrupt(lab: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 1200})
    page.set_default_timeout(LIMIT_S * 1000)
    page.goto(lab)
    page.locator(".jp-Notebook .jp-CodeCell").nth(2).wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    first, second, third = (page.locator(".jp-Notebook .jp-CodeCell").nth(number) for number in range(3))

    def run(cell: Any) -> None:
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")

    run(first)
    first.locator(".jp-OutputArea-output", has_text="has not begun").wait_for()
    run(second)
    wait_for_file(tmp_path / "waiting", page)
    page.get_by_role("button", name="Interrupt the kernel").click()
    second.locator(".jp-OutputArea-output", has_text="KeyboardInterrupt").wait_for()
    stopped = hwt.Study.load("rates", tmp_path / "hwtune").state()
    assert len(stopped.trials) == 3
    (tmp_path / "continue").touch()
    run(second)  # the same cell, in the same kernel
    second.locator(".jp-OutputArea-output", has_text="study rates is finished (6 trials").wait_for()
    assert "KeyboardInterrupt" not in second.inner_text()
    shown = second.locator(".jp-OutputArea-output table").first.inner_text()
    assert "6 of 6 trials" in shown
    run(third)
    third.locator(".jp-OutputArea-output table tbody tr").first.wait_for()
    [row] = third.locator("table tbody tr").all()
    [entry] = hwt.Study.load("rates", tmp_path / "hwtune").front().to_dict("records")
    values = row.locator("td, th").all_inner_texts()
    assert (values[0], float(values[1])) == (str(entry["trial"]), pytest.approx(entry["error"], rel=1e-4))
    page.close()
