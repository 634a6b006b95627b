"""The mirror of a study in a real optuna-dashboard: its front is that of `hwtune front`."""

from __future__ import annotations

import json
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("optuna_dashboard")
from local_server import free_port, serving
from page_actions import printed
from stored import Stored
from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app

pytestmark = pytest.mark.slow

LIMIT_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a study whose front has several members."""
    stored = Stored("0.2.0.dev0", "asha_three_counts")
    stored.put(tmp_path / "studies", len(stored.events))
    return tmp_path / "studies"


@pytest.fixture
def dashboard(folder: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a dashboard that shows the mirror of the study."""
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    result = CliRunner().invoke(app, ["export", "--to", "optuna", storage, "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    port = free_port()
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), storage, "--port", str(port)]
    with serving(command, tmp_path / "output", lambda: is_open(port), LIMIT_S):
        yield f"http://127.0.0.1:{port}"


def is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def answer(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=LIMIT_S) as response:
        return json.load(response)


def test_its_front_is_ours(dashboard: str, folder: Path, browser: Any) -> None:
    front = {entry["trial_id"]: entry["objectives"] for entry in printed(folder, "front --format json")}
    assert len(front) >= 3
    [study] = answer(f"{dashboard}/api/studies")["study_summaries"]
    shown = answer(f"{dashboard}/api/studies/{study['study_id']}")["best_trials"]
    notes = {trial["number"]: {one["key"]: one["value"] for one in trial["user_attrs"]} for trial in shown}
    assert {number: json.loads(found["values"]) for number, found in notes.items()} == front
    page = browser.new_page()
    page.set_default_timeout(LIMIT_S * 1000)
    page.goto(f"{dashboard}/dashboard/studies/{study['study_id']}")
    page.get_by_text(re.compile("^Best Trials")).wait_for()
    for number in front:  # they are drawn after their heading
        page.get_by_text(re.compile(rf"^Trial {number}\b")).first.wait_for()
    text = page.locator("body").inner_text()
    page.close()
    assert sorted(map(int, re.findall(r"Trial (\d+)\s+Objective Values = ", text))) == sorted(front)
