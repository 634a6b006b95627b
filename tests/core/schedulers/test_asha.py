from __future__ import annotations

import itertools
import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from asha_run import Run, rebuilt
from started_race import started

from lightning_hwtune.core.decisions import Continue, Pause, Stop
from lightning_hwtune.core.ranking.fronts import front_ranks, is_dominated
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError

VALUE = st.one_of(*[st.integers(0, 9).map(float)] * 6, st.sampled_from([0.5, math.nan, math.inf]))


@st.composite
def studies(draw: st.DrawFn, **fixed: object) -> Run:
    """A study of random losses in which workers start, resume and report in random order."""
    n_objectives = draw(st.integers(1, 3))
    scheduler = ASHA(
        **{
            "max_epochs": draw(st.sampled_from([9, 12])),
            "eta": draw(st.sampled_from([2, 3, 2.5])),
            "brackets": draw(st.integers(1, 2)),
            "type": draw(st.sampled_from(["promotion", "stopping"])),
            "within": draw(st.sampled_from(["farthest_first", "hypervolume_contribution"])),
            **fixed,
        }
    )
    run = Run(scheduler, n_objectives)
    running: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 45))):
        if running and draw(st.booleans()):
            trial_id = draw(st.sampled_from(sorted(running)))
            level = running.pop(trial_id)
            verdict = run.arrive(trial_id, level, draw(st.lists(VALUE, min_size=n_objectives, max_size=n_objectives)))
            if isinstance(verdict, Continue):
                running[trial_id] = run.scheduler.next_target(0, level)
            elif draw(st.integers(0, 9)) == 0:
                run.write("withdraw", trial_id)
            continue
        promotion = run.promote(exclude=list(running))
        if promotion is not None:
            running[promotion.trial_id] = promotion.target
        else:
            trial_id = run.start(draw(st.integers(0, scheduler.brackets - 1)))
            running[trial_id] = run.scheduler.first_target(run.brackets[trial_id])
    return run


def finite(loss: object) -> bool:
    return bool(np.isfinite(loss).all())


def order_of(arrived: list, within: str) -> list[int]:
    rows = dict(arrived)
    ids = sorted(rows)
    return [ids[i] for i in total_order([rows[i] for i in ids], within)]


@settings(max_examples=120)
@given(studies(type="promotion"))
def test_at_each_promotion_the_trial_is_among_the_first_and_none_is_taken_back(run: Run) -> None:
    eta, levels = run.scheduler.ladder.eta, run.scheduler.levels
    arrived: dict[tuple[int, int], list] = {}
    beyond: set[tuple[int, int]] = set()
    for method, arguments in run.writes:
        if method == "withdraw":
            continue
        trial_id, bracket, level = arguments[:3]
        rung = arrived.setdefault((bracket, level), [])
        if method == "record":
            assert all(trial_id != other for other, _ in rung), "nobody is in a rung twice"
            lower = max((other for other in levels[bracket:] if other < level), default=None)
            assert lower is None or (trial_id, lower) in beyond, "a rung is entered by promotion only"
            rung.append((trial_id, arguments[3]))
        if method == "promoted" or arguments[-1] == "continue":
            first = order_of(rung, run.scheduler.ladder.within)[: int(len(rung) // eta)]
            assert trial_id in first
            assert finite(dict(rung)[trial_id])
            assert (trial_id, level) not in beyond, "a trial is promoted from a rung once"
            beyond.add((trial_id, level))


@settings(max_examples=60)
@given(studies(type="promotion"))
def test_nobody_who_is_due_is_left_out(run: Run) -> None:
    while run.promote() is not None:
        pass
    gone = {a[0] for method, a in run.writes if method == "withdraw"}
    beyond = {(p.trial_id, p.level) for p in run.promotions}
    for (_, level), arrived in run.arrived.items():
        if level == run.scheduler.max_resource:
            continue
        for trial_id in order_of(arrived, run.scheduler.ladder.within)[: int(len(arrived) // run.scheduler.ladder.eta)]:
            went_on = (trial_id, level) in beyond or isinstance(run.verdicts[trial_id, level], Continue)
            assert went_on or trial_id in gone or not finite(dict(arrived)[trial_id])


@settings(max_examples=60)
@given(studies())
def test_a_dominating_arrival_is_never_stopped_nor_paused(run: Run) -> None:
    scheduler, settings = run.scheduler, run.settings
    for bracket in range(settings.brackets):
        for level in scheduler.levels[bracket:-1]:
            n = len(run.arrived.get((bracket, level), [])) + 1
            verdict = scheduler.verdict(10_000, bracket, level, np.full(run.n_objectives, -1.0))
            assert isinstance(verdict, Continue) or (settings.pauses and n // settings.eta < 1)


@settings(max_examples=60)
@given(studies(type="stopping"), st.lists(st.integers(0, 9).map(float), min_size=3, max_size=3))
def test_a_front_member_is_never_stopped_while_the_front_fits_the_quota(run: Run, loss: list[float]) -> None:
    loss = loss[: run.n_objectives]
    arrived = [other for _, other in run.arrived.get((0, 1), []) if finite(other)]
    n = len(run.arrived.get((0, 1), [])) + 1
    ranks = front_ranks([*arrived, loss])
    fits = int((ranks == 0).sum()) <= n // run.scheduler.ladder.eta + 1
    if ranks[-1] == 0 and fits:
        assert isinstance(run.scheduler.verdict(10_000, 0, 1, np.array(loss)), Continue)


@settings(max_examples=80)
@given(studies(type="stopping"))
def test_stopping_follows_the_published_rule(run: Run) -> None:
    """Position (counted from 0, the arrival included) over n at most 1 over eta."""
    for (_, level), arrived in run.arrived.items():
        if level == run.scheduler.max_resource:
            continue
        for n in range(1, len(arrived) + 1):
            trial_id, loss = arrived[n - 1]
            position = order_of(arrived[:n], run.scheduler.ladder.within).index(trial_id)
            survives = Fraction(position, n) <= 1 / run.scheduler.ladder.eta and finite(loss)
            assert isinstance(run.verdicts[trial_id, level], Continue if survives else Stop)
    assert run.scheduler.promotable() is None
    assert run.scheduler.finishers() == []


@pytest.mark.parametrize("within", ["hypervolume_contribution", "weighted", "objective:0"])
@settings(max_examples=30)
@given(data=st.data())
def test_a_front_member_is_kept_whatever_the_order(within: str, data: st.DataObject) -> None:
    run = data.draw(studies(type="stopping", keep_front=True, within=within))
    for (_, level), arrived in run.arrived.items():
        for n in range(1, len(arrived) + 1):
            trial_id, loss = arrived[n - 1]
            there = [other for _, other in arrived[:n] if finite(other)]
            if level < run.scheduler.max_resource and finite(loss) and not is_dominated(loss, there):
                assert isinstance(run.verdicts[trial_id, level], Continue)


@pytest.mark.parametrize("within", ["weighted", "objective:0"])
def test_orders_without_fronts_keep_front_members_too(within: str) -> None:
    for keep_front, kind in ((False, "stop"), (True, "continue")):
        rungs = started(ASHA(9, type="stopping", within=within, keep_front=keep_front), 2)
        for trial_id in range(6):
            rungs.record(trial_id, 0, 1, np.full(2, float(trial_id)), "continue")
        assert rungs.verdict(6, 0, 1, np.array([9.0, -0.1])).kind == kind
        assert rungs.verdict(6, 0, 1, np.array([9.0, 9.0])).kind == "stop"


@settings(max_examples=60)
@given(studies(type="promotion", strict=True))
def test_strict_never_promotes_more_than_n_over_eta_in_all(run: Run) -> None:
    beyond: dict[tuple[int, int], int] = {}
    n: dict[tuple[int, int], int] = {}
    for method, arguments in run.writes:
        rung = arguments[1:3]
        n[rung] = n.get(rung, 0) + (method == "record")
        beyond[rung] = beyond.get(rung, 0) + (method == "promoted" or arguments[-1] == "continue")
        assert method == "withdraw" or beyond[rung] <= n[rung] // run.scheduler.ladder.eta


@settings(max_examples=60)
@given(studies())
def test_replaying_the_writes_gives_a_scheduler_that_answers_alike(run: Run) -> None:
    settings_of = type(run.settings)(**{k: v for k, v in run.settings.settings().items() if k != "name"})
    again, live = rebuilt(settings_of, run.n_objectives, run.writes), run.scheduler
    rng = np.random.default_rng(0)
    for _ in range(4):
        assert again.finishers() == live.finishers()
        for bracket in range(run.settings.brackets):
            for level in live.levels[bracket:]:
                loss = rng.integers(0, 9, run.n_objectives).astype(float)
                assert again.verdict(10_000, bracket, level, loss) == live.verdict(10_000, bracket, level, loss)
        promotion = live.promotable()
        assert again.promotable() == promotion
        if promotion is None:
            break
        for scheduler in (again, live):
            assert scheduler.is_promotable(promotion.trial_id, promotion.level)
            scheduler.promoted(promotion.trial_id, run.brackets[promotion.trial_id], promotion.level)
            assert not scheduler.is_promotable(promotion.trial_id, promotion.level)


@settings(max_examples=60)
@given(studies(type="promotion"))
def test_finishers_are_all_who_may_still_be_promoted_the_deepest_first(run: Run) -> None:
    finishers = run.scheduler.finishers()
    levels = [level for _, level in finishers]
    assert levels == sorted(levels, reverse=True)
    gone = {a[0] for method, a in run.writes if method == "withdraw"}
    beyond = {(p.trial_id, p.level) for p in run.promotions}
    expected = {
        (trial_id, level)
        for (_, level), arrived in run.arrived.items()
        for trial_id, loss in arrived
        if isinstance(run.verdicts[trial_id, level], Pause)
        and finite(loss)
        and (trial_id, level) not in beyond
        and trial_id not in gone
    }
    assert set(finishers) == expected
    assert len(finishers) == len(expected)


def filled(n: int, **kwargs: object) -> Run:
    """One objective; trial i arrives at the first rung with loss i."""
    run = Run(ASHA(max_epochs=27, **kwargs), 1)
    for i in range(n):
        run.arrive(run.start(), 1, [float(i)])
    return run


def test_reasons_tell_rank_quota_and_front() -> None:
    run = Run(ASHA(max_epochs=27), 2)
    for i in range(26):
        run.arrive(run.start(), 1, [float(i), float(i)])
    verdict = run.scheduler.verdict(26, 0, 1, np.array([0.5, 0.5]))
    assert isinstance(verdict, Continue)
    assert verdict.reason.rule == "promotion"
    assert verdict.reason.text == "rank 2 of 27 at rung 1 (dominated, 2nd front); the first 9 continue"
    pause = run.scheduler.verdict(26, 0, 1, np.array([12.5, 12.5]))
    assert isinstance(pause, Pause)
    assert pause.reason.rule == "quota"
    assert pause.reason.text == "rank 14 of 27 at rung 1 (dominated, 14th front); the first 9 continue"
    best = run.scheduler.verdict(26, 0, 1, np.array([-1.0, -1.0]))
    assert best.reason.text == "rank 1 of 27 at rung 1 (not dominated); the first 9 continue"


def test_one_objective_has_no_fronts_to_tell_of() -> None:
    run = filled(3)
    assert run.promote().reason.text == "rank 1 of 3 at rung 1; the first continues"


def test_a_loss_that_is_not_finite_is_told_and_never_goes_on() -> None:
    run = filled(8)
    for value in (math.nan, math.inf, -math.inf):
        verdict = run.scheduler.verdict(8, 0, 1, np.array([value]))
        assert isinstance(verdict, Pause)
        assert verdict.reason.rule == "not-finite"
        assert verdict.reason.text == "rank 9 of 9 at rung 1: a loss is not finite"
    first = started(ASHA(max_epochs=27, type="stopping"), 1).verdict(0, 0, 1, np.array([math.nan]))
    assert isinstance(first, Stop)


def test_at_the_end_of_the_training_the_verdict_is_stop() -> None:
    scheduler = started(ASHA(max_steps=900, first_rung=100), 2)
    verdict = scheduler.verdict(0, 0, 900, np.array([1.0, 2.0]))
    assert isinstance(verdict, Stop)
    assert (verdict.reason.rule, verdict.reason.text) == ("max-resource", "trained to the full 900 steps")
    scheduler.record(0, 0, 900, np.array([1.0, 2.0]), "stop")
    assert scheduler.promotable() is None
    assert scheduler.finishers() == []


def test_the_deepest_rung_comes_first() -> None:
    run = Run(ASHA(max_epochs=27, first_rung=1), 1)
    for i in range(9):
        run.scheduler.record(run.start(), 0, 1, np.array([float(9 - i)]), "pause")
    for i in (0, 1, 2):
        run.scheduler.record(i, 0, 3, np.array([float(i)]), "pause")
    assert [(p.trial_id, p.level, p.target) for p in iter(run.promote, None)] == [
        (0, 3, 9),
        (8, 1, 3),
        (7, 1, 3),
        (6, 1, 3),
    ]


def test_an_excluded_trial_keeps_its_claim() -> None:
    run = Run(ASHA(max_epochs=27), 1)
    for loss in (2.0, 1.0, 3.0, 5.0, 4.0, 6.0):
        run.scheduler.record(run.start(), 0, 1, np.array([loss]), "pause")
    assert run.scheduler.promotable(exclude=[1]).trial_id == 0
    assert run.scheduler.promotable(exclude=[0, 1]) is None
    assert run.scheduler.promotable().trial_id == 1


def test_ties_go_to_the_lower_trial_id_whatever_arrives_first() -> None:
    for n_objectives in (1, 2, 3):
        scheduler = started(ASHA(max_epochs=9), n_objectives)
        for trial_id in (4, 2, 7, 0, 5, 1):
            scheduler.record(trial_id, 0, 1, np.ones(n_objectives), "pause")
        first = scheduler.promotable()
        scheduler.promoted(first.trial_id, 0, 1)
        assert (first.trial_id, scheduler.promotable().trial_id) == (0, 1)


def test_one_settings_object_serves_two_studies() -> None:
    shared = ASHA(max_epochs=9)
    one, other = started(shared, 1), started(shared, 2)
    for i in range(3):
        one.record(i, 0, 1, np.array([float(i)]), "pause")
    assert one.promotable().trial_id == 0
    assert other.promotable() is None
    assert started(shared, 1).promotable() is None


def test_a_trial_that_ended_early_stands_in_the_rungs_and_is_no_candidate() -> None:
    scheduler = started(ASHA(max_epochs=27), 1)
    for trial_id, loss in enumerate([0.0, 1.0, 2.0]):
        scheduler.record(trial_id, 0, 9, np.array([loss]), "stop" if trial_id == 0 else "pause")
    assert scheduler.promotable() is None
    assert scheduler.finishers() == [(1, 9), (2, 9)]


def test_brackets_begin_one_level_higher_each_and_have_their_own_rungs() -> None:
    scheduler = started(ASHA(max_epochs=27, brackets=3), 1)
    assert [scheduler.first_target(s) for s in range(3)] == [1, 3, 9]
    for trial_id in range(3):
        scheduler.record(trial_id, trial_id % 2, 3, np.array([float(trial_id)]), "pause")
    assert scheduler.promotable() is None
    scheduler.record(3, 1, 3, np.array([0.5]), "pause")
    scheduler.record(4, 1, 3, np.array([5.0]), "pause")
    assert scheduler.promotable().trial_id == 3
    assert scheduler.is_promotable(3, 3)
    assert not scheduler.is_promotable(0, 3)


def test_brackets_are_drawn_with_the_proportions_of_hyperband() -> None:
    # R = 27, eta = 3: s = 3, 2, 1, 0 have weights 27/4, 9/3, 3/2, 1
    scheduler = started(ASHA(max_epochs=27, brackets=4))
    rng = np.random.default_rng(0)
    counts = np.bincount([scheduler.draw_bracket(rng) for _ in range(20_000)], minlength=4)
    weights = np.array([27 / 4, 9 / 3, 3 / 2, 1.0])
    expected = 20_000 * weights / weights.sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert {started(ASHA(max_epochs=27)).draw_bracket(rng) for _ in range(10)} == {0}


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_stopping_expects_the_mean_over_all_orders_of_arrival(eta: int) -> None:
    n_survivors = []
    for order in itertools.permutations(range(6)):
        run = Run(ASHA(max_epochs=eta, eta=eta, type="stopping"), 1)
        verdicts = [run.arrive(run.start(), 1, [float(loss)]) for loss in order]
        n_survivors.append(sum(isinstance(verdict, Continue) for verdict in verdicts))
    mean = sum(n_survivors) / len(n_survivors)
    assert ASHA(max_epochs=eta, eta=eta, type="stopping").expected(6) == ((1, 6), (eta, round(mean)))


@given(st.integers(0, 500), st.integers(1, 4), st.sampled_from([2, 3, 2.5]), st.sampled_from(["promotion", "stopping"]))
def test_the_expected_rungs_begin_with_all_trials_and_thin_out(n: int, brackets: int, eta: float, type_: str) -> None:
    expected = ASHA(max_epochs=27, brackets=brackets, eta=eta, type=type_).expected(n)
    assert [level for level, _ in expected] == list(ASHA(max_epochs=27, eta=eta).levels)
    if brackets == 1:
        counts = [count for _, count in expected]
        assert counts[0] == n
        assert counts == sorted(counts, reverse=True)
    assert all(0 <= count <= n for _, count in expected)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_t": 27}, "max_epochs"),
        ({"grace_period": 1}, "first_rung"),
        ({"reduction_factor": 4}, "eta"),
        ({"min_resource": 1}, "first_rung"),
        ({"max_resource": 27}, "max_epochs"),
        ({"metric": "loss"}, "objectives"),
        ({"mode": "min"}, "objectives"),
        ({"time_attr": "training_iteration"}, "max_epochs"),
    ],
)
def test_names_of_other_tools_are_answered_with_ours(given: dict[str, object], says: str) -> None:
    with pytest.raises(UnknownArgumentError, match=says):
        ASHA(max_epochs=27, **given)


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({}, "max_epochs"),
        ({"max_epochs": 9, "max_steps": 9}, "max_epochs"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"max_epochs": "27"}, "max_epochs"),
        ({"max_epochs": 9, "first_rung": 10}, "first_rung"),
        ({"max_epochs": 9, "eta": 1}, "eta"),
        ({"max_epochs": 9, "brackets": 4}, "brackets"),
        ({"max_epochs": 9, "brackets": 0}, "brackets"),
        ({"max_epochs": 9, "type": "stoping"}, "did you mean 'stopping'"),
        ({"max_epochs": 9, "strict": 1}, "strict"),
        ({"max_epochs": 9, "strict": True, "type": "stopping"}, "strict"),
        ({"max_epochs": 9, "within": "crowdng"}, "within"),
        ({"max_epochs": 9, "ets": 3}, "did you mean 'eta'"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(given: dict[str, object], argument: str) -> None:
    with pytest.raises((ArgumentError, UnknownArgumentError), match=argument):
        ASHA(**given)
