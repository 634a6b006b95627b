from __future__ import annotations

import math

import numpy as np
import pytest
from known_functions import study_of

from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.effects.importance import importance_entries, importance_frame, model_text
from lightning_hwtune.views.effects.points import Draws
from lightning_hwtune.views.effects.values import rung_values, shared_rung

pytest.importorskip("sklearn")

CUBE = SearchSpace(a=Float(0.0, 1.0), b=Float(0.0, 1.0), c=Float(0.0, 1.0), idle=Float(0.0, 1.0))


def shares(entry, key="importance"):
    return {row["parameter"]: row[key] for row in entry["parameters"]}


def close(found, expected, within=0.05):
    return all(abs(found[name] - value) <= within for name, value in expected.items())


def additive(config, epoch):
    return 3.0 * config["a"] + 2.0 * config["b"] + config["c"] + 5.0 / epoch


def interaction(config, epoch):
    return (2.0 * config["a"] - 1.0) * (2.0 * config["b"] - 1.0) + 1.0 / epoch


def both(config, epoch):
    return 2.0 * config["a"] + 1.5 * (2.0 * config["b"] - 1.0) * (2.0 * config["c"] - 1.0)


TENTHS = {"a": 9 / 14, "b": 4 / 14, "c": 1 / 14, "idle": 0.0}
CASES = {
    "additive": (additive, TENTHS, TENTHS),
    "interaction": (interaction, {"a": 1.0, "b": 1.0, "c": 0.0, "idle": 0.0}, dict.fromkeys("abc", 0.0)),
    "both": (both, {"a": 4 / 7, "b": 3 / 7, "c": 3 / 7, "idle": 0.0}, {"a": 4 / 7, "b": 0.0, "c": 0.0, "idle": 0.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_importance_is_right_where_it_is_known(case):
    function, total, alone = CASES[case]
    state = study_of(function, CUBE, 60)
    [entry] = importance_entries(state, "error")
    assert close(shares(entry), total)
    assert close(shares(entry, "alone"), alone)
    assert entry["explained"] > 0.9
    assert all(row["low"] - 1e-9 <= row["importance"] <= row["high"] + 1e-9 for row in entry["parameters"])
    assert (entry["rung"], entry["trials"]) == (1, 60)


@pytest.mark.slow
def test_optuna_agrees_on_a_sum_of_functions():
    optuna = pytest.importorskip("optuna")
    state = study_of(additive, CUBE, 100)
    [entry] = importance_entries(state, "error")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in CUBE}
    for trial in state.searched:
        value = trial.measurements[0].values["error"]
        params = {name: trial.config[name] for name in CUBE}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    ours = shares(entry)
    assert close(ours, TENTHS)
    assert close(ours, theirs, within=0.1)
    assert max(abs(ours[k] - v) for k, v in TENTHS.items()) <= max(abs(theirs[k] - v) for k, v in TENTHS.items())


def test_a_parameter_matters_as_often_as_it_exists():
    space = SearchSpace(
        kind=Choice(["plain", "deep"]),
        depth=Float(0.0, 1.0, when={"kind": "deep"}),
        idle=Float(0.0, 1.0),
    )
    state = study_of(lambda config, epoch: 2.0 * config.get("depth", 0.5), space, 120)
    [entry] = importance_entries(state, "error")
    # where it exists, depth explains everything; the kind alone changes no mean, but decides whether depth counts
    assert close(shares(entry, "alone"), {"kind": 0.0, "idle": 0.0})
    assert close(shares(entry), {"depth": 1.0, "idle": 0.0})


def test_every_objective_has_its_own_importances():
    state = study_of(additive, CUBE, 60, seconds=lambda config: 1.0 + 4.0 * config["c"])
    entries = importance_entries(state)
    assert [entry["objective"] for entry in entries] == ["error", "train_s"]
    assert close(shares(entries[1]), {"a": 0.0, "b": 0.0, "c": 1.0, "idle": 0.0})
    frame = importance_frame(entries)
    assert list(frame.columns[:4]) == ["objective", "parameter", "importance", "low"]
    assert len(frame) == 8
    assert frame["importance"].iloc[0] == entries[0]["parameters"][0]["importance"]
    assert frame["parameter"].iloc[:3].tolist() == ["a", "b", "c"]


def test_pure_noise_is_said_to_be_unexplained():
    rng = np.random.default_rng(0)
    noise = {}
    state = study_of(lambda config, epoch: noise.setdefault(config["a"], rng.normal()), CUBE, 60)
    [entry] = importance_entries(state, "error")
    assert entry["explained"] < 0.3
    assert "too little to rely on" in model_text(entry)


def test_noise_widens_the_intervals():
    rng, noise = np.random.default_rng(0), {}

    def noisy(config, epoch):
        return additive(config, epoch) + noise.setdefault(config["a"], rng.normal(scale=0.5))

    [clean] = importance_entries(study_of(additive, CUBE, 60), "error")
    [loud] = importance_entries(study_of(noisy, CUBE, 60), "error")
    widths = [max(row["high"] - row["low"] for row in entry["parameters"]) for entry in (clean, loud)]
    assert widths[0] < 0.02 < widths[1]


def test_values_are_from_the_rung_that_most_trials_share_or_the_one_that_is_named():
    def changing(config, epoch):
        return config["a"] if epoch < 9 else config["b"]

    state = study_of(changing, CUBE, 90)
    assert shared_rung(state) == 1
    n_top = sum(trial.resource >= 9 for trial in state.searched)
    assert 10 <= n_top < 90
    [entry] = importance_entries(state, "error")
    assert close(shares(entry), {"a": 1.0, "b": 0.0})
    assert entry["note"] == "values at epoch 1, which 90 of 90 measured trials reached"
    [entry] = importance_entries(state, "error", at=9)
    assert entry["trials"] == n_top
    assert next(iter(shares(entry))) == "b"
    assert entry["note"].startswith(f"values at epoch 9, which {n_top} of 90")


def test_diverged_trials_count_as_the_worst():
    def diverging(config, epoch):
        return math.nan if config["a"] > 0.9 else 1e12 if config["a"] > 0.8 else config["a"] + 1.0

    found = rung_values(study_of(diverging, CUBE, 60), "error")
    n_diverged = sum(trial.config["a"] > 0.8 for trial in found.trials)
    assert n_diverged > 5
    assert found.replaced.sum() == n_diverged
    assert found.values.max() <= 1.8
    assert f"{n_diverged} diverged trials counted with the worst value" in found.note("epochs")


def test_a_long_study_is_thinned_evenly():
    found = rung_values(study_of(additive, CUBE, 60), "error")
    thinned = found.thinned(25)
    assert [trial.trial_id for trial in thinned.trials] == list(range(0, 60, 3))
    assert thinned.values.tolist() == found.values[::3].tolist()
    assert found.thinned(60) is found


def test_few_trials_and_equal_values_are_said(paper):
    entries = importance_entries(paper.state)
    assert [entry["parameters"] for entry in entries] == [[], [], []]
    assert entries[0]["note"].endswith("importance needs at least 10 trials")
    assert len(importance_frame(entries)) == 0
    [entry] = importance_entries(study_of(lambda config, epoch: 0.5, CUBE, 12), "error")
    assert set(shares(entry).values()) == {0.0}
    assert entry["note"].endswith("all values are equal")


def test_unknown_objectives_and_rungs(paper):
    with pytest.raises(ArgumentError, match="did you mean 'error'"):
        importance_entries(paper.state, "eror")
    with pytest.raises(ArgumentError, match="a rung: 1, 3, 9"):
        importance_entries(paper.state, at=2)


def test_draws_mix_two_samples():
    space = SearchSpace(kind=Choice(["x", "y"]), n=Int(1, 4, when={"kind": "y"}), rate=Float(1e-3, 1.0, log=True))
    first, second, *mixed = np.split(Draws(space, 64).points, 5)
    assert first.shape == (64, space.n_dims)
    kind, n, rate = slice(0, 2), 2, 3
    assert (mixed[2][:, rate] == second[:, rate]).all()
    assert (mixed[2][:, kind] == first[:, kind]).all()
    assert (np.isnan(first[:, n]) == (first[:, 0] == 1)).all()
    # with the other kind, the parameter appears or disappears, and keeps its own value where it stays
    assert (np.isnan(mixed[0][:, n]) == (second[:, 0] == 1)).all()
    stays = ~np.isnan(mixed[0][:, n]) & ~np.isnan(first[:, n])
    assert (mixed[0][stays, n] == first[stays, n]).all()
