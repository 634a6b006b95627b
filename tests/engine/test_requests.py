"""Requests of other processes: what the loop does with them, with executors whose news the test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_loop import DONE, Bench, Scripted

from lightning_hwtune.core.decisions import Done, Rule
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.requests import EndSession, EnqueueConfig, StopTrial, request_to_dict
from lightning_hwtune.engine.executor import Abilities
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.errors import StorageError
from lightning_hwtune.training.channel import Ended


class Box:
    """An inbox in memory."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self.is_away = False

    def put(self, request: Any) -> None:
        data = request if isinstance(request, dict) else request_to_dict(request)
        self.content[f"{len(self.content)}"] = data

    def pending(self) -> list[tuple[str, Any]]:
        if self.is_away:
            raise StorageError("the server is away")
        return list(self.content.items())

    def remove(self, ids: list[str]) -> None:
        for number in ids:
            del self.content[number]


class Asked(Bench):
    """A loop with an inbox. Each look at the clock takes a second."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        super().__init__(folder, **limits)
        self.box = Box()
        self.loop = Loop(self.controller, self.executor, self.clock, self.files, inbox=self.box)  # type: ignore[arg-type]
        self.clock.now = self.later  # type: ignore[method-assign]

    def later(self) -> float:
        self.clock.time += 1.0
        return self.clock.time


@pytest.fixture
def bench(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_a_configuration_is_queued_once(bench: Asked) -> None:
    config = {"lr": 0.05, "batch_size": 32, "devices": 2}
    bench.box.put(EnqueueConfig(config))
    bench.box.put(EnqueueConfig(config))
    bench.box.put(EnqueueConfig({"lr": 99.0}))  # of a space that has changed since
    bench.loop.step()
    assert bench.state.enqueued[-1] == config
    assert len(bench.state.enqueued) == 3  # of four, one has begun
    assert bench.box.content == {}
    assert "a request was dropped" in bench.state.notes[-1].text


def test_a_running_trial_is_ended_at_once_and_a_paused_one_never_resumes(bench: Asked) -> None:
    bench.begin(2)
    checkpoint = bench.pause(0)
    bench.box.put(StopTrial(0))
    bench.box.put(StopTrial(1))
    bench.box.put(StopTrial(17))
    bench.executor.script = [lambda sink: sink.ended(1, 1, Ended(0, "interrupted", "", 0, False), 0)]
    with pytest.raises(IndexError):  # the script is over
        bench.loop.run()
    assert bench.executor.ends == [(1, "interrupted", "the user asked for it")]
    assert [trial.state for trial in bench.state.trials[:2]] == [TrialState.STOPPED] * 2
    assert checkpoint.exists()  # there is no disk budget
    assert bench.controller.race.promotable() is None


def test_where_segments_cannot_be_ended_a_trial_stops_at_its_next_report(bench: Asked) -> None:
    class Here(Scripted):
        abilities = Abilities()

    bench.loop = Loop(bench.controller, Here(), bench.clock, bench.files, inbox=bench.box)  # type: ignore[arg-type]
    bench.begin()
    bench.box.put(StopTrial(0))
    assert bench.report(0, 1, 0.5) == "stop"
    bench.loop.ended(0, 1, DONE, 1)
    assert bench.state.trials[0].state is TrialState.STOPPED
    assert bench.of_kind(type(bench.log[-1]))[-1].outcome == "done"


def test_a_session_ends_in_order_and_only_the_one_that_was_meant(bench: Asked) -> None:
    number = bench.state.session.number if bench.state.session else 0
    bench.box.put(EndSession(number + 1))
    bench.begin(2)
    assert bench.box.content == {}
    bench.box.put(EndSession(number))
    bench.executor.script = [lambda sink: None] * 3
    done = bench.loop.run()
    assert isinstance(done, Done)
    assert done.reason.rule == Rule.ASKED
    assert bench.executor.is_closed
    assert not bench.state.running
    assert {trial.state for trial in bench.state.trials} == {TrialState.WAITING}


def test_a_server_that_is_away_does_not_end_the_study(bench: Asked) -> None:
    bench.box.put(StopTrial(0))
    bench.box.is_away = True
    bench.begin()
    bench.box.is_away = False
    assert bench.report(0, 1, 0.5) == "pause"  # it does not look again at once
    bench.clock.time += 60.0
    bench.loop.step()
    assert bench.state.trials[0].stopped_because
