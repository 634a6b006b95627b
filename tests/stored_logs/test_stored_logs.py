"""Studies that earlier versions began: each is read, shown by every command, and continued.

A simulated study is cut at several places, and the present code takes it on from there: with its segments still running
it must decide bit for bit what the version decided that wrote the log; after a kill it must come to a valid end, and on
one device to the same front.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from asked_study import asked_to_the_end
from make import FaultyExecutor, end_of
from simulated_studies import STUDIES, Formula
from stored import Stored, stored_studies

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.engine.session import Session
from lightning_hwtune.simulation.executor import SimulatedExecutor

ALL = stored_studies()
SIMULATED = [stored for stored in ALL if stored.calls]
ONE_DEVICE = ("asha_one_device", "asha_diverging", "asha_two_brackets_tpe", "median_stopping", "pasha", "prior")
QUESTIONS = [
    "status --format json", "trials --format json", "front --at any --format json", "why 0", "logs 0", "export",
]  # fmt: skip
FURTHER = [
    "status", "trials", "trials --format csv", "front", "front --at rung", "best", "best --format json", "rungs",
    "why 1",
]  # fmt: skip
SHOWN_BY_ALL = ("asha_three_counts", "asked", "sweep")
N_CUTS = 5
_SCALE = (
    "within a front, losses are scaled without the trials that are the worst in every objective, or whose loss exploded"
)
_PRIOR_LEARNS = (
    "later draws: the study's own trials compete with the earlier tasks, trust is separate for metrics and for time "
    "and money, and a prior of 20 points has less weight at the beginning"
)
DIFFERENT: dict[tuple[str, str], str] = {
    (version, name): why
    for version in ("0.1.0", "0.2.0.dev0")
    for name, why in (("asha_retries", _SCALE), ("asha_two_brackets_tpe", _SCALE), ("prior", _PRIOR_LEARNS))
}
"""(version, study) -> which decisions the present code takes otherwise, and why."""
UNSTORED_RESERVATIONS = ("0.1.0", "0.2.0.dev0")
"""Versions whose logs do not say for which trial devices are drained: cut meanwhile, a study may choose another one."""


def _of(studies: list[Stored]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stored", studies, ids=lambda stored: f"{stored.version}-{stored.name}")


def hwtune(folder: Path, command: str) -> str:
    result = CliRunner().invoke(app, [*command.split(), "--dir", str(folder)])
    assert result.exit_code == 0, (command, result.output, result.exception)
    return result.stdout


def test_each_version_has_all_studies() -> None:
    versions = {stored.version for stored in ALL}
    assert {"0.1.0", "0.2.0.dev0"} <= versions
    for version in versions:
        assert {stored.name for stored in ALL if stored.version == version} == {*STUDIES, "asked", "sweep"}


# ---------------------------------------------------------------------- reading


@_of(ALL)
def test_commands_work_on_a_whole_log(stored: Stored, tmp_path: Path) -> None:
    stored.put(tmp_path)
    commands = QUESTIONS + (FURTHER if stored.name in SHOWN_BY_ALL else [])
    shown = {command: hwtune(tmp_path, command) for command in commands}
    trials, front = json.loads(shown["trials --format json"]), hwt.Study.load(stored.name, dir=tmp_path).front()
    assert [[trial["state"], trial["epochs"]] for trial in trials] == stored.end["trials"]
    assert front["trial"].tolist() == [point["trial"] for point in stored.end["front"]]
    assert json.loads(shown["status --format json"])["front_size"] == len(front)
    assert (tmp_path / stored.name / "export" / "events.jsonl").is_file()


@_of(ALL)
def test_a_log_is_read_at_every_event(stored: Stored) -> None:
    """What a killed process left behind: the state says as much as the events do."""
    state = StudyState(stored.spec)
    for n_events, event in enumerate(stored.events, 1):
        state.apply(event)
        read = stored.events[:n_events]
        n_started = sum(isinstance(one, ev.SegmentStarted) for one in read)
        n_ended = sum(isinstance(one, ev.SegmentEnded) for one in read)
        assert len(state.running) == n_started - n_ended
        assert len(state.trials) == sum(isinstance(one, ev.TrialCreated) for one in read)


@_of(ALL)
def test_commands_work_on_the_log_of_a_killed_study(stored: Stored, tmp_path: Path) -> None:
    """Cut where a segment has just begun."""
    starts = [number for number, event in enumerate(stored.events, 1) if isinstance(event, ev.SegmentStarted)]
    stored.put(tmp_path, starts[len(starts) // 2])
    assert json.loads(hwtune(tmp_path, "status --format json"))["state"] == "interrupted"
    states = [trial["state"] for trial in json.loads(hwtune(tmp_path, "trials --format json"))]
    assert "running" in states


# ---------------------------------------------------------------------- continuing


class Square(Formula):
    """What the app of the sweep returns."""

    metrics = ("value",)

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"value": config["x"] ** 2}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)


@_of(SIMULATED)
def test_the_present_code_decides_what_was_decided(stored: Stored) -> None:
    if other := stored.other_libraries:
        pytest.skip(f"draws depend on {', '.join(other)}, which is not here in the same version")
    if (stored.version, stored.name) in DIFFERENT:
        assert stored.differences(0), "it decides the same again: take it out of DIFFERENT"
        return
    allowed = stored.unreserved_calls() if stored.version in UNSTORED_RESERVATIONS else range(len(stored.calls))
    cuts = sorted({allowed[share * len(allowed) // N_CUTS] for share in range(N_CUTS)})
    found = {cut: differences for cut in cuts if (differences := stored.differences(cut))}
    assert not found


@_of(SIMULATED)
def test_a_killed_study_is_continued_to_a_valid_end(stored: Stored, tmp_path: Path) -> None:
    files = stored.put(tmp_path, len(stored.events) // 2)
    study, clock = STUDIES[stored.name](), VirtualClock()
    clock.advance_to(stored.events[len(stored.events) // 2 - 1].at)
    with Session(stored.spec, files, study.limits, clock=clock) as session:
        inner = SimulatedExecutor(Formula(study.diverges_above), clock, failures=study.failures)
        executor = FaultyExecutor(inner, study.has_faults)
        session.finish(Loop(session.controller, executor, clock, NoFolder(), is_first_error_fatal=False).run())
    done = hwt.Study.load(stored.name, dir=tmp_path)
    state = done.state()
    assert all(done.why(trial.trial_id) for trial in state.trials)
    check_end(state, n_trials=len(stored.end["trials"]))
    if stored.name in ONE_DEVICE and not stored.other_libraries and (stored.version, stored.name) not in DIFFERENT:
        ended = end_of(state)
        assert ended["trials"] == stored.end["trials"]
        assert [point["trial"] for point in ended["front"]] == [point["trial"] for point in stored.end["front"]]
        for point, old in zip(ended["front"], stored.end["front"], strict=True):
            assert point == pytest.approx(old)


def check_end(state: StudyState, n_trials: int) -> None:
    """Asserts what holds of every study that has ended."""
    assert state.closed is not None
    assert state.closed.state == "finished"
    assert len(state.trials) == n_trials
    assert not state.running
    assert all(trial.state.is_final or trial.state is TrialState.PAUSED for trial in state.trials)
    assert end_of(state)["front"]


@pytest.mark.training
@pytest.mark.parametrize("version", sorted({stored.version for stored in ALL}))
def test_an_asked_study_is_asked_further(version: str, tmp_path: Path) -> None:
    stored = Stored(version, "asked")
    stored.put(tmp_path, len(stored.events) // 2)
    study = asked_to_the_end(tmp_path, fails=False)  # the number of finishers is not given: the stored one counts
    check_end(study.state(), n_trials=6)
    assert [[str(trial.state), trial.resource] for trial in study.state().trials] == stored.end["trials"]


@pytest.mark.parametrize("version", sorted({stored.version for stored in ALL}))
def test_a_sweep_is_continued(version: str, tmp_path: Path) -> None:
    """By a controller and a formula in place of the app; the study is whatever the log says."""
    stored = Stored(version, "sweep")
    files, clock = stored.put(tmp_path, len(stored.events) // 2), VirtualClock()
    clock.advance_to(stored.events[-1].at)
    limits = Limits(max_trials=5, finishers=2)
    with Session(stored.spec, files, limits, clock=clock) as session:
        executor = SimulatedExecutor(Square(), clock)
        session.finish(Loop(session.controller, executor, clock, NoFolder(), is_first_error_fatal=False).run())
    check_end(hwt.Study.load("sweep", dir=tmp_path).state(), n_trials=5)
