"""What the page shows of measured quantities, bounds and the phases of segments: the file of one simulated study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("playwright")
from page_actions import show, table

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.events import Event
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Energy, Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, simulate
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.views.phases import PHASES, phases
from lightning_hwtune.web.report import report_page

pytestmark = pytest.mark.slow

SPACE = SearchSpace(lr=Float(1e-3, 1e-1, log=True), act=Choice(["relu", "gelu"]), devices=NumDevices(1, 2))


class Measured(SyntheticCurves):
    """Curves with the energy and the peak memory of a training."""

    metrics = ("error", "energy_j", "peak_memory")

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        found = SyntheticCurves.values(self, config, resource)
        return {**found, "energy_j": 900.0 * self.elapsed_s(config, resource, 1), "peak_memory": 1.26e9}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredStudy:
    """A study in which a bound cuts the front's picture, and segments are lost."""
    folder, log = tmp_path_factory.mktemp("measured"), list[Event]()
    spec = StudySpec(
        name="measured",
        space=SPACE,
        objectives=Objectives(
            [Metric("error", "min", at_most=0.3), Energy()], [Constraint("peak_memory", at_most="2GB")]
        ),
        scheduler=ASHA(9, first_rung=1),
        searcher=Random(),
        pool=Pool("gpu", 2, usd_per_device_hour=3.0),
    )
    simulate(spec, Measured(SPACE, 9, seed=2, unit_s=2.0), Limits(max_trials=20, finishers=4), start_s=3.0,
             failures=Failures(100.0), sink=log.extend)  # fmt: skip
    with EventLog.open(StudyFiles(folder, "measured"), create=True) as events:
        events.append(log)
    return StoredStudy.load("measured", folder, None)


@pytest.fixture(scope="module")
def page(stored: StoredStudy, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The file of its report, opened from disk. At the end it has logged no error and asked no server."""
    path, faults = tmp_path_factory.mktemp("report") / "report.html", list[str]()
    path.write_text(report_page(stored), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    found = context.new_page()
    found.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
    found.goto(path.as_uri())
    yield found
    context.close()
    assert not faults


def fact(page: Any, name: str) -> str:
    return str(page.locator(f"[data-fact='{name}']").inner_text())


def test_a_trial_shows_its_energy_its_memory_and_what_its_segments_took(page: Any, stored: StoredStudy) -> None:
    state = stored.state()
    trial_id = next(one.trial_id for one in state.segments if one.outcome == "lost")
    segments = [one for one in state.segments if one.trial_id == trial_id]
    show(page, "trial", trial=str(trial_id))
    page.locator("[data-fact=cost]").wait_for()
    last = state.trials[trial_id].last
    assert last is not None
    energy_j, usd = last.values["energy_j"], sum(one.billed_usd for one in segments)
    assert fact(page, "energy_j") == f"{energy_j / 1000:.3g} kJ"
    assert fact(page, "peak_memory") == "1.26 GB"
    assert fact(page, "cost") == page.evaluate(f"hw.dollars({usd!r})") != "$0"
    for place, name in enumerate(PHASES):
        device_s = sum(phases(one).seconds[place] * one.share for one in segments)
        assert page.locator(f"[data-fact='of it {name}']").count() == (device_s >= 0.01)
        if device_s >= 0.01:
            assert fact(page, f"of it {name}") == page.evaluate(f"hw.duration({device_s!r})")


def test_the_phases_of_segments_have_colours_and_fill_their_bars(page: Any, stored: StoredStudy) -> None:
    state = stored.state()
    seconds = [sum(phases(one).seconds[place] * one.share for one in state.segments) for place in range(len(PHASES))]
    assert seconds[0] > 0 < seconds[1]
    assert seconds[4] > 0
    show(page, "devices")
    legend = page.locator("main .legend").inner_text()
    assert [name in legend.split("\n") for name in PHASES if name != "training"] == [
        one > 0 for one in seconds[:1] + seconds[2:]
    ]
    whole = max(one.started_clock_s + one.wall_s for one in state.segments) * 2
    assert f": start-up {round(100 * seconds[0] / whole)} %, " in page.locator("main .note").last.inner_text()
    drawn = page.locator("[aria-label^='Segments on'] [aria-label=rect] rect")
    fills = set(drawn.evaluate_all("all => all.map(one => one.getAttribute('fill'))"))
    colors = page.evaluate("hw.colors().phases")
    assert {colors["start-up"], colors["lost"]} <= fills
    assert page.evaluate("hw.phases") == list(PHASES)

    show(page, "budget")
    legend = page.locator("main .legend").inner_text()
    for name, spent_s in zip(PHASES, seconds, strict=True):
        assert (f"{name}, {page.evaluate(f'hw.duration({spent_s!r})')}" in legend) == (spent_s > 0)


def test_the_budget_of_a_study_that_runs_has_the_range_of_its_forecast(page: Any) -> None:
    page.evaluate("() => { hw.study.status.time_left_s = 100; hw.study.status.time_left_range_s = [80, 150]; }")
    show(page, "budget")
    assert fact(page, "time left, by forecast") == "about 1 min 40 s"
    assert fact(page, "with a probability of 80 %") == "between 1 min 20 s and 2 min 30 s"
    page.evaluate("() => { hw.study.status.time_left_range_s = null; }")
    show(page, "budget")
    assert page.locator("[data-fact='with a probability of 80 %']").count() == 0


def test_numbers_of_points_do_not_cover_each_other_and_narrow_bars_leave_no_gap(page: Any) -> None:
    places = {1: [10, 10], 22: [20, 12], 3: [60, 12], 4: [12, 40]}
    script = "places => withRoom(Object.keys(places).map(id => ({trial_id: id})), one => places[one.trial_id])"
    assert [one["trial_id"] for one in page.evaluate(script, places)] == ["1", "3", "4"]  # 22 would cover 1
    bars = [{"x1": i / 4, "x2": (i + 1) / 4, "y1": 0, "segment": {"outcome": "done"}} for i in range(20)]
    joined = page.evaluate("bars => merged(bars, 1)", bars)  # four bars per pixel
    assert [(one["x1"], one["x2"]) for one in joined] == [(i * 0.75, min(i * 0.75 + 0.75, 5.0)) for i in range(7)]


def test_a_bound_is_shaded_and_amounts_have_units(page: Any) -> None:
    show(page, "front")
    page.get_by_label("show all trials").check()
    shaded = page.locator("[aria-label^='error over'] [aria-label=violated]")
    shaded.wait_for(state="attached")
    assert "error violates its bound of at most 0.3" in page.locator("main .legend").inner_text()
    assert "closer than the tolerance count as equal: energy_j 2 %" in page.locator("main .note").first.inner_text()
    show(page, "trials")
    cell = page.locator("[aria-label=Trials] td[data-column=peak_memory]").first
    assert cell.inner_text() == "1.26 GB"
    assert table(page, "Trials")[0]["peak_memory"] == 1.26e9


def test_the_tab_of_the_view_is_visible_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    show(page, "budget")
    box = page.locator("nav a[aria-current]").bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
    show(page, "front")
    box = page.locator("nav a[aria-current]").bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
    page.set_viewport_size({"width": 1100, "height": 800})
