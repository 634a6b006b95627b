"""Who may read what `hwtune serve` sends, and what it sends; the real server in its own process."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
from served_studies import Served, served
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored_study import store

from lightning_hwtune.cli.commands import app
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.inbox import Inbox
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.web.access import stored_token


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("studies")
    store(found, "first", 3)
    store(found, "second study", 5)
    return found


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(folder, tmp_path_factory.mktemp("state")) as found:
        yield found


def test_without_the_token_nothing_is_readable(server: Served) -> None:
    for path in ("/", "/?token=", "/?token=wrong", "/files/page.js", "/data/studies", "/data/study", "/events"):
        status, headers, text = server.get(path)
        assert status == 403, path
        assert "set-cookie" not in headers
        assert server.token not in text
    assert server.get("/data/studies", {"Cookie": f"hwtune_{server.port}={server.token}"})[0] == 403
    assert server.get("/data/studies?token=" + server.token)[0] == 403  # only the printed address takes it


def test_the_token_gives_a_cookie_that_scripts_and_other_sites_cannot_use(server: Served) -> None:
    status, headers, text = server.get(f"/?token={server.token}")
    assert (status, server.token in text) == (200, False)
    assert "HttpOnly; SameSite=Strict" in headers["set-cookie"]
    assert server.token not in headers["set-cookie"]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert server.get("/", server.cookie())[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_a_foreign_host_name_is_refused(server: Served, host: str) -> None:
    headers = {**server.cookie(), "Host": host.format(port=server.port)}
    assert server.get("/data/studies", headers)[0] == 400


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST"])
def test_names_of_this_machine_are_accepted(server: Served, host: str) -> None:
    assert server.get("/data/studies", {**server.cookie(), "Host": host.format(port=server.port)})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_requests_of_other_pages_are_refused(server: Served, headers: dict[str, str]) -> None:
    for path in ("/data/studies", "/files/page.js", "/events", f"/?token={server.token}"):
        status, sent, _ = server.get(path, {**server.cookie(), **headers})
        assert (status, "set-cookie" in sent) == (403, False), path


def test_it_only_reads(server: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert server.get("/data/studies", server.cookie(), method)[0] == 405


def test_without_the_option_nothing_can_be_changed(server: Served) -> None:
    origin = {"Origin": f"http://127.0.0.1:{server.port}", "x-hwtune-request": "1"}
    for path in ("/do/end", "/do/stop?trial=0", "/do/enqueue"):
        status, _, text = server.get(path, {**server.cookie(), **origin}, "POST")
        assert (status, "--control" in text) == (403, True), path
        assert server.get(path, server.cookie())[0] == 405, path


def test_only_the_page_itself_changes_a_study(tmp_path: Path) -> None:
    store(tmp_path, "first", 3)
    with served(tmp_path, tmp_path / "state", "--control") as server:
        origin, header = {"Origin": f"http://127.0.0.1:{server.port}"}, {"x-hwtune-request": "1"}
        cookie = server.cookie()
        foreign = {"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}, {"Origin": "http://evil.example"}
        other = [{**cookie, **header, **one} for one in foreign]
        site = {**cookie, **header, **origin, "Sec-Fetch-Site": "same-site"}
        for headers in ({}, cookie, {**cookie, **header}, {**cookie, **origin}, {**origin, **header}, site, *other):
            assert server.get("/do/stop?trial=1", headers, "POST")[0] == 403, headers
        assert server.get("/data/studies", {**cookie, **origin, **header}, "POST")[0] == 405
        own = {**cookie, **origin, **header}
        assert server.get("/do/stop?trial=77", own, "POST")[0] == 400
        assert server.get("/do/enqueue", own, "POST")[0] == 400
        status, _, text = server.get("/do/end", own, "POST")
        assert (status, "is not running" in text) == (400, True)
        found = json.loads(CliRunner().invoke(app, ["trials", "--dir", str(tmp_path), "--format", "json"]).stdout)
        paused = [entry["trial_id"] for entry in found if entry["state"] == "paused"]
        assert server.get(f"/do/stop?trial={paused[0]}", own, "POST")[0] == 200
        with EventLog.open(StudyFiles(tmp_path, "first"), create=True) as log:
            assert [data for _, data in Inbox(log).pending()] == [{"kind": "stop-trial", "trial_id": paused[0]}]


def test_the_studies_are_those_of_the_command(server: Served, folder: Path) -> None:
    printed = CliRunner().invoke(app, ["status", "--dir", str(folder), "--format", "json"]).stdout
    assert json.loads(server.get("/data/studies", server.cookie())[2]) == json.loads(printed)


def test_unknown_names_are_explained(server: Served) -> None:
    cookie = server.cookie()
    for path in ("/data/study?study=third", "/data/trial?study=first&trial=77", "/data/trial?study=first&trial=x"):
        status, _, text = server.get(path, cookie)
        assert status == 404, path
        assert json.loads(text)["error"]
    for path in ("/files/..%2Fpage.html", "/files/../app.py", "/files/%2e%2e", "/elsewhere"):
        assert server.get(path, cookie)[0] == 404, path


def test_a_stream_begins_after_the_last_event_id(server: Served) -> None:
    cookie = server.cookie()
    while "number" not in (whole := json.loads(server.get("/data/study?study=first", cookie)[2])):
        pass
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    known = whole["number"] - 1
    address = f"/events?study=first&after=1&study_id={whole['about']['study_id']}"
    connection.request("GET", address, headers={**cookie, "Last-Event-ID": str(known)})
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    lines = []
    while not lines or not lines[-1].startswith("data:"):
        lines.append(response.readline().decode())
    connection.close()
    assert f"id: {whole['number']}\n" in lines
    message = json.loads(lines[-1].removeprefix("data: "))
    assert len(message.get("trials", ())) <= 1
    assert message["status"] == whole["status"]


def test_a_token_is_kept_unless_others_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    first = stored_token(path)
    assert len(first) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert stored_token(path) == first
    path.chmod(0o644)
    assert stored_token(path) != first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_port_that_is_taken_and_a_foreign_address(server: Served, tmp_path: Path) -> None:
    store(tmp_path, "first", 1)
    for words, hint in (["--port", str(server.port)], "another one"), (["--host", "192.0.2.7"], "of this machine"):
        result = CliRunner().invoke(app, ["serve", "--dir", str(tmp_path), *words])
        assert result.exit_code == 1
        assert hint in result.output


def test_there_must_be_a_study(tmp_path: Path) -> None:
    for words in ([], ["--study", "absent"]):
        result = CliRunner().invoke(app, ["serve", "--dir", str(tmp_path), *words])
        assert result.exit_code == 1
        assert "no study" in result.output


def test_a_server_with_an_open_page_ends_without_an_error(folder: Path, tmp_path: Path) -> None:
    with served(folder, tmp_path) as own:
        connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=20)
        connection.request("GET", "/events?study=first", headers=own.cookie())
        response = connection.getresponse()
        response.readline()
        own.process.terminate()
        assert own.process.stdout is not None
        assert own.process.stdout.read() == "Ctrl-C ends the server, not the study\n"
        connection.close()
