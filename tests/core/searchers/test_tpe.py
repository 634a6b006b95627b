"""TPE: what it learns from, and where it draws. Its densities are tested in `test_kernels.py`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers import TPE, History, Random, default_searcher
from lightning_hwtune.core.searchers.bohb import bohb_split
from lightning_hwtune.core.searchers.copula import copula_scores, light_scores
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.searchers.parzen import first_by_fronts, parzen_split
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.errors import ArgumentError

ACCURACY = Objectives([Metric("acc", "max")])
BOTH = Objectives([Metric("acc", "max"), TrainSeconds()])
LINE = SearchSpace(x=Float(0, 1))
BOHB = partial(TPE, good=0.15, random=0.33, rungs="highest", estimator="bohb")


def judged(number: int, config: Mapping[str, Any], *values: float, levels: Sequence[int] = (1, 3, 9)) -> TrialRecord:
    """A trial with one accuracy at each of its levels."""
    trial = TrialRecord(number, config, 0, 0, 9, 0.0, draw=number)
    for level, value in zip(levels, values, strict=False):
        trial.measurements.append(Measurement(level, {"acc": value, "train_s": 1.0}, 1.0, 1.0))
        trial.decided[level] = "pause"
    return trial


def pending(number: int, config: Mapping[str, Any], state: TrialState = TrialState.RUNNING) -> TrialRecord:
    return TrialRecord(number, config, 0, 0, 9, 0.0, state=state, draw=number)


def draws(searcher: TPE, space: SearchSpace, history: History, n: int = 20) -> list[dict[str, Any]]:
    return [searcher.propose(space, draw, 0, history) or {} for draw in range(100, 100 + n)]


# ---------------------------------------------------------------------- where it draws


@pytest.mark.parametrize(("make", "n_objectives"), [(TPE, 2), (default_searcher, 1), (BOHB, 1), (BOHB, 2)])
def test_it_draws_near_the_good_region(make: Callable[[], TPE], n_objectives: int) -> None:
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), kind=Choice(["a", "b", "c"]), width=Int(8, 64))
    objectives = Objectives([Metric("error", "min"), Metric("size", "min")][:n_objectives])
    trials: list[TrialRecord] = []
    for draw in range(80):
        config = make().propose(space, draw, 0, History(trials, objectives)) or {}
        error = abs(math.log10(config["lr"]) + 3) + (config["kind"] != "b")
        trial = TrialRecord(draw, config, 0, 0, 3, 0.0, decided={1: "pause"}, draw=draw)
        trial.measurements = [Measurement(1, {"error": error, "size": error + config["width"] / 640}, 1.0, 1.0)]
        trials.append(trial)
    late = [trial.config for trial in trials[40:]]
    assert np.median([abs(math.log10(config["lr"]) + 3) for config in late]) < 0.45  # at random: 0.75
    assert sum(config["kind"] == "b" for config in late) > 25  # at random: 13


@pytest.mark.parametrize("space", [LINE, SearchSpace(x=Choice([1, 2, 3]), kind=Choice(["a", "b"]))])
def test_until_ten_trials_are_judged_it_draws_what_random_draws(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    trials = [judged(n, space.sample(rng), 0.1 * n) for n in range(10)]
    for n in (0, 5, 9):
        history = History(trials[:n], ACCURACY)
        assert [TPE().propose(space, draw, 4, history) for draw in range(n, n + 5)] == [
            Random().propose(space, draw, 4, history) for draw in range(n, n + 5)
        ]
    if space is LINE:
        history = History(trials, ACCURACY)
        later = [TPE().propose(space, draw, 4, history) for draw in range(10)]
        assert later != [Random().propose(space, draw, 4, history) for draw in range(10)]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_it_keeps_its_share_of_random_draws(share: float) -> None:
    trials = [judged(n, {"x": 0.9 + n / 1000}, 1.0 if n < 5 else 0.0) for n in range(50)]
    drawn = draws(TPE(random=share, good=0.1), LINE, History(trials, ACCURACY), 400)
    # the trials are all above 0.9; the prior kernel, too, is drawn from, where it is better than the others
    assert sum(config["x"] < 0.5 for config in drawn) > 0.4 * share * 400


@pytest.mark.parametrize("n_options", [2, 8])
def test_an_option_is_not_locked_out_when_the_good_trials_lack_it(n_options: int) -> None:
    """The option that is best was never tried with a good x."""
    options = [f"option {place}" for place in range(n_options)]
    space = SearchSpace(kind=Choice(options), x=Float(0, 1))
    trials: list[TrialRecord] = []
    for n in range(120):
        config = TPE().propose(space, n, 1, History(trials, ACCURACY)) or {}
        if n < 12:
            config["kind"] = options[0]
        trials.append(judged(n, config, float(config["kind"] == options[1]) - abs(config["x"] - 0.4)))
    assert sum(trial.config["kind"] == options[1] for trial in trials[60:]) > 18
    assert {trial.config["kind"] for trial in trials} == set(options)


@pytest.mark.parametrize("xs", [[0.4] * 20, [0.1] * 10 + [0.9] * 10, [0.4 + n / 1e6 for n in range(20)]])
def test_it_does_not_collapse_onto_its_good_trials(xs: list[float]) -> None:
    trials = [judged(n, {"x": x}, 1.0) for n, x in enumerate(xs)]
    trials += [judged(20 + n, {"x": n / 20}, 0.0) for n in range(20)]
    drawn = [config["x"] for config in draws(TPE(random=0), LINE, History(trials, ACCURACY), 100)]
    assert np.ptp(drawn) > 0.01
    assert len(set(drawn)) == 100


# ---------------------------------------------------------------------- running trials


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING, TrialState.FAILED, TrialState.OUT_OF_MEMORY])
def test_trials_without_a_result_are_avoided(state: TrialState) -> None:
    trials = [judged(n, {"x": n / 40}, -abs(n / 40 - 0.5)) for n in range(40)]
    alone = [config["x"] for config in draws(TPE(random=0), LINE, History(trials, ACCURACY), 50)]
    busy = trials + [pending(40 + n, {"x": 0.5 + (n - 4) / 400}, state) for n in range(8)]
    apart = [config["x"] for config in draws(TPE(random=0), LINE, History(busy, ACCURACY), 50)]
    assert np.median(np.abs(np.array(apart) - 0.5)) > 2 * np.median(np.abs(np.array(alone) - 0.5))


def test_draws_on_several_devices_keep_apart() -> None:
    trials = [judged(n, {"x": n / 40}, -abs(n / 40 - 0.5)) for n in range(40)]
    for n in range(40, 48):
        trials.append(pending(n, TPE(random=0).propose(LINE, n, 0, History(trials, ACCURACY)) or {}))
    together = [config["x"] for config in draws(TPE(random=0), LINE, History(trials[:40], ACCURACY), 8)]
    assert np.std([trial.config["x"] for trial in trials[40:]]) > 1.5 * np.std(together)


# ---------------------------------------------------------------------- what is good


@pytest.mark.parametrize("n_parameters", [1, 5, 20, 100])
@pytest.mark.parametrize(("n_trials", "n_good"), [(10, 1), (11, 2), (40, 4), (200, 20), (400, 25)])
def test_the_number_of_good_trials_does_not_depend_on_the_number_of_parameters(
    n_parameters: int, n_trials: int, n_good: int
) -> None:
    config = {f"x{place}": 0.5 for place in range(n_parameters)}
    history = History([judged(n, config, float(n)) for n in range(n_trials)], ACCURACY)
    split = parzen_split(history, "all", 0.1, 5)
    assert split is not None
    assert sorted(split[0].tolist()) == list(range(n_trials - n_good, n_trials))
    assert len(split[1]) == min(n_trials - n_good, 250)
    assert not set(split[0].tolist()) & set(split[1].tolist())


def test_fewer_than_ten_judged_trials_give_no_model() -> None:
    history = History([judged(n, {"x": 0.5}, 1.0) for n in range(9)] + [pending(9, {"x": 0.5})], ACCURACY)
    assert parzen_split(history, "all", 0.1, 5) is None


@given(
    st.integers(1, 3).flatmap(
        lambda m: st.lists(st.tuples(*[st.integers(0, 6)] * m), min_size=1, max_size=30).map(
            lambda rows: np.array(rows, dtype=float)
        )
    ),
    st.integers(1, 30),
)
def test_the_first_by_fronts_are_those_of_the_order_of_a_rung(losses: np.ndarray, n: int) -> None:
    """Up to the scale inside the last front, which is that of the front: the fronts before it are the same."""
    found, expected = first_by_fronts(losses, n), total_order(losses, "hypervolume_contribution")[:n]
    assert len(set(found.tolist())) == len(found) == min(n, len(losses))
    ranks = front_ranks(losses)
    assert sorted(ranks[found]) == sorted(ranks[expected])
    if losses.shape[1] == 1:
        assert sorted(losses[found, 0]) == sorted(losses[expected, 0])


def test_the_best_of_a_front_add_most_hypervolume() -> None:
    front = np.array([[0.0, 1.0], [0.01, 0.99], [0.5, 0.5], [0.99, 0.01], [1.0, 0.0]])
    assert first_by_fronts(front, 1).tolist() == [2]
    assert 2 in first_by_fronts(np.vstack([front, front[2] + 0.1]), 3).tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n_finite", [0, 1, 3])
def test_a_diverged_trial_is_never_good(value: float, n_finite: int) -> None:
    trials = [judged(n, {"x": n / 40}, 1.0 if n < n_finite else value) for n in range(40)]
    split = parzen_split(History(trials, ACCURACY), "all", 0.25, 5)
    if n_finite == 0:
        assert split is None
    else:
        assert split is not None
        assert split[0].tolist() == list(range(n_finite))


# ---------------------------------------------------------------------- several rungs


def test_trials_of_all_rungs_are_ranked_together() -> None:
    """The best at level 1 have a large x; those with a middling one were promoted, and a small one was best there."""
    trials = [judged(n, {"x": n / 40}, n / 40) for n in range(28)]
    trials += [judged(n, {"x": n / 40}, n / 40, -float(n)) for n in range(28, 40)]
    split = parzen_split(History(trials, ACCURACY), "all", 0.1, 5)
    assert split is not None
    assert sorted(split[0].tolist()) == [28, 29, 30, 31]
    highest = parzen_split(History(trials, ACCURACY), "highest", 0.25, 5)
    assert highest is not None
    assert sorted(highest[0].tolist()) == [28, 29, 30]
    assert sorted(highest[1].tolist()) == list(range(31, 40))


def test_paused_trials_can_be_better_than_promoted_ones() -> None:
    """Trials that were promoted and turned out bad do not come before all others."""
    trials = [judged(n, {"x": n / 40}, n / 40) for n in range(30)]
    trials += [judged(n, {"x": n / 40}, 0.5, -1.0) for n in range(30, 40)]
    split = parzen_split(History(trials, ACCURACY), "all", 0.1, 5)
    assert split is not None
    assert sorted(split[0].tolist()) == [26, 27, 28, 29]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_light_scores_are_the_copula_scores(losses: list[float]) -> None:
    matrix = np.array(losses)[:, None]
    assert light_scores(matrix) == pytest.approx(copula_scores(matrix), abs=1e-12)


# ---------------------------------------------------------------------- what is remembered


def test_a_memory_answers_as_a_new_one_while_a_study_grows() -> None:
    """Also when a measurement is replaced because a segment was lost and repeated."""
    memory, rng = Memory(), np.random.default_rng(0)
    space = SearchSpace(x=Float(0, 1), kind=Choice(["a", "b", "c"]))
    trials: list[TrialRecord] = []
    for n in range(60):
        trials.append(pending(n, space.sample(rng)))
        for trial in rng.choice(np.array(trials, dtype=object), size=3):
            if trial.measurements and rng.random() < 0.3:
                last = trial.measurements[-1].resource
                trial.measurements[int(rng.integers(len(trial.measurements)))] = Measurement(
                    last, {"acc": rng.random(), "train_s": rng.random()}, 1.0, 1.0
                )
            else:
                level = 3 ** len(trial.measurements)
                trial.measurements.append(Measurement(level, {"acc": rng.random(), "train_s": rng.random()}, 1.0, 1.0))
                trial.decided[level] = "pause"
        searcher = TPE(min_points=2)
        remembered = searcher.propose(space, n + 1, 0, History(trials, BOTH, memory=memory))
        assert remembered == searcher.propose(space, n + 1, 0, History(trials, BOTH))
        assert memory.keys(trials) == Memory().keys(trials)


@pytest.mark.parametrize("n_devices", [1, 3])
def test_no_configuration_of_a_small_space_is_drawn_twice(n_devices: int) -> None:
    space = SearchSpace(width=Int(1, 6), kind=Choice(["a", "b", "c"]), devices=NumDevices(1, 2))
    trials: list[TrialRecord] = []
    for draw in range(60):
        config = TPE().propose(space, draw, 2, History(trials, ACCURACY))
        if config is None:
            break
        trials.append(pending(draw, config))
        if draw >= n_devices - 1:
            done = trials[draw - n_devices + 1]
            trials[draw - n_devices + 1] = judged(done.trial_id, done.config, -float(done.config["width"]))
    assert len({json.dumps(trial.config) for trial in trials}) == len(trials) == 36


# ---------------------------------------------------------------------- the estimator of BOHB


def test_bohb_models_the_highest_level_with_enough_trials() -> None:
    # at level 1 a large x is good, at level 3 a small one
    trials = [judged(n, {"x": n / 12}, n / 12, *([-n / 12] if n % 2 else [])) for n in range(12)]
    history = History(trials, ACCURACY)
    for min_points, is_small in ((3, True), (4, False)):
        drawn = draws(BOHB(random=0, min_points=min_points, good=0.25), LINE, history)
        assert (np.median([config["x"] for config in drawn]) < 0.5) == is_small


def test_bohb_over_all_rungs_puts_the_deepest_first_and_learns_from_the_others_too() -> None:
    # the best at level 1 have a large x; those with a middling one came to level 3, and did badly there
    trials = [judged(n, {"x": n / 12}, n / 12, *([-1.0] if 4 <= n < 7 else [])) for n in range(12)]
    history = History(trials, ACCURACY)
    for rungs, low, high in (("all", 0.25, 0.65), ("highest", 0.65, 1.0)):
        drawn = draws(BOHB(random=0, min_points=3, good=0.25, rungs=rungs), LINE, history)
        assert low < np.median([config["x"] for config in drawn]) < high


@pytest.mark.parametrize(("good", "n_good"), [(0.1, 2), (0.4, 4), (0.95, 8)])
def test_bohb_leaves_enough_for_both_densities(good: float, n_good: int) -> None:
    history = History([judged(n, {"x": n / 10}, 0.1 * n) for n in range(10)], BOTH)
    split = bohb_split(history, "highest", good, 2)
    assert split is not None
    assert [len(places) for places in split] == [n_good, 10 - n_good]


@pytest.mark.parametrize(
    ("stored", "estimator"),
    [
        ({"name": "tpe", "good": 0.15, "random": 0.33, "rungs": "highest"}, "bohb"),
        ({"name": "tpe", "estimator": "parzen"}, "parzen"),
        ({"name": "random"}, None),
        ({"name": "my.Searcher", "good": 1}, None),
    ],
)
@pytest.mark.parametrize("form", [1, 2])
def test_a_study_that_began_with_an_earlier_version_keeps_its_estimator(
    stored: dict[str, Any], estimator: str | None, form: int
) -> None:
    data = {"type": "StudyCreated", "form": form, "at": 0.0, "study": "s", "spec": {"searcher": stored}}
    read = ev.from_dict(data)
    assert isinstance(read, ev.StudyCreated)
    assert read.spec["searcher"].get("estimator") == estimator
    assert read.spec["searcher"].get("gaussian") == (None if estimator is None else 0.0)
    assert stored.items() <= read.spec["searcher"].items()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"good": 1.0}, r"TPE\.good"),
        ({"random": -0.1}, r"TPE\.random"),
        ({"candidates": 0}, r"TPE\.candidates"),
        ({"min_points": 2.5}, r"TPE\.min_points"),
        ({"configs": []}, r"TPE\.configs"),
        ({"rungs": "al"}, r"TPE\.rungs.*did you mean 'all'"),
        ({"gaussian": 1.5}, r"TPE\.gaussian"),
        ({"estimator": "parzn"}, r"TPE\.estimator.*did you mean 'parzen'"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        TPE(**arguments)


# ---------------------------------------------------------------------- conditions


CONDITIONAL = SearchSpace(
    optimizer=Choice(["adam", "sgd"]),
    momentum=Float(0, 1, when={"optimizer": "sgd"}),
    kind=Choice(["a", "b"], when={"optimizer": "adam"}),
)


@pytest.mark.parametrize("make", [TPE, BOHB])
def test_it_learns_about_a_parameter_from_the_trials_that_have_it(make: Callable[[], TPE]) -> None:
    """The momentum of sgd is best at 0.8; adam has none, and is good often enough to be drawn."""
    trials: list[TrialRecord] = []
    for n in range(100):
        config = make().propose(CONDITIONAL, n, 0, History(trials, ACCURACY)) or {}
        assert CONDITIONAL.validate(config) == config
        trials.append(judged(n, config, 0.8 if "kind" in config else 1 - abs(config["momentum"] - 0.8)))
    late = [trial.config["momentum"] for trial in trials[40:] if "momentum" in trial.config]
    assert len(late) > 20
    assert np.median(np.abs(np.array(late) - 0.8)) < 0.15  # at random: 0.3
