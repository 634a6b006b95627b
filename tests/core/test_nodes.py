"""A pool on an instance type is one node per session: its events, its bill, the ledger, and limits of money."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.nodes import NodeRecord
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives
from lightning_hwtune.core.outlook import outlook
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.remaining import Remaining
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.amounts import money
from lightning_hwtune.views.announcements import opening, totals
from lightning_hwtune.views.forecast import TimeLeft
from lightning_hwtune.views.ledger import ledger_entry, ledger_rows
from lightning_hwtune.views.plots import ledger_figure
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.terminal import status_table

SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True))
BOX = InstanceType("box", 36.0, vcpus=4)  # one cent per second, no minimum
AWS = InstanceType("g4dn.12xlarge", 3.912, devices=4, provider="aws")


def spec(instance: InstanceType | None = BOX, **pool: Any) -> StudySpec:
    objectives = Objectives([Metric("error", "min"), Cost()])
    return StudySpec("s", SPACE, objectives, ASHA(27), Random(), Pool(instance=instance, **pool), seed=1)


def simulated(study: StudySpec, **limits: Any) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    state = simulate(study, SyntheticCurves(SPACE, 27), Limits(**limits), start_s=2.0, restore_s=1.0, sink=log.extend)
    return state, log


@functools.cache
def log_of(instance: InstanceType) -> list[ev.Event]:
    return simulated(spec(instance), max_trials=6)[1]


def folded(study: StudySpec, log: list[ev.Event]) -> StudyState:
    state = StudyState(study)
    for event in log:
        state.apply(ev.from_dict(json.loads(json.dumps(ev.to_dict(event)))))
    return state


def names(log: list[ev.Event], *kinds: type[ev.Event]) -> list[str]:
    return [type(event).__name__ for event in log if isinstance(event, kinds)]


SESSION = (ev.SessionOpened, ev.NodeRequested, ev.NodeReady, ev.NodeReleased, ev.NodeLost, ev.SessionClosed)


@pytest.mark.parametrize("instance", [BOX, AWS], ids=lambda item: item.name)
def test_a_session_is_one_node_from_its_opening_to_its_end(instance: InstanceType) -> None:
    log = log_of(instance)
    state = folded(spec(instance), log)
    assert names(log, *SESSION) == ["SessionOpened", "NodeRequested", "NodeReady", "NodeReleased", "SessionClosed"]
    [node] = state.nodes
    assert node.ended_s == state.wall_s(state.last_at) == log[-1].at
    assert node.billed_usd == bill(Node(instance, 0.0, log[-1].at), 0.0)
    assert state.billed_usd(state.last_at) == node.billed_usd
    assert {segment.node for segment in state.segments} == {0}


def test_the_ledger_is_the_sum_of_the_bills_and_its_lines_add_up() -> None:
    state = folded(spec(AWS), log_of(AWS))
    entry = ledger_entry(state, state.last_at)
    assert entry["total_usd"] == sum(node["billed_usd"] for node in entry["nodes"]) > 0
    parts = [entry[name] for name in ("training_usd", "overhead_usd", "idle_and_launch_usd")]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(entry["total_usd"], rel=1e-12)
    device_s = sum(segment.wall_s * segment.num_devices for segment in state.segments)
    assert parts[0] + parts[1] == pytest.approx(device_s * 3.912 / 4 / 3600, rel=1e-12)
    assert [row["line"] for row in ledger_rows(entry)][-2:] == ["idle and launch", "total"]
    status = status_entry(state, state.last_at, 0)
    assert (status["cost_usd"], status["idle_and_launch_usd"]) == (entry["total_usd"], entry["idle_and_launch_usd"])


def test_a_price_per_device_is_billed_by_segments_as_before() -> None:
    study = spec(None, accelerator="cpu", devices=4, usd_per_device_hour=9.0)
    state, log = simulated(study, max_trials=6)
    assert names(log, ev.NodeRequested, ev.NodeReady, ev.NodeReleased) == []
    assert state.billed_usd(state.last_at) == pytest.approx(sum(segment.billed_usd for segment in state.segments))
    entry = ledger_entry(state, state.last_at)
    assert entry["nodes"] == []
    assert entry["idle_and_launch_usd"] == 0.0
    assert [row["line"] for row in ledger_rows(entry)] == ["training", "start-ups, saving and lost work", "total"]
    assert "idle_and_launch_usd" not in status_entry(state, state.last_at, 0)


def test_a_pool_without_a_price_has_no_amounts() -> None:
    objectives = Objectives([Metric("error", "min")])
    study = dataclasses.replace(spec(), pool=Pool("cpu", 4), objectives=objectives)
    state, _ = simulated(study, max_trials=3)
    assert ledger_entry(state, state.last_at)["total_usd"] is None


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_nodes_without_a_price_have_no_amounts(accelerator: str) -> None:
    study = StudySpec(
        "s", SPACE, Objectives([Metric("error", "min")]), ASHA(27), Random(), Pool(accelerator, 2, nodes=2), seed=1
    )
    assert not study.has_price
    assert StudySpec.from_dict(study.to_dict()).pool == study.pool
    old = study.to_dict()
    old["pool"]["usd_per_device_hour"] = 0.0  # as in logs of earlier versions
    assert StudySpec.from_dict(old).pool == study.pool
    state = simulated(study, max_trials=4)[0]
    assert ledger_entry(state, state.last_at)["total_usd"] is None
    assert status_entry(state, state.last_at, 0)["cost_usd"] is None
    text = "\n".join(str(line) for line in opening(state, Path("s"), None, is_checked=True))
    assert "on 2 nodes" in text
    assert "USD" not in text
    with pytest.raises(ArgumentError, match="only with a price"):  # its values would all be 0
        dataclasses.replace(study, objectives=Objectives([Metric("error", "min"), Cost()]))


def test_nodes_with_a_price_keep_it() -> None:
    pool = Pool("cpu", 2, 0.5, nodes=2)
    assert pool.usd_per_device_hour == 0.5
    assert Pool(**pool.to_dict()) == pool


@given(st.integers(3, 60), st.floats(0, 1e5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_killed_session_is_billed_up_to_its_last_event(n_events: int, pause_s: float, trains_again: bool) -> None:
    study, log = spec(BOX), log_of(BOX)[:n_events]  # without a quantum, which would round up what a clock rounds
    state = folded(study, log)
    has_trained = any(isinstance(event, ev.SegmentStarted) for event in log)
    expected = bill(Node(BOX, 0.0, state.last_at), 0.0) if has_trained else 0.0
    assert state.billed_usd(state.last_at) == expected
    controller = Controller(state, log.extend)
    now = state.last_at + pause_s - 5e4  # another host has another clock
    controller.open(Limits(max_trials=6), now, "host", 1, "0")
    assert state.billed_usd(now) == expected
    if trains_again:
        controller.begin(controller.ask(now, 4), (0,), now)  # type: ignore[arg-type]
        expected += 1.0
    for trial_id in list(state.running):
        controller.tell(trial_id, now + 100.0, "interrupted")
    controller.close(now + 100.0, ev.SessionState.PAUSED, "")
    assert state.billed_usd(now + 100.0) == pytest.approx(expected, rel=1e-9)
    assert folded(study, log).billed_usd(now) == state.billed_usd(now)
    assert len(state.nodes) == 2
    assert not state.nodes_up


def test_a_session_that_trains_nothing_costs_nothing() -> None:
    study, log = spec(AWS), [*log_of(AWS)]
    state = folded(study, log)
    usd, controller = state.billed_usd(state.last_at), Controller(state, log.extend)
    controller.open(Limits(max_trials=6), 1e6, "host", 1, "0")
    controller.close(1e6 + 500.0, ev.SessionState.FINISHED, "")
    assert controller.state.billed_usd(1e6 + 500.0) == usd
    released = log[-2]
    assert isinstance(released, ev.NodeReleased)
    assert released.billed_usd == 0.0
    assert released.up_s == pytest.approx(500.0)


@pytest.mark.parametrize("usd", [0.07, 0.5, 2.0])
def test_a_limit_of_money_is_the_time_for_which_the_node_is_paid(usd: float) -> None:
    state, _ = simulated(spec(AWS), max_cost_usd=usd)
    assert 0.7 * usd <= state.billed_usd(state.last_at) <= usd
    assert state.closed is not None
    assert "USD" in state.closed.reason


def test_a_budget_below_the_minimum_of_a_node_begins_nothing() -> None:
    state, _ = simulated(spec(AWS), max_cost_usd=0.05)  # a minute costs 0.0652
    assert state.trials == []
    assert state.billed_usd(state.last_at) == 0.0


def test_the_first_of_two_limits_is_named() -> None:
    by_time, _ = simulated(spec(AWS), max_time_s=300.0, max_cost_usd=100.0)
    by_money, _ = simulated(spec(AWS), max_time_s=1e5, max_cost_usd=0.5)
    assert by_time.closed is not None
    assert "s are used" in by_time.closed.reason
    assert by_money.closed is not None
    assert "USD are spent" in by_money.closed.reason


def test_what_is_left_of_the_money_is_seconds_of_the_node() -> None:
    study, log = spec(BOX), list[ev.Event]()
    controller = Controller(StudyState(study), log.extend)
    controller.create(0.0)
    controller.open(Limits(max_cost_usd=10.0, max_time_s=5e4), 0.0, "host", 1, "0")
    left = Remaining(controller.state)
    assert (left.seconds(100.0), left.node_s(100.0)) == (900.0, 900.0)
    assert (left.whole_s, left.pool_s(100.0)) == (1000.0, 900.0)
    assert not left.is_time_first(100.0)


def test_a_forecast_under_a_limit_of_money_ends_when_the_node_is_paid_no_longer() -> None:
    study = spec(BOX)
    state = folded(study, log_of(BOX)[:-20])
    now, spent = state.last_at, state.billed_usd(state.last_at)
    state.limits = Limits(max_trials=1000, max_cost_usd=spent + 1.0).resolved(study)
    assert outlook(state, now, SeenPaces(state)).left_s == pytest.approx(100.0, abs=1e-6)
    assert state.billed_usd(now) == spent, "a forecast changes nothing"


def test_nodes_come_back_from_a_cache() -> None:
    study, log = spec(AWS), log_of(AWS)
    for part in (log[:3], log[:20], log):
        state = folded(study, part)
        again = facts_from_data(study, json.loads(json.dumps(facts_to_data(state))))
        assert (again.nodes, again.nodes_up) == (state.nodes, state.nodes_up)
        assert again.billed_usd(state.last_at) == state.billed_usd(state.last_at)


def test_a_lost_node_is_billed_as_its_event_says() -> None:
    study, log = spec(AWS), log_of(AWS)[:20]
    state = folded(study, log)
    state.apply(ev.NodeLost(at=state.last_at, node=0, up_s=50.0, billed_usd=0.0, reason="spot"))
    assert state.nodes[0].is_lost
    assert not state.nodes_up
    assert state.billed_usd(state.last_at) == 0.0
    assert ledger_entry(state, state.last_at)["nodes"][0]["state"] == "lost"


@pytest.mark.parametrize(
    "event", [ev.NodeRequested(at=0.0, node=3, instance=BOX.to_dict()), ev.NodeReady(at=0.0, node=1)]
)
def test_a_log_with_a_node_out_of_turn_is_damaged(event: ev.Event) -> None:
    with pytest.raises((ValueError, KeyError)):
        folded(spec(), log_of(BOX)[:3]).apply(event)


# ------------------------------------------------------------------------------ the picture


def areas(state: StudyState) -> dict[str, Any]:
    figure = ledger_figure(state)
    [axes] = figure.axes
    return {
        "legend": [text.get_text() for text in figure.legends[0].get_texts()],
        "total": float(axes.lines[0].get_ydata()[-1]),
        "rises": bool((np.diff(axes.lines[0].get_ydata()) >= 0).all()),
        "title": axes.get_title(loc="left"),
    }


def test_the_picture_of_a_ledger_ends_at_the_bill_and_never_falls() -> None:
    state, _ = simulated(spec(), max_trials=6)
    entry, found = ledger_entry(state, state.last_at), areas(state)
    assert found["total"] == pytest.approx(entry["total_usd"])
    assert found["rises"]
    assert found["title"] == f"s: {money(entry['total_usd'])}"
    overhead = f"start-ups, saving and lost work {money(entry['overhead_usd'])}"
    assert found["legend"] == [
        f"segments: training {money(entry['training_usd'])}, {overhead}",
        f"idle and launch {money(entry['idle_and_launch_usd'])}",
    ]


def test_the_picture_without_nodes_has_the_limit_instead_of_an_idle_part() -> None:
    pool = Pool("cpu", 2, usd_per_device_hour=36.0)
    state, _ = simulated(dataclasses.replace(spec(), pool=pool), max_trials=6, max_cost_usd=50.0)
    entry, found = ledger_entry(state, state.last_at), areas(state)
    assert found["total"] == pytest.approx(entry["total_usd"])
    assert found["legend"][1:] == ["max_cost"]
    assert ledger_figure(state).axes[0].lines[1].get_ydata()[0] == 50.0


def test_the_bill_of_a_node_at_an_earlier_time_keeps_its_minimum() -> None:
    node = NodeRecord(0, AWS, is_spot=False, launched_clock_s=10.0, has_trained=True)
    per_s = AWS.usd_per_hour / 3600
    assert [node.usd_until(at) for at in (5.0, 10.0)] == [0.0, 0.0]
    assert [node.usd_until(at) for at in (11.0, 100.0)] == pytest.approx([60 * per_s, 90 * per_s])
    node.ended_s, node.billed_usd = 50.0, 60 * per_s
    assert node.usd_until(1000.0) == node.billed_usd


def test_a_study_without_a_ready_node_waits_and_has_no_forecast() -> None:
    study = spec()
    [created, opened] = log_of(BOX)[:2]
    requested = [ev.NodeRequested(at=1.0, node=i, instance=BOX.to_dict(), rented_as=f"i-{i}") for i in (0, 1)]
    ready = [ev.NodeReady(at=2.0, node=i) for i in (0, 1)]
    lost = ev.NodeLost(at=5.0, node=0, up_s=4.0, billed_usd=0.04, reason="taken away")
    assert isinstance(opened, ev.SessionOpened)
    log: list[ev.Event] = [created, dataclasses.replace(opened, at=1.0), requested[0]]
    for more, waits in (([], True), ([ready[0]], False), ([lost], True), ([requested[1]], True), ([ready[1]], False)):
        log = [*log, *more]
        state = folded(study, log)
        entry, text = status_entry(state, 6.0, 0, left=TimeLeft(100.0)), totals(state, 6.0, 100.0)
        assert state.waits_for_nodes is waits
        assert entry.get("waits_for") == ("a node" if waits else None)
        assert entry["time_left_s"] == (None if waits else 100.0)
        assert ("waiting for a node" in text, "left" in text) == (waits, not waits)
        assert ("waits for" in next(iter(status_table(entry).columns))._cells) is waits
