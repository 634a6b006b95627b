from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from scripted_curves import ScriptedCurves, train

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Listed
from lightning_hwtune.core.space import Choice, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.executor import Failures, SimulatedExecutor, Speeds, simulate

SPACE = SearchSpace(x=Choice(list(range(10))))
ERROR = Objectives([Metric("error", "min")])
CONFIGS = [{"x": x} for x in range(10)]


def spec(*, devices: int = 1, scheduler: Scheduler | None = None, seed: int = 0, **changes: Any) -> StudySpec:
    parts: dict[str, Any] = {"space": SPACE, "objectives": ERROR, "searcher": Listed(CONFIGS), **changes}
    return StudySpec(
        name="study",
        scheduler=scheduler or ASHA(9, first_rung=1),
        pool=Pool("cpu", devices, 3.6),
        seed=seed,
        **parts,
    )


def simulated(study: StudySpec, limits: Limits | None = None, **options: Any) -> list[ev.Event]:
    log: list[ev.Event] = []
    simulate(study, options.pop("curves", ScriptedCurves()), limits or Limits(10), sink=log.extend, **options)
    return log


def shape(events: list[ev.Event]) -> list[str]:
    """Everything but clocks, machines and files."""
    own = {"at", "train_s", "device_s", "wall_s", "billed_usd", "path", "digest", "n_bytes", "checkpoint", "world_size"}
    session = (ev.StudyCreated, ev.SessionOpened, ev.SessionClosed)
    return [
        json.dumps({key: value for key, value in ev.to_dict(event).items() if key not in own})
        for event in events
        if not isinstance(event, session)
    ]


@pytest.mark.training
@pytest.mark.parametrize("scheduler", [ASHA(9, first_rung=1), ASHA(9, first_rung=1, type="stopping"), RunToEnd(9)])
def test_a_simulated_study_writes_the_log_of_a_real_one(tmp_path: Path, scheduler: Scheduler) -> None:
    study = hwt.Study(
        "study", SPACE, [Metric("error", "min")], scheduler=scheduler, searcher=Listed(CONFIGS[3:9]),
        pool=Pool("cpu", 1, 3.6), dir=tmp_path,
    )  # fmt: skip
    study.run(train, max_trials=6, progress=False, check=False)
    log = simulated(spec(scheduler=scheduler, searcher=Listed(CONFIGS[3:9])), Limits(6))
    assert shape(log) == shape(study.events())
    assert len(log) > 20


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    devices=st.integers(1, 4),
    rule=st.sampled_from(["promotion", "stopping"]),
    start_s=st.sampled_from([0.0, 0.3, 5.0]),
    mean_s=st.sampled_from([None, 5.0, 50.0]),
)
def test_the_same_seed_gives_the_same_log_and_never_more_than_the_pool(
    seed: int, devices: int, rule: str, start_s: float, mean_s: float | None
) -> None:
    study = spec(devices=devices, seed=seed, scheduler=ASHA(9, first_rung=1, type=rule), max_failures=100)
    failures = None if mean_s is None else Failures(mean_s, seed)
    first, second = (simulated(study, start_s=start_s, failures=failures) for _ in range(2))
    assert list(map(repr, first)) == list(map(repr, second))
    used: set[int] = set()
    holders: dict[int, set[int]] = {}
    for event in first:
        if isinstance(event, ev.SegmentStarted):
            assert not used & set(event.slots)
            used |= set(event.slots)
            holders[event.trial_id] = set(event.slots)
        elif isinstance(event, ev.SegmentEnded):
            used -= holders[event.trial_id]
    assert not used
    assert [e.at for e in first] == sorted(e.at for e in first)


def test_start_and_restore_hold_the_device_but_are_no_training_time() -> None:
    log = simulated(spec(), Limits(4), start_s=10.0, restore_s=5.0)
    starts = {(e.trial_id, e.segment): e for e in log if isinstance(e, ev.SegmentStarted)}
    resumed = [e for e in starts.values() if e.checkpoint is not None]
    assert resumed
    for end in (e for e in log if isinstance(e, ev.SegmentEnded)):
        start = starts[end.trial_id, end.segment]
        last = max(e.resource for e in log if isinstance(e, ev.Reported) and e.trial_id == end.trial_id
                   and e.segment == end.segment)  # fmt: skip
        waited_s = 15.0 if start.checkpoint is not None else 10.0
        assert end.wall_s == pytest.approx(waited_s + last - start.resource)
    for report in (e for e in log if isinstance(e, ev.Reported)):
        assert report.train_s == pytest.approx(report.resource)


def test_a_lost_segment_goes_on_from_its_last_checkpoint() -> None:
    state = simulate(
        spec(max_retries=50, max_failures=1000), ScriptedCurves(), Limits(10), failures=Failures(8.0, seed=3)
    )
    lost = [segment for segment in state.segments if segment.outcome == "lost"]
    assert lost
    assert {trial.state for trial in state.trials} <= {TrialState.PAUSED, TrialState.COMPLETED}
    for segment in lost:
        later = [s for s in state.segments if s.trial_id == segment.trial_id and s.number == segment.number + 1]
        assert [s.resource for s in later] == [segment.resource]
        assert segment.wall_s < 9


def test_without_retries_losses_end_the_study() -> None:
    state = simulate(spec(max_retries=0, max_failures=2), ScriptedCurves(), Limits(10), failures=Failures(1e-3))
    assert state.n_failed == 2
    assert state.closed is not None
    assert "max_failures" in state.closed.reason


def test_more_devices_are_faster_and_cost_what_the_pool_says() -> None:
    space = SearchSpace(x=Choice(list(range(10))), devices=NumDevices(1, 2))
    configs = [{"x": 1, "devices": 1}, {"x": 1, "devices": 2}]
    objectives = Objectives([Metric("error", "min"), TrainSeconds(), Cost()])
    study = spec(devices=3, space=space, objectives=objectives, searcher=Listed(configs), scheduler=RunToEnd(9))
    state = simulate(study, ScriptedCurves(), Limits(2))
    by_devices = {trial.num_devices: trial.last for trial in state.trials}
    assert {n: last.values["train_s"] for n, last in by_devices.items() if last} == {1: 9.0, 2: 4.5}
    assert {n: last.values["cost_usd"] for n, last in by_devices.items() if last} == pytest.approx({1: 9e-3, 2: 9e-3})
    assert state.last_at == 9.0  # both at once


def test_a_diverged_configuration_is_never_promoted() -> None:
    state = simulate(spec(), ScriptedCurves(), Limits(10))
    diverged = next(trial for trial in state.trials if trial.config["x"] == 7)
    assert diverged.resource == 1
    assert diverged.state is TrialState.PAUSED


def test_a_time_limit_is_one_of_the_virtual_clock() -> None:
    state = simulate(spec(), ScriptedCurves(epoch_s=100.0), Limits(10, max_time_s=1000.0))
    assert 900.0 <= state.last_at <= 1000.0
    assert len(state.trials) < 10


def test_ending_a_segment_is_told_at_the_present_time() -> None:
    clock, study = VirtualClock(), spec()
    executor = SimulatedExecutor(ScriptedCurves(epoch_s=100.0), clock)
    controller = Controller(StudyState(study), lambda events: None)
    controller.open(Limits(1), 0.0, "host", 1, "0")
    loop = Loop(controller, executor, clock, NoFolder())
    loop.step()
    clock.advance_to(7.0)
    executor.end(0, "interrupted", "enough")
    executor.wait(loop, 1.0)
    [segment] = controller.state.segments
    assert (segment.outcome, segment.wall_s) == ("interrupted", 7.0)
    executor.wait(loop, 1.0)  # the report that was due is void
    assert clock.now() == 7.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objectives": Objectives([Metric("accuracy", "max")])}, "accuracy"),
        ({"scheduler": ASHA(10, first_rung=1)}, "at most 9"),
    ],
)
def test_what_the_curves_lack_is_refused_at_once(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        simulated(spec(**change))


@pytest.mark.parametrize("options", [{"start_s": -1.0}, {"restore_s": float("inf")}])
def test_delays_must_be_seconds(options: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="seconds"):
        simulated(spec(), **options)


def test_failures_need_a_mean() -> None:
    with pytest.raises(ArgumentError, match="mean_s"):
        Failures(0.0)


def test_saving_between_rungs_is_offered_to_the_loop() -> None:
    clock, log = VirtualClock(), list[ev.Event]()
    controller = Controller(StudyState(spec(scheduler=RunToEnd(9))), log.extend)
    controller.open(Limits(1), 0.0, "host", 1, "0")
    Loop(controller, SimulatedExecutor(ScriptedCurves(), clock), clock, NoFolder(), save_every=4).run()
    assert [e.resource for e in log if isinstance(e, ev.CheckpointSaved)] == [4, 8, 9]
    assert [e.path[-8:] for e in log if isinstance(e, ev.CheckpointRemoved)] == ["1-4.ckpt", "1-8.ckpt"]


@pytest.mark.parametrize("per_trial", [False, True])
def test_the_speed_of_a_machine_multiplies_the_seconds_of_a_segment(per_trial: bool) -> None:
    """One second per epoch on the curves: each segment, or each trial, has one factor, and no two have the same."""
    state = simulate(spec(devices=2), ScriptedCurves(), Limits(10), speeds=Speeds(0.3, seed=4, per_trial=per_trial))
    factors: dict[int, set[float]] = {}
    for segment in state.segments:
        trained_s = segment.train_s - segment.base_train_s
        factors.setdefault(segment.trial_id, set()).add(round(trained_s / segment.epochs, 9))
    several = [found for trial, found in factors.items() if state.trials[trial].segment > 1]
    assert several
    assert all((len(found) == 1) == per_trial for found in several)
    everything = set().union(*factors.values())
    assert len(everything) == (10 if per_trial else len(state.segments))
    assert 0.4 < min(everything) < max(everything) < 2.5


@pytest.mark.parametrize("wrong", [-0.1, 11, "fast", None])
def test_a_wrong_spread_of_speeds_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`Speeds\.spread`"):
        Speeds(wrong)
