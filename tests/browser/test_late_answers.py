"""Answers of the server that come late: what the user has left since then is neither drawn nor continued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened, go, show, table
from served_studies import Served, served
from stored_study import store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("both")
    store(folder, "first", 6)
    store(folder, "second", 9, seed=7)
    with served(folder, tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture
def page(both: Served, opened: Opened) -> Any:
    found = opened(f"{both.address}#study=first&view=trials")
    found.locator("html[data-drawn=trials]").wait_for(state="attached")
    return found


class Held:
    """Answers to one address that the server has sent, and that the page gets later."""

    def __init__(self, page: Any, address: str) -> None:
        self._page = page
        self.routes: list[Any] = []
        page.route(address, lambda route: self.routes.append(route))

    def wait(self, n_asked: int) -> None:
        """Waits until the page has asked so many times."""
        for _ in range(600):
            if len(self.routes) >= n_asked:
                return
            self._page.wait_for_timeout(50)
        raise AssertionError(f"the page asked {len(self.routes)} times")

    def release(self, number: int = 0, **answer: Any) -> None:
        """Answers a request, and gives the page time to act on it."""
        route = self.routes[number]
        with self._page.expect_response(lambda response: response.request == route.request) as found:
            route.fulfill(**answer) if answer else route.continue_()
        found.value.finished()
        self._page.wait_for_timeout(250)


def captions(page: Any) -> list[str]:
    found: list[str] = page.locator("main [role=region]").evaluate_all("all => all.map(one => one.ariaLabel)")
    return found


def test_a_list_of_studies_does_not_replace_the_view_after_it(page: Any) -> None:
    held = Held(page, "**/data/studies*")
    go(page, "studies", study="first")
    held.wait(1)
    show(page, "compare", study="first", **{"with": "second"})
    page.locator("[aria-label=Comparison] tbody tr").first.wait_for()
    held.release()
    assert captions(page) == ["Comparison"]


def test_a_study_that_was_left_is_not_shown_under_the_address_of_another(page: Any) -> None:
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
    held = Held(page, "**/data/study?study=second*")
    go(page, "trials", study="second")
    held.wait(1)
    show(page, "trials", study="first")
    held.release()
    assert page.evaluate("hw.study.about.study") == page.locator("#title").inner_text() == "first"
    assert len(table(page, "Trials")) == 6
    assert ["study=first" in url for url in streams] == [True]


def test_nothing_is_drawn_of_a_study_that_is_not_there_yet(page: Any) -> None:
    held = Held(page, "**/data/study?study=second*")
    page.set_viewport_size({"width": 900, "height": 700})  # draws the view again soon, as an event does
    go(page, "trials", study="second")
    held.wait(1)
    page.wait_for_timeout(250)  # no error is logged
    assert captions(page) == []
    held.release()
    page.locator("html[data-drawn=trials]").wait_for(state="attached")
    assert len(table(page, "Trials")) == 9


def test_a_study_that_is_loaded_again_can_be_used_meanwhile(page: Any) -> None:
    held = Held(page, "**/data/study?study=first*")
    reset = {"content_type": "text/event-stream", "body": 'data: {"reset": true}\n\n'}
    page.route("**/events?study=first*", lambda route: route.fulfill(**reset), times=1)
    show(page, "trials", study="second")
    go(page, "trials", study="first")
    held.wait(1)
    held.release()  # its stream begins with the reset
    held.wait(2)
    page.locator("thead button", has_text="error").click()
    errors = [row["error"] for row in table(page, "Trials")]
    assert errors == sorted(errors)
    held.release(1)
    page.locator("#live", has_text="live").wait_for()
    assert len(table(page, "Trials")) == 6


def test_a_comparison_that_was_left_is_not_continued(page: Any) -> None:
    address = "**/data/study?study=second*"
    held = Held(page, address)
    reading = {"status": 202, "content_type": "application/json", "body": '{"reading": "second", "events": 5}'}
    go(page, "compare", study="first", **{"with": "second"})
    held.wait(1)
    show(page, "trials", study="first")
    held.release(0, **reading)  # it would ask again after 0.3 s
    page.wait_for_timeout(400)
    assert len(held.routes) == 1
    assert captions(page) == ["Trials"]
    show(page, "compare", study="first", **{"with": "second"})
    held.wait(2)
    held.release(1, **reading)
    held.wait(3)  # the log is being read, and the comparison waits for it
    held.release(2)
    page.locator("[aria-label=Comparison] tbody tr").first.wait_for()


def test_an_older_story_does_not_replace_the_newer_one(page: Any) -> None:
    held = Held(page, "**/data/trial?*")
    show(page, "trial", study="first", trial="3")
    held.wait(1)
    page.evaluate("() => { hw.study.trials[3].retries += 1; }")
    page.set_viewport_size({"width": 900, "height": 700})  # draws the view again soon, as an event does
    held.wait(2)
    held.release(1)
    story = page.locator("#story ol").inner_text()
    held.release(0, json={"entry": None, "story": "trial 3\n\n  +0.1 s  an old story"})
    assert page.locator("#story ol").inner_text() == story


def test_the_importance_for_a_view_that_was_left_is_not_drawn(page: Any) -> None:
    pytest.importorskip("sklearn")
    held = Held(page, "**/data/importance*")
    show(page, "parameters", study="first")
    held.wait(1)
    show(page, "trials", study="second")
    page.evaluate(
        "() => { window.drawn = 0; const draw = hw.draw; hw.draw = (...a) => { drawn += 1; return draw(...a); }; }"
    )
    held.release()
    assert page.evaluate("drawn") == 0


def test_a_view_is_mounted_once_for_its_newest_address(page: Any) -> None:
    held = Held(page, "**/data/study?*with=curves*")
    go(page, "trial", study="first", trial="3")
    held.wait(1)
    go(page, "trial", study="first", trial="4")
    held.wait(2)
    held.release(1)
    page.locator("html[data-drawn=trial]").wait_for(state="attached")
    page.get_by_label("curve").select_option("train_s")
    held.release(0)
    assert page.locator("#trial").inner_text().startswith("Trial 4:")
    assert page.get_by_label("curve").input_value() == "train_s"


def test_the_page_continues_when_the_server_answers_again(page: Any) -> None:
    page.unroute_all()
    page.evaluate("() => { window.known = fetch; window.fetch = () => Promise.reject(new TypeError('no network')); }")
    go(page, "rungs", study="first")
    page.locator("main [role=alert]", has_text="does not answer").wait_for()
    page.evaluate("() => { window.fetch = known; }")
    page.locator("html[data-drawn=rungs]").wait_for(state="attached")
    assert json.loads(page.evaluate("JSON.stringify([...hw.study.loaded])")) == ["trials", "curves"]


def test_a_view_that_takes_long_is_drawn_less_often_and_the_head_at_once(page: Any) -> None:
    script = """async () => {
        let drawn = 0;
        mounted = {update() { drawn += 1; for (const from = performance.now(); performance.now() - from < 250;); }};
        for (let number = 1; number <= 20; number += 1) {
            hw.study.status = {...hw.study.status, trials: 1000 + number};
            changed();
            await hw.pause(100);
        }
        return [drawn, document.getElementById("summary").textContent];
    }"""
    drawn, summary = page.evaluate(script)
    assert drawn == 1
    assert summary.startswith("1020 ")
