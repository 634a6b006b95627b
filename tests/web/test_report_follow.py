"""`hwtune report --follow`: the file is written again while a process runs the study, and once more at the end."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
from stored import Stored

from lightning_hwtune.cli import report
from lightning_hwtune.cli.commands import app
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog


def number_of(page: str) -> int:
    """Returns the number of the newest event in a file."""
    found = re.search(r'id="stored">([^<]*)<', page)
    assert found is not None
    number: int = json.loads(gzip.decompress(base64.b64decode(found[1])))["number"]
    return number


def wait_for(path: Path, is_so: Callable[[str], bool]) -> str:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        if path.exists() and is_so(page := path.read_text(encoding="utf-8")):
            return page
        time.sleep(0.05)
    raise AssertionError("the file was not written again")


def test_the_file_follows_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_EVERY_S", 0.2)
    stored = Stored("0.2.0.dev0", "asha_three_counts")
    total, out, said = len(stored.events), tmp_path / "report.html", list[Any]()
    files = stored.put(tmp_path / "studies", total // 2)
    words = ["report", "--follow", "--dir", str(tmp_path / "studies"), "--out", str(out)]
    command = threading.Thread(target=lambda: said.append(CliRunner().invoke(app, words)))
    with EventLog.open(files, create=True) as log:
        log.count()
        with Lease(log).acquire(time.time()):
            command.start()
            page = wait_for(out, lambda page: number_of(page) == total // 2)
            assert '<meta http-equiv="refresh"' in page  # an open page loads it again
            list(log.read())
            log.append(stored.events[total // 2 :])
            wait_for(out, lambda page: number_of(page) == total)
            assert command.is_alive()
    command.join(60.0)
    assert said[0].exit_code == 0, said[0].output
    assert said[0].stdout.count("report.html") == 1
    assert '<meta http-equiv="refresh"' not in out.read_text(encoding="utf-8")
