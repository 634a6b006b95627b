"""The page in a real browser: its values are those of the commands, it follows the study, and it stays private."""

from __future__ import annotations

import http.server
import json
import math
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened, printed, show, table
from served_studies import Served, served
from stored import Stored
from stored_study import store
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.store.log import EventLog

pytestmark = pytest.mark.slow

VERSION = "0.2.0.dev0"
VIEWS = ("front", "trials", "rungs", "parameters", "searcher", "devices", "budget", "studies", "trial")


def test_every_view_has_the_values_of_the_commands(opened: Opened, server: Served, folder: Path) -> None:
    page = opened(server.address)
    front, trials = printed(folder, "front --format json"), printed(folder, "trials --format json")
    status = printed(folder, "status --format json")
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    assert page.url.endswith("/")  # without the token
    names = list(front[0]["objectives"])
    for row, entry in zip(table(page, "The front"), front, strict=True):
        assert (row["trial"], row["devices"], row["lr"]) == (entry["trial_id"], entry["devices"], entry["config"]["lr"])
        assert {name: row[name] for name in names} == entry["objectives"]
        assert row["probability"] == entry["probability"]
    assert f"{status['trials']} of {status['max_trials']} trials" in page.locator("#summary").inner_text()

    colours_show_a_third_objective(page, front)
    show(page, "trials")
    for row, entry in zip(table(page, "Trials"), trials, strict=True):
        assert {name: row[name] for name in names} == (entry["objectives"])
        for name in ("state", "epochs", "devices"):
            assert row[name] == entry[name]
        assert row["lr"] == entry["config"]["lr"]
        assert row["rungs"] == ", ".join(f"{level} {word}" for level, word in entry["rungs"].items())

    show(page, "rungs")
    for row in table(page, "Verdicts at each rung"):
        words = [entry["rungs"].get(str(row["rung"])) for entry in trials]
        assert row["judged"] == sum(word is not None for word in words)
        assert row["promoted"] == words.count("promoted")
        assert row["paused"] == words.count("paused")

    n_promoted = sum(list(entry["rungs"].values()).count("promoted") for entry in trials)
    arrows = page.locator("[aria-label^='Learning curves of'] [aria-label=dot]").last.locator("path")
    assert arrows.count() == n_promoted > 0

    show(page, "parameters")
    page.locator("#importance", has_text="of the variance of trials left out").wait_for()
    assert page.evaluate("hw.source.importance()") == printed(folder, "importance --format json")
    chart = page.locator("[aria-label='Importance of each parameter for error']")
    assert set(chart.locator("[aria-label='y-axis tick label'] text").all_text_contents()) == {"lr", "devices"}
    assert page.locator(".slices svg").count() == 2

    relations_agree(page, folder)
    show(page, "searcher")
    searched = hwt.Study.load("digits", folder).state().searched
    drawn = [trial for trial in searched if trial.draw is not None]
    assert page.locator("#draws").inner_text().startswith(f"{len(drawn)} trials drawn by the random searcher, ")
    shown = [(row["trial"], row["draw"], row["lr"]) for row in table(page, "The newest draws")]
    assert shown == [(trial.trial_id, trial.draw, trial.config["lr"]) for trial in reversed(drawn[-12:])]
    assert page.locator("[aria-label='Values of lr by trial'] circle").count() == len(drawn)
    show(page, "devices")
    assert page.locator("main .note").inner_text().startswith(f"{status['segments']} segments")
    page.evaluate("() => { for (const one of hw.study.segments.values()) one.node = one.slots[0]; }")
    page.get_by_label("show").select_option("the last hour")
    labels = page.locator("[aria-label^='Segments on'] [aria-label='y-axis tick label'] text").all_text_contents()
    assert labels[0] == "node 0: 0"
    show(page, "budget")
    assert page.evaluate("hw.study.status") == status
    assert page.evaluate("hw.study.ledger") == printed(folder, "ledger --format json")
    assert page.locator("[data-budget=trials]").inner_text() == f"{status['trials']} of {status['max_trials']}"
    assert page.locator("[data-fact=promotions]").inner_text() == str(status["promotions"])

    chosen = front[0]["trial_id"]
    show(page, "trial", trial=str(chosen))
    page.locator("#story ol").wait_for()
    assert page.locator("#trial").inner_text() == f"Trial {chosen}: completed, on the front"
    assert page.locator("[data-fact=lr]").get_attribute("title") == str(front[0]["config"]["lr"])
    told = re.sub(r"\s+", " ", printed(folder, f"why {chosen}").partition("\n\n")[2])
    shown = re.sub(r"\s+", " ", page.locator("#story").inner_text().partition("checkpoint: /")[0])
    assert shown.strip() == told.strip()


def colours_show_a_third_objective(page: Any, front: list[dict[str, Any]]) -> None:
    """Chooses the cost as the colour, and compares the colour of the cheapest fully trained trial."""
    page.get_by_label("colour").select_option("cost_usd")
    page.locator("main .legend", has_text="best cost_usd").wait_for()
    script = "hw.study.trials.filter(one => hw.study.isFull(one)).map(one => [one.objectives.cost_usd, one.trial_id])"
    cheapest = min(page.evaluate(script))[1]
    fills = page.locator(".chart > svg [aria-label=dot] path").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    assert (page.evaluate("hw.rankColor(0)") in fills) == (cheapest in [entry["trial_id"] for entry in front])


def relations_agree(page: Any, folder: Path) -> None:
    """Compares the pictures of two and of all parameters with the reports in the log."""
    state = hwt.Study.load("digits", folder).state()
    level = state.ladder.levels[0]
    found = {trial.trial_id: trial.at(level) for trial in state.searched}
    values = {i: known.values["error"] for i, known in found.items() if known and math.isfinite(known.values["error"])}
    best = min(values, key=lambda trial_id: values[trial_id])
    points = page.evaluate(f"hw.rungPoints(hw.study, 'error', {level}).map(p => [p.trial.trial_id, p.value, p.share])")
    assert {trial_id: value for trial_id, value, _ in points} == values
    assert [trial_id for trial_id, _, share in points if share == 0] == [best]
    dots = page.locator("[aria-label^='Rank of the error of each trial over'] [aria-label=dot] circle")
    assert dots.count() == len(values)
    assert dots.last.get_attribute("fill") == page.evaluate("hw.rankColor(0)")  # the best one is drawn last
    assert page.locator("[aria-label^='error over'][aria-label$=smoothed] [aria-label=rect] rect").count() > 100
    chart = page.locator("[aria-label^='All parameters and the error of']")
    assert chart.locator("[aria-label=line] path").count() == len(values)
    names = chart.locator("[aria-label='x-axis tick label'] text").all_text_contents()
    assert (set(names), names[-1]) == ({"lr", "devices", "error"}, "error")
    page.get_by_label("up").select_option("lr")
    page.locator("[aria-label='error over lr and lr, smoothed']").wait_for()


def test_two_studies_are_compared(opened: Opened, folder: Path, tmp_path: Path) -> None:
    store(tmp_path, "first", 20, finishers=4)
    store(tmp_path, "second", 9, seed=7, failing={1})
    with served(tmp_path, tmp_path / "state") as both:
        page = opened(both.address)
        page.locator("html[data-drawn=front]").wait_for(state="attached")
        names = [page.evaluate("hw.study.about.study")]
        names.append(({"first", "second"} - set(names)).pop())
        show(page, "studies")
        page.get_by_text(f"with {names[0]}").click()
        page.locator("html[data-drawn=compare]").wait_for(state="attached")
        page.locator("[aria-label='Comparison'] tbody tr").first.wait_for()
        script = "rows => rows.map(row => [...row.cells].map((one, i) => i ? one.dataset.value : one.textContent))"
        rows = page.locator("[aria-label='Comparison'] tbody tr").evaluate_all(script)
        shown = {name: [json.loads(one) for one in values] for name, *values in rows}
        for place, name in enumerate(names):
            status = printed(tmp_path, f"status --study {name} --format json")
            front = printed(tmp_path, f"front --study {name} --format json")
            assert shown["trials"][place] == status["trials"]
            assert shown["device time"][place] == status["device_s"]
            assert shown["best error on the front"][place] == min(entry["objectives"]["error"] for entry in front)
        assert page.locator(".chart > svg").count() == 1
        far = re.search(r"(\d+) other trials? outside", page.locator("main .note").inner_text())
        n_dots = page.locator(".chart > svg [aria-label=dot] > *").count()
        assert n_dots + int(far[1] if far else 0) == sum(shown["fully trained"])


def test_trials_are_sorted_and_filtered_by_keyboard(opened: Opened, server: Served, folder: Path) -> None:
    page, trials = opened(server.address), printed(folder, "trials --format json")
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    page.locator("nav a", has_text="Trials").focus()
    page.keyboard.press("Enter")
    page.locator("html[data-drawn=trials]").wait_for(state="attached")
    page.locator("thead button", has_text="error").focus()
    known = [entry["objectives"]["error"] for entry in trials if entry["objectives"]["error"] is not None]
    for ordered in (sorted(known), sorted(known, reverse=True)):
        page.keyboard.press("Enter")  # the header keeps the focus
        shown = [row["error"] for row in table(page, "Trials")]
        assert shown == ordered + [None] * (len(trials) - len(known))
    page.locator("#filter").fill("state=paused error<1.02")
    paused = [entry for entry in trials if entry["state"] == "paused" and entry["objectives"]["error"] is not None]
    wanted = {entry["trial_id"] for entry in paused if entry["objectives"]["error"] < 1.02}
    assert {row["trial"] for row in table(page, "Trials")} == wanted
    assert 0 < len(wanted) < len(trials)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(scheme: str, opened: Opened, server: Served) -> None:
    page = opened(server.address, color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    script = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert (max(page.evaluate(script)) < 60) == (scheme == "dark")
    for view in VIEWS:
        show(page, view, trial="3")
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view
        charts = page.evaluate("[...document.querySelectorAll('.chart > svg')].map(one => one.clientWidth)")
        assert all(280 <= width <= 360 for width in charts), view


def test_a_point_shows_its_configuration_and_opens_its_trial(opened: Opened, server: Served, folder: Path) -> None:
    page = opened(server.address)
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    advised = page.evaluate("hw.study.front.recommended.trial_id")
    config = next(one for one in printed(folder, "trials --format json") if one["trial_id"] == advised)["config"]
    script = """() => {
        const groups = [...document.querySelectorAll('.chart > svg [aria-label=dot]')];
        const ring = groups.at(-1).firstElementChild, box = ring.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }"""
    x, y = page.evaluate(script)
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y)
    tip = page.locator(".chart > svg [aria-label=tip]")
    tip.get_by_text("lr ").wait_for()
    told = tip.text_content()
    assert f"trial {advised}: completed" in told
    assert "device" in told
    assert f"lr {config['lr']:.4g}" in told
    page.mouse.click(x, y)
    page.locator("html[data-drawn=trial]").wait_for(state="attached")
    assert page.locator("#trial").inner_text().startswith(f"Trial {advised}:")


def test_it_follows_the_study_and_survives_a_restart_of_the_server(opened: Opened, tmp_path: Path) -> None:
    stored = Stored(VERSION, "asha_three_counts")
    total, state = len(stored.events), tmp_path / "state"
    half = total // 2
    files = stored.put(tmp_path / "studies", half)

    def add(number: int) -> None:
        with EventLog.open(files, create=True) as log:
            before = log.count()
            log.append(stored.events[before:number])

    def wait_for(number: int, within_s: float) -> float:
        begun = time.monotonic()
        page.wait_for_function("n => Number(document.documentElement.dataset.number) >= n", arg=number)
        taken = time.monotonic() - begun
        assert taken < within_s
        return taken

    requests: list[Any] = []
    with served(tmp_path / "studies", state) as first:
        page = opened(first.address, may_lose=True, bypass_csp=True)  # for `wait_for_function`
        page.on("request", lambda request: requests.append(request))
        page.locator("html[data-drawn=front]").wait_for(state="attached")
        page.locator("#live", has_text="live").wait_for()
        for number in range(half + 1, half + 4):
            add(number)
            wait_for(number, 2.0)
        show(page, "trials")
        add(half + 40)
        wait_for(half + 40, 2.0)
        port = first.port
    page.locator("#live.lost").wait_for()
    add(total)
    requests.clear()
    with served(tmp_path / "studies", state, port=port):
        wait_for(total, 20.0)
        page.locator("#live", has_text=re.compile("^live$")).wait_for()
        whole = [one for one in requests if "/data/study" in one.url]
        assert not whole  # only what was missed
        trials = printed(tmp_path / "studies", "trials --format json")
        for row, entry in zip(table(page, "Trials"), trials, strict=True):
            assert (row["trial"], row["state"], row["epochs"]) == (entry["trial_id"], entry["state"], entry["epochs"])
            assert row["error"] == entry["objectives"]["error"]
        assert page.evaluate("hw.study.front.front") == printed(tmp_path / "studies", "front --format json")


def test_other_pages_and_pages_without_the_token_get_nothing(opened: Opened, server: Served, browser: Any) -> None:
    page = opened(server.address)
    page.locator("html[data-drawn=front]").wait_for(state="attached")

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>elsewhere</title>")

        def log_message(self, *_: Any) -> None:
            return

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        foreign = page.context.new_page()  # in the browser that has our cookie
        foreign.goto(f"http://127.0.0.1:{other.server_port}/")
        script = """async address => {
            const kinds = [{credentials: 'include'}, {credentials: 'include', mode: 'no-cors'}];
            const asked = kinds.map(kind => fetch(address, kind).then(r => r.type + r.status, () => 'refused'));
            const found = await Promise.all(asked), image = new Image();
            const loaded = new Promise(done => {
                image.onload = () => done('loaded');
                image.onerror = () => done('refused');
            });
            image.src = new URL('/files/icon.svg', address);
            return [...found, await loaded];
        }"""
        answer = foreign.evaluate(script, f"http://127.0.0.1:{server.port}/data/studies")
        assert answer == ["refused", "refused", "refused"]
    finally:
        other.shutdown()
        other.server_close()
    context = browser.new_context()
    blank = context.new_page()
    response = blank.goto(f"http://127.0.0.1:{server.port}/")
    assert response.status == 403
    assert "token" in blank.locator("body").inner_text()
    context.close()


def test_a_foreign_name_that_points_to_this_machine_gets_nothing(server: Served, chromium: str, browser: Any) -> None:
    rule = "--host-resolver-rules=MAP rebound.example 127.0.0.1"
    rebound = browser.browser_type.launch(executable_path=chromium, args=["--no-sandbox", rule])
    response = rebound.new_page().goto(f"http://rebound.example:{server.port}/?token={server.token}")
    assert response.status == 400
    rebound.close()


def test_a_report_opens_from_the_disk_without_a_network(opened: Opened, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", "--dir", str(folder), "--out", str(path)]).exit_code == 0
    page = opened(path.as_uri(), offline=True)
    page.locator("html[data-drawn=front]").wait_for(state="attached")
    front, trials = printed(folder, "front --format json"), printed(folder, "trials --format json")
    assert page.evaluate("hw.study.front.front") == front
    show(page, "trials")
    assert [row["error"] for row in table(page, "Trials")] == [entry["objectives"]["error"] for entry in trials]
    for view, n_charts in {"rungs": 1, "devices": 1, "budget": 1, "parameters": 6, "searcher": 2}.items():
        show(page, view)
        assert page.locator(".chart > svg").count() == n_charts
    show(page, "trial", trial="3")
    page.locator("#story ol").wait_for()
    assert page.locator("#story li").count() >= 4
