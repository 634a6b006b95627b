"""The model of TPE that chooses by expected improvement: what it learns from, and what it proposes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers import TPE, History, searcher_from_settings
from lightning_hwtune.core.searchers.improvement import one_loss
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace

LOSS = Objectives([Metric("loss", "min")])
TIMED = Objectives([Metric("loss", "min"), TrainSeconds(resolution=0), Cost(resolution=0)])
SQUARE = SearchSpace(x=Float(0, 1), y=Float(0, 1))
ALWAYS = TPE(random=0, gaussian=1)


def judged(number: int, config: Mapping[str, Any], **values: float) -> TrialRecord:
    trial = TrialRecord(number, config, 0, 0, 9, 0.0, draw=number, decided={1: "pause"})
    trial.measurements = [Measurement(1, values, 1.0, 1.0)]
    return trial


def studied(
    space: SearchSpace, value: Callable[[Mapping[str, Any]], float], n: int, searcher: TPE = ALWAYS, seed: int = 0
) -> list[TrialRecord]:
    trials: list[TrialRecord] = []
    for draw in range(n):
        config = searcher.propose(space, draw, seed, History(trials, LOSS))
        if config is None:
            break
        assert space.validate(config) == config
        trials.append(judged(draw, config, loss=value(config)))
    return trials


def bowl(config: Mapping[str, Any]) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2)


# ---------------------------------------------------------------------- what it proposes


def test_it_finds_a_minimum_much_more_exactly_than_the_densities() -> None:
    least = {share: min(map(bowl, _configs(TPE(random=0, gaussian=share)))) for share in (0.0, 1.0)}
    assert least[1.0] < 1e-5
    assert least[1.0] < 0.1 * least[0.0]


def _configs(searcher: TPE) -> list[Mapping[str, Any]]:
    return [trial.config for trial in studied(SQUARE, bowl, 40, searcher)]


@pytest.mark.parametrize(("limit", "exploded"), [(0.65, 1e6), (0.65, 1e12), (0.5, 1e4)])
def test_a_minimum_is_found_although_many_losses_exploded(limit: float, exploded: float) -> None:
    def value(config: Mapping[str, Any]) -> float:
        return bowl(config) if config["x"] < limit else exploded * (1 + config["x"])

    least = [min(bowl(trial.config) for trial in studied(SQUARE, value, 30, seed=seed)) for seed in range(4)]
    assert np.log10(least).mean() < -4.3


def test_it_finds_the_best_option_of_a_mixed_space() -> None:
    space = SearchSpace(kind=Choice(["a", "b", "c", "d"]), width=Int(1, 64), x=Float(0, 1))
    goal = {"a": 0.8, "b": 0.6, "c": 0.0, "d": 0.9}

    def value(config: Mapping[str, Any]) -> float:
        return goal[config["kind"]] + (config["x"] - 0.5) ** 2 + ((config["width"] - 20) / 64) ** 2

    late = studied(space, value, 50)[30:]
    assert sum(trial.config["kind"] == "c" for trial in late) > 12
    assert min(value(trial.config) for trial in late) < 1e-3


def test_one_of_the_draws_of_a_share_is_that_of_the_densities() -> None:
    history = History(studied(SQUARE, bowl, 20), LOSS)
    drawn = {
        share: [TPE(random=0, gaussian=share).propose(SQUARE, draw, 0, history) for draw in range(20, 60)]
        for share in (0.0, 0.5, 1.0)
    }
    rows = {share: {json.dumps(config) for config in configs} for share, configs in drawn.items()}
    assert not rows[0.0] & rows[1.0]
    near = {share: np.median([bowl(config or {}) for config in configs]) for share, configs in drawn.items()}
    assert near[1.0] < near[0.0]


def test_each_configuration_of_a_list_or_of_a_small_space_is_proposed_once() -> None:
    space = SearchSpace(width=Int(1, 6), kind=Choice(["a", "b", "c"]), devices=NumDevices(1, 2))
    whole = studied(space, lambda config: float(config["width"]), 99)
    assert len({json.dumps(trial.config) for trial in whole}) == len(whole) == 36
    listed = [trial.config for trial in whole[::2]]
    drawn = studied(space, lambda config: float(config["width"]), 99, TPE(random=0, gaussian=1, configs=listed))
    assert sorted(json.dumps(trial.config) for trial in drawn) == sorted(map(json.dumps, listed))
    small = [trial.config["width"] for trial in whole[10:20]]
    assert np.mean(small) < np.mean([trial.config["width"] for trial in whole[20:]])


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace(
            optimizer=Choice(["adam", "sgd"]),
            momentum=Float(0, 1, when={"optimizer": "sgd"}),
            nesterov=Choice([True, False], when={"optimizer": "sgd"}),
        ),
        SearchSpace(depth=Int(1, 3), width=Float(0, 1, when={"depth": [2, 3]}), rate=Float(0, 1, when={"depth": 3})),
        SearchSpace(
            kind=Choice(["a", "b"]), depth=Int(1, 9, when={"kind": "b"}), act=Choice([1, 2], when={"depth": 9})
        ),
        SearchSpace(batch_size=Choice([63, 64, 96]), devices=NumDevices(1, 2), x=Float(0, 1)),
        SearchSpace(x=Float(0, 1)),
        SearchSpace({f"x{place}": Float(0, 1) for place in range(30)}),
    ],
)
def test_proposals_are_in_the_space(space: SearchSpace) -> None:
    def value(config: Mapping[str, Any]) -> float:
        return sum(value if isinstance(value, float) else 0.1 for value in config.values())

    assert len(studied(space, value, 25)) > 5


def test_draws_on_several_devices_keep_apart() -> None:
    done = studied(SQUARE, bowl, 20)
    running: list[TrialRecord] = []
    for draw in range(20, 28):
        config = ALWAYS.propose(SQUARE, draw, 0, History([*done, *running], LOSS)) or {}
        running.append(TrialRecord(draw, config, 0, 0, 9, 0.0, state=TrialState.RUNNING, draw=draw))
    rows = np.array([[trial.config["x"], trial.config["y"]] for trial in running])
    gaps = np.abs(rows[:, None] - rows).max(axis=2)[np.triu_indices(8, 1)]
    assert gaps.min() > 1e-5
    model = TPE(random=0, gaussian=0)
    assert [model.propose(SQUARE, draw, 0, History(done, LOSS)) for draw in range(20, 28)] != [
        t.config for t in running
    ]


def test_a_region_in_which_trials_fail_is_left() -> None:
    trials = studied(SQUARE, bowl, 20)
    for draw in range(20, 45):
        config = ALWAYS.propose(SQUARE, draw, 0, History(trials, LOSS)) or {}
        if config["x"] < 0.5:  # out of memory
            trials.append(TrialRecord(draw, config, 0, 0, 9, 0.0, state=TrialState.OUT_OF_MEMORY, draw=draw))
        else:
            trials.append(judged(draw, config, loss=bowl(config)))
    assert sum(trial.state is TrialState.OUT_OF_MEMORY for trial in trials[-15:]) < 8


def test_draws_of_one_history_share_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_hwtune.core.searchers import improvement

    fits: list[int] = []
    original = improvement.GaussianProcess

    def counted(cells: Any, rows: Any, losses: Any) -> Any:
        fits.append(len(rows))
        return original(cells, rows, losses)

    monkeypatch.setattr(improvement, "GaussianProcess", counted)
    history = History(studied(SQUARE, bowl, 12), LOSS)
    fits.clear()
    drawn = [ALWAYS.propose(SQUARE, draw, 0, history) for draw in range(12, 20)]
    assert fits == [12]
    assert [ALWAYS.propose(SQUARE, 12, 0, history)] == drawn[:1]


def test_a_fit_learns_from_a_bounded_number_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_hwtune.core.searchers import improvement

    rng, sizes = np.random.default_rng(0), []
    original = improvement.GaussianProcess
    monkeypatch.setattr(
        improvement,
        "GaussianProcess",
        lambda cells, rows, losses: sizes.append(len(rows)) or original(cells, rows, losses),
    )
    trials = [judged(n, config := SQUARE.sample(rng), loss=bowl(config)) for n in range(400)]
    trials += [
        TrialRecord(n, SQUARE.sample(rng), 0, 0, 9, 0.0, state=TrialState.FAILED, draw=n) for n in range(400, 500)
    ]
    assert ALWAYS.propose(SQUARE, 500, 0, History(trials, LOSS)) is not None
    assert sizes[0] <= 120


def test_a_violator_is_not_what_it_looks_for() -> None:
    bounded = Objectives([Metric("loss", "min")], [Constraint("size", at_most=1.0)])
    trials: list[TrialRecord] = []
    for draw in range(40):
        config = ALWAYS.propose(SQUARE, draw, 0, History(trials, bounded)) or {}
        trials.append(judged(draw, config, loss=config["x"], size=2.0 if config["x"] < 0.4 else 0.5))
    late = [trial.config["x"] for trial in trials[25:]]
    assert np.median(late) > 0.38
    assert np.median(late) < 0.6


# ---------------------------------------------------------------------- what it learns from


@given(
    arrays(float, (8, 3), elements=st.floats(-100, 100)),
    arrays(float, 3, elements=st.floats(0, 1)).filter(lambda weights: weights.sum() > 0.1),
)
def test_a_dominated_point_never_has_the_smaller_loss(losses: np.ndarray, weights: np.ndarray) -> None:
    found = one_loss(losses, weights / weights.sum())
    for a in range(8):
        for b in range(8):
            if (losses[a] <= losses[b]).all():
                assert found[a] <= found[b] + 1e-9


def test_results_of_deeper_rungs_order_the_trials_that_have_them() -> None:
    """At level 1 a large x is best; of the trials with the largest, the smallest turn out to be best."""
    rng = np.random.default_rng(0)
    trials = []
    for n in range(40):
        config = SQUARE.sample(rng)
        trial = judged(n, config, loss=-config["x"])
        if config["x"] > 0.6:
            trial.decided[3] = "pause"
            trial.measurements.append(Measurement(3, {"loss": config["x"]}, 1.0, 1.0))
        trials.append(trial)
    drawn = [ALWAYS.propose(SQUARE, draw, 0, History(trials, LOSS)) or {} for draw in range(40, 60)]
    assert 0.5 < np.median([config["x"] for config in drawn]) < 0.75


# ---------------------------------------------------------------------- studies that began before


def test_without_a_share_it_draws_as_before_there_was_one() -> None:
    settings = {**TPE().settings(), "gaussian": 0.0}
    assert searcher_from_settings(settings).settings() == settings
    assert TPE().settings()["gaussian"] > 0
