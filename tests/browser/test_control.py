"""The buttons of `hwtune serve --control`, in a real browser, on a study that really runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened, show
from served_studies import served

import lightning_hwtune as hwt

pytestmark = [pytest.mark.slow, pytest.mark.training]

FUNCTIONS = """\
import time

def train(trial):
    print("x is", trial["x"], flush=True)
    trial.report(1, error=trial["x"])
    time.sleep(600)
"""
STUDY_FILE = """\
study: toy
train: functions:train
space:
  x: {type: float, low: 0, high: 1}
  kind: {type: choice, options: [plain, wide]}
objectives: [{metric: error, mode: min}]
scheduler: {name: asha, max_epochs: 3, first_rung: 3}
pool: {accelerator: cpu, devices: 1}
max_trials: 4
check: false
"""


@pytest.fixture
def process(tmp_path: Path) -> Any:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "study.yaml").write_text(STUDY_FILE)
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, "-m", "lightning_hwtune", "run", "study.yaml"]
        found = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out, env=dict(os.environ))
    yield found
    found.terminate()
    found.wait(60)


def wait_until(process: Any, folder: Path, is_so: Callable[[Any], bool]) -> Any:
    """Returns the state of the study once something is so."""
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "out").read_text()
        try:
            state = hwt.Study.load("toy", folder / "hwtune").state()
            if is_so(state):
                return state
        except hwt.HwTuneError:
            pass
        time.sleep(0.1)
    raise AssertionError((folder / "out").read_text())


def is_training(number: int) -> Callable[[Any], bool]:
    return lambda state: number in state.running and bool(state.trials[number].measurements)


def test_the_buttons_change_a_running_study(opened: Opened, process: Any, tmp_path: Path) -> None:
    wait_until(process, tmp_path, is_training(0))
    with served(tmp_path / "hwtune", tmp_path / "state", "--control") as server:
        page = opened(server.address, may_refuse=True)
        page.on("dialog", lambda dialog: dialog.accept())
        page.locator("html[data-drawn=front]").wait_for(state="attached")
        page.locator("nav a", has_text="Control").click()
        page.locator("html[data-drawn=control]").wait_for(state="attached")
        assert page.locator("#running").inner_text() == "0"

        page.locator("#enqueue input[name=x]").fill("7")
        page.get_by_role("button", name="Try this configuration next").click()
        page.get_by_text("allowed: a number from 0.0 to 1.0").wait_for()
        page.locator("#enqueue input[name=x]").fill("0.625")
        page.locator("#enqueue input[name=kind]").fill("wide")
        page.get_by_role("button", name="Try this configuration next").click()
        page.get_by_text("It is tried next.").wait_for()

        show(page, "trial", trial="0")
        page.get_by_role("button", name="Stop trial 0 for good").click()
        page.get_by_text("stopped for good: the user asked for it").first.wait_for()
        assert page.locator("#trial").inner_text() == "Trial 0: stopped"
        assert page.get_by_role("button", name="Stop trial 0 for good").is_hidden()
        state = wait_until(process, tmp_path, is_training(1))
        assert state.trials[1].config == {"x": 0.625, "kind": "wide"}

        show(page, "trial", trial="1")
        page.get_by_text("Output of the newest segment").click()
        page.locator("#output pre", has_text="x is 0.625").wait_for()

        show(page, "control")
        page.get_by_role("button", name="End the session").click()
        page.get_by_text("continue when the study is run again").wait_for()
        assert process.wait(60) == 0, (tmp_path / "out").read_text()
        page.locator("#state", has_text="interrupted").wait_for()
        page.get_by_role("button", name="End the session").click()
        page.get_by_text("is not running").wait_for()


def test_without_the_option_there_are_no_buttons(opened: Opened, server: Any) -> None:
    page = opened(server.address)
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    assert page.locator("nav a", has_text="Control").count() == 0
    show(page, "control")
    page.get_by_text("This server only reads").wait_for()
    assert page.locator("main button").count() == 0
