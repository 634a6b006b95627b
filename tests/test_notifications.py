"""The recipes of the page on notifications work as printed, with real servers on this host."""

from __future__ import annotations

import http.server
import json
import re
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_bench import run, small_study
from study_functions import plain
from wandb_files import stored_records

from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.event_callbacks import EventCallbacks

PAGE = Path(__file__).parents[1] / "docs" / "notifications.md"


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the modules of the page."""
    for name, text in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE.read_text("utf-8"), re.M | re.S):
        (tmp_path / name).write_text(text)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_slack(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, Any]] = []

    class Webhook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    def failing(trial: Any) -> None:
        if trial.id == 1:
            raise RuntimeError("no more luck")
        plain(trial)

    with serving(http.server.HTTPServer(("127.0.0.1", 0), Webhook)) as port:
        monkeypatch.setenv("SLACK_WEBHOOK", f"http://127.0.0.1:{port}/hook")
        study = small_study(Path("hwtune"), "points", max_retries=0)
        run(study, failing, max_trials=3, executor="inline", callbacks=["my_hooks:slack"])
    assert bodies[0] == {"text": "trial 1 failed: RuntimeError: no more luck"}
    assert len(bodies) == 2
    assert bodies[1]["text"].startswith("points is finished: ")
    assert "error" in bodies[1]["text"]
    assert [event.text for event in study.events() if isinstance(event, ev.Noted) and "callback" in event.text] == []


def test_email(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            is_data = False
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                lines.append(line)
                if is_data and line != ".":
                    continue
                is_data = line.upper() == "DATA"
                self.wfile.write(b"354 send it\r\n" if is_data else b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")
                if line == "QUIT":
                    return

    with serving(socketserver.TCPServer(("127.0.0.1", 0), Smtp)) as port:
        for name, value in {"FROM": "a@b.org", "TO": "c@d.org", "HOST": "127.0.0.1", "PORT": str(port)}.items():
            monkeypatch.setenv(f"MAIL_{name}", value)
        run(small_study(Path("hwtune")), plain, max_trials=1, executor="inline", callbacks=["my_mail:email"])
    assert "Subject: study points is finished" in lines
    assert "To: c@d.org" in lines


@pytest.mark.slow
def test_alerts_of_wandb(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2 as records

    def failing(trial: Any) -> None:
        if trial.id == 1:
            raise RuntimeError("no more luck")
        plain(trial)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "points")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # a busy machine may need long for the first run of W&B
    monkeypatch.setitem(EventCallbacks.__init__.__kwdefaults__, "end_s", 60.0)
    wandb.teardown()
    study = small_study(Path("hwtune"), "points", max_retries=0)
    run(study, failing, max_trials=2, executor="inline", callbacks=["my_alerts:alert"])
    wandb.teardown()
    alerts = []
    for path in sorted(recipes.glob("wandb/offline-run-*/*.wandb")):
        for data in stored_records(path.read_bytes()):
            record = records.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "alert":
                alerts.append((record.alert.title, record.alert.text, record.alert.level))
    assert sorted(alerts)[0][:1] == ("the study is finished",)
    assert ("trial 1 failed", "RuntimeError: no more luck", "ERROR") in alerts
    assert [event.text for event in study.events() if isinstance(event, ev.Noted) and "callback" in event.text] == []
