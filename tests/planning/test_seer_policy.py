"""Studies that run by SEER-style plans: limits, ranks, late trials, rented nodes, restarts, and what is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.hardware.policies import policy_from_settings
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.outlook import outlook
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.race_writes import RaceHistory, write_after, write_before
from lightning_hwtune.core.schedulers.staged import Staged
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.deadline_choice import AtSpeeds
from lightning_hwtune.settings.run_rules import check_run
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.simulation.provider import Cloud
from lightning_hwtune.testing.study_driver import Driver
from lightning_hwtune.views.announcements import announce
from lightning_hwtune.views.story import why

SPACE, POOL = hwt.SearchSpace(x=hwt.Float(0, 1), y=hwt.Float(0, 1)), hwt.Pool("cpu", 8, 0.5)
GOOD, NONE = {1: 1.0, 2: 1.9, 4: 3.3, 8: 5.0}, {1: 1.0, 2: 0.9, 4: 0.8, 8: 0.7}
FULL_S = 27 * 60.0
BOX = hwt.InstanceType("box", 2.0, vcpus=2)


def spec(policy: hwt.AllocationPolicy | None = None, pool: hwt.Pool = POOL, seed: int = 0) -> StudySpec:
    objectives = Objectives([hwt.Metric("error", "min")])
    scheduler, own = hwt.SuccessiveHalving(max_epochs=27), policy or hwt.SeerAllocation()
    return StudySpec("s", SPACE, objectives, scheduler, Random(), pool, allocation=own, seed=seed)


def simulated(
    study: StudySpec, speeds: Mapping[int, float] = GOOD, **options: Any
) -> tuple[StudyState, list[ev.StagePlanned], list[ev.Event]]:
    log: list[ev.Event] = []
    limits = Limits(**{name: options.pop(name) for name in list(options) if name in ("max_time_s", "max_cost_usd")})
    curves = AtSpeeds(SyntheticCurves(SPACE, 27, seed=study.seed, unit_s=60), speeds)
    state = simulate(study, curves, limits, start_s=5.0, restore_s=5.0, sink=log.extend, **options)
    return state, [event for event in log if isinstance(event, ev.StagePlanned)], log


def devices_of(state: StudyState) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for segment in state.segments:
        found.setdefault(segment.trial_id, []).append(segment.num_devices)
    return found


def test_many_trials_begin_on_one_device_and_the_last_one_is_fast_enough_for_the_deadline() -> None:
    state, stages, _ = simulated(spec(), max_time_s=1.5 * FULL_S, max_cost_usd=8 * 1.5 * FULL_S / 3600 * 0.5)
    assert [stage.reached for stage in stages] == [0, 0, 1, 3, 9]
    assert stages[0].is_first_wave
    assert (stages[0].trials, stages[0].devices) == (8, 1)
    assert stages[1].trials > 30
    assert stages[1].devices == 1
    assert stages[-1].devices > 1
    assert state.n_full == 1
    assert state.wall_s(state.last_at) <= 1.5 * FULL_S
    [finished] = state.full
    assert devices_of(state)[finished][-1] == stages[-1].devices
    probes = [stage for stage in stages if stage.probe]
    assert probes
    for probe in probes:
        assert sum(s.num_devices == 2 and s.promoted_from == probe.reached for s in state.segments) <= 1


@settings(max_examples=6, deadline=None)
@given(
    share=st.floats(0.1, 2.0), money=st.floats(0.05, 2.0), seed=st.integers(0, 99), spread=st.sampled_from([0.0, 0.4])
)
def test_no_study_exceeds_its_deadline_or_its_budget(share: float, money: float, seed: int, spread: float) -> None:
    budget = money * 4 * FULL_S / 3600
    limits = {"max_time_s": share * FULL_S, "max_cost_usd": budget}
    state, stages, log = simulated(spec(seed=seed, pool=hwt.Pool("cpu", 4, 1.0)), speeds_of_machines(spread), **limits)
    assert state.wall_s(state.last_at) <= share * FULL_S * (1 + 1e-9)
    assert state.billed_usd(state.last_at) <= budget * (1 + 1e-9)
    assert len(state.trials) <= max(stage.trials for stage in stages)
    for earlier, later in itertools.pairwise(stages):
        assert later.reached >= earlier.reached
        assert later.reached == 0 or later.trials <= max(earlier.trials // 3, 1)
    again = StudyState(state.spec)
    for event in log:
        again.apply(ev.from_dict(json.loads(json.dumps(ev.to_dict(event)))))
    assert devices_of(again) == devices_of(state)
    assert facts_from_data(state.spec, facts_to_data(again)).stage == state.stage


def speeds_of_machines(spread: float) -> Mapping[int, float]:
    return GOOD if spread == 0.0 else {1: 1.0, 2: 1.3, 4: 1.4, 8: 1.45}


def test_devices_that_do_not_help_are_not_used_if_they_were_measured() -> None:
    policy = hwt.SeerAllocation(speeds=NONE, unit_s=60.0)
    state, stages, _ = simulated(spec(policy), NONE, max_time_s=3 * FULL_S)
    assert not stages[0].is_first_wave
    assert {count for counts in devices_of(state).values() for count in counts} == {1}
    assert state.n_full == 1


def test_a_deadline_below_a_full_training_shortens_the_ladder_and_the_rest_of_the_time_is_used() -> None:
    same = {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}
    policy = hwt.SeerAllocation(speeds=same, unit_s=60.0)
    state, stages, _ = simulated(spec(policy), same, max_time_s=0.6 * FULL_S)
    assert state.n_full == 0
    assert stages[0].up_to == 9
    assert stages[-1].trials == 1
    assert "the best continues until the limits end it" in stages[-1].reason
    assert state.last_at > 0.5 * FULL_S
    assert max(trial.resource for trial in state.trials) > stages[-1].reached


def test_a_trial_that_takes_much_longer_than_its_stage_is_left_behind() -> None:
    class Straggling(AtSpeeds):
        def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
            lost_s = 400.0 * max(resource - 3, 0) if config == slow_config else 0.0
            return super().elapsed_s(config, resource, num_devices) + lost_s

    study, log = spec(hwt.SeerAllocation(max_devices=1)), list[ev.Event]()
    plain = SyntheticCurves(SPACE, 27, unit_s=60)
    state, _, _ = simulated(study, max_time_s=2.5 * FULL_S)
    members = [s.trial_id for s in state.segments if s.promoted_from == 3]
    slow_config = state.trials[members[1]].config
    state = simulate(study, Straggling(plain, {1: 1.0}), Limits(max_time_s=2.5 * FULL_S), start_s=5.0, sink=log.extend)
    late = [event for event in log if isinstance(event, ev.Reported) and event.rule == "stages"]
    assert [event.trial_id for event in late] == [members[1]]
    assert {s.trial_id for s in state.segments if s.promoted_from == 9} <= set(members) - {members[1]}
    assert any(event.reached == 9 and event.trials == 1 for event in log if isinstance(event, ev.StagePlanned))
    assert "took much longer" in why(state, log, members[1])
    kept = next(i for i in members if i != members[1])
    assert "stage from rung 9: " in why(state, log, kept)
    lines = [line.text for line in announce(state, [event for event in log if isinstance(event, ev.StagePlanned)])]
    assert lines[0] == "stage from the beginning: 8 trials show the pace; how many more begin is planned after that"


def test_nodes_are_rented_for_each_stage_and_never_above_the_budget() -> None:
    pool = hwt.Pool(instance=BOX, nodes=6)
    limits = {"max_time_s": 2.0 * FULL_S, "max_cost_usd": 3.0}
    cloud = Cloud(launch_s=30.0, straggler_share=0.2, seed=3)
    state, stages, log = simulated(spec(pool=pool), **limits, cloud=cloud)
    assert state.billed_usd(state.last_at) <= 3.0
    assert state.wall_s(state.last_at) <= 2.0 * FULL_S
    assert max(stage.nodes for stage in stages) > stages[-1].nodes
    up, most = set[int](), 0
    for event in log:
        if isinstance(event, ev.NodeRequested):
            up.add(event.node)
        elif isinstance(event, ev.NodeReleased):
            up.discard(event.node)
        most = max(most, len(up))
    assert 1 < most <= 6


@pytest.mark.parametrize("kept", [3, 9, 17, 30])
def test_a_study_that_is_killed_plans_the_same_stages(kept: int) -> None:
    study, limits = spec(pool=hwt.Pool("cpu", 2)), Limits(max_time_s=80.0)

    def curve(config: dict[str, Any], epoch: int) -> float:
        return float(abs(config["x"] - 0.4) + 1.0 / epoch)

    whole = Driver(study, limits, curve)
    whole.run()
    ends = [place for place, event in enumerate(whole.log) if isinstance(event, ev.SegmentEnded)]
    assert len(ends) > kept
    resumed = Driver(study, limits, curve, log=list(whole.log[: ends[kept] + 1]))
    resumed.run()
    planned = [[(e.reached, e.trials) for e in d.log if isinstance(e, ev.StagePlanned)] for d in (whole, resumed)]
    assert planned[0][:3] == planned[1][:3]
    history, facts = RaceHistory(), StudyFacts(study)
    for event in resumed.log:
        write_before(facts, event, history)
        facts.apply(event)
        write_after(facts, event, history)
    race = StudyState.of(facts, RaceHistory.from_data(history.to_data())).race
    assert isinstance(race, Staged)
    assert isinstance(resumed.state.race, Staged)
    assert (race.level, race.survivors) == (resumed.state.race.level, resumed.state.race.survivors)


def test_more_time_in_a_later_session_plans_the_next_stage() -> None:
    study = spec(hwt.SeerAllocation(unit_s=1.0, speeds={1: 1.0}), hwt.Pool("cpu", 1))
    short = Driver(study, Limits(max_time_s=8.0), lambda config, epoch: float(config["x"]))
    assert short.run().reason.rule in ("limit:max_time", "stages")
    assert short.state.n_full == 0
    short.close()
    longer = Driver(study, Limits(max_time_s=80.0), lambda config, epoch: float(config["x"]), log=short.log)
    longer.run()
    assert longer.state.n_full == 1


MOMENT = StageMoment(
    reached=1, levels=(1, 3, 9, 27), eta=Fraction(3), pool=hwt.Pool("cpu", 8), most=9, unit_s=10.0, start_s=1.0,
    speeds={1: hwt.ExpectedSpeed(1.0, True), 2: hwt.ExpectedSpeed(1.7, False)}, left_s=1000.0,
)  # fmt: skip


def test_a_reason_has_the_numbers_of_the_plan() -> None:
    plan = hwt.SeerAllocation().stage(MOMENT)
    assert plan.reason.startswith("9 trials continue on 1 device each, then 3, 1, to 27: ")
    assert "of 16 min 40 s" in plan.reason
    assert "USD" not in plan.reason


def test_it_is_named_in_files_and_its_settings_return() -> None:
    policy = policy_from_settings({"name": "seer", "unit_s": 3, "speeds": {"2": 3.8, 1: 2.0}})
    assert policy == hwt.SeerAllocation(unit_s=3.0, speeds={1: 1, 2: 1.9})
    assert policy_from_settings(json.loads(json.dumps(policy.settings()))) == policy


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"speeds": {2: 1.9}}, "compared with that of one device"),
        ({"speeds": {1: 1, 2: -1}}, "speeds"),
        ({"speeds": 3}, "speeds"),
        ({"unit_s": 0}, "unit_s"),
        ({"max_devices": 9}, "at most 8"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        spec(hwt.SeerAllocation(**given))


def test_it_needs_its_scheduler_a_limit_and_a_space_without_numbers_of_devices() -> None:
    objectives = Objectives([hwt.Metric("error", "min")])
    with pytest.raises(ArgumentError, match=r"SuccessiveHalving.*max_epochs=27"):
        StudySpec("s", SPACE, objectives, hwt.ASHA(27), Random(), POOL, allocation=hwt.SeerAllocation())
    with pytest.raises(ArgumentError, match=r"max_time.*SeerAllocation plans for them"):
        check_run(spec(), Limits(max_trials=5), executor="local")
    space = hwt.SearchSpace(x=hwt.Float(0, 1), devices=hwt.NumDevices(1, 2))
    with pytest.raises(ArgumentError, match="without 'devices'"):
        StudySpec(
            "s", space, objectives, hwt.SuccessiveHalving(27), Random(), POOL, allocation=hwt.SeerAllocation()
        )  # fmt: skip


def test_a_forecast_of_a_planned_study_ends_within_its_limits() -> None:
    study = spec(pool=hwt.Pool("cpu", 2))
    driver = Driver(study, Limits(max_time_s=60.0), lambda config, epoch: float(config["x"]))
    for _ in range(12):
        driver.fill()
        driver.step()
    found = outlook(driver.state, driver.now, SeenPaces(driver.state))
    assert 0 < found.left_s <= 60.0 - driver.now
