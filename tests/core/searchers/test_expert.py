"""The values that a user expects to be good: `Float(..., prior=...)`, and the draws near them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.searchers.expert import expert_draw, expert_share
from lightning_hwtune.core.space import Parameter, SearchSpace
from lightning_hwtune.errors import ArgumentError

SPACE = SearchSpace(
    lr=hwt.Float(1e-5, 1e-1, log=True, prior=3e-4),
    width=hwt.Int(8, 256, log=True, prior=64),
    optimizer=hwt.Choice(["adam", "sgd", "rmsprop"], prior="sgd"),
    dropout=hwt.Float(0, 0.5),
)
ERROR = Objectives([hwt.Metric("error", "min")])
TASK = {"name": "earlier", "values": {"lr": [1e-4, 1e-3], "width": [16, 32]}, "losses": [[1.0], [2.0]]}


def study(searcher: Searcher, n: int, of: Callable[[Any], float], space: SearchSpace = SPACE) -> list[TrialRecord]:
    trials: list[TrialRecord] = []
    for draw in range(n):
        config = searcher.propose(space, draw, 1, History(trials, ERROR))
        assert config is not None
        trial = TrialRecord(draw, config, 0, 0, 1, 0.0, draw=draw, decided={1: "pause"})
        trial.measurements = [Measurement(1, {"error": of(config)}, 1.0, 1.0)]
        trials.append(trial)
    return trials


def away(config: Any, lr: float = 3e-4) -> float:
    return abs(math.log10(config["lr"] / lr))


class TestParameters:
    @pytest.mark.parametrize(
        ("parameter", "text"),
        [
            (hwt.Float(1e-5, 1e-1, log=True, prior=3e-4), "Float(1e-05, 0.1, log=True, prior=0.0003)"),
            (hwt.Float(0, 1, prior=1), "Float(0.0, 1.0, prior=1.0)"),
            (hwt.Int(8, 64, step=8, prior=16.0), "Int(8, 64, step=8, prior=16)"),
            (hwt.Choice(["adam", "sgd"], prior="sgd"), "Choice(['adam', 'sgd'], prior='sgd')"),
            (hwt.Choice([1, 2, 4], prior=2), "Choice([1, 2, 4], prior=2)"),
            (hwt.Choice([True, False], prior=False), "Choice([True, False], prior=False)"),
        ],
    )
    def test_keep_the_value_in_text_files_and_copies(self, parameter: Parameter, text: str) -> None:
        assert repr(parameter) == text
        form = json.loads(json.dumps(SearchSpace(x=parameter).to_dict()))
        assert SearchSpace.from_dict(form)["x"] == parameter
        assert pickle.loads(pickle.dumps(parameter)) == parameter

    @pytest.mark.parametrize(
        ("plain", "other"),
        [
            (hwt.Float(0, 1), hwt.Float(0, 1, prior=0.5)),
            (hwt.Int(1, 9), hwt.Int(1, 9, prior=3)),
            (hwt.Choice(["a", "b"]), hwt.Choice(["a", "b"], prior="b")),
            (hwt.Choice(["a", "b"], prior="a"), hwt.Choice(["a", "b"], prior="b")),
        ],
    )
    def test_with_another_value_differ(self, plain: Parameter, other: Parameter) -> None:
        assert plain != other
        assert SearchSpace(x=plain).differences(SearchSpace(x=other))

    def test_without_it_have_the_form_of_before(self) -> None:
        assert hwt.Float(0, 1).to_dict() == {"type": "float", "low": 0.0, "high": 1.0}
        assert "prior" not in hwt.Int(1, 3).to_dict() | hwt.Choice(["a"]).to_dict()

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda: hwt.Float(1e-4, 1e-1, log=True, prior=0.3), r"Float\.prior.*0\.3.*from 0\.0001 to 0\.1"),
            (lambda: hwt.Float(0, 1, prior=float("nan")), r"Float.*prior"),
            (lambda: hwt.Float(0, 1, prior="middle"), r"Float.*prior"),
            (lambda: hwt.Int(8, 64, step=8, prior=12), r"Int\.prior.*12.*steps of 8"),
            (lambda: hwt.Int(8, 64, prior=1.5), r"Int.*prior"),
            (lambda: hwt.Choice(["a", "b"], prior="c"), r"Choice\.prior.*'c'.*'a'"),
            (lambda: SearchSpace.from_dict({"x": {"type": "float", "low": 0, "high": 1, "prior": 2}}), r"x\.prior"),
            (lambda: hwt.Float(1e-4, 1e-1, prior="log-uniform"), r"For a logarithmic scale use log=True"),
        ],
    )
    def test_refuse_a_value_that_they_do_not_have(self, make: Callable[[], object], text: str) -> None:
        with pytest.raises(ArgumentError, match=text):
            make()

    def test_in_study_files_may_write_numbers_as_text(self) -> None:
        form = {"type": "float", "low": "1e-5", "high": "1e-1", "log": True, "prior": "3e-4"}
        assert SearchSpace.from_dict({"lr": form})["lr"] == SPACE["lr"]


SEARCHERS = [hwt.TPE(min_points=3), hwt.Random(), hwt.ParetoPrior([TASK], [{"name": "error", "mode": "min"}])]
each_searcher = pytest.mark.parametrize("searcher", SEARCHERS, ids=lambda one: one.name)


class TestDraws:
    @each_searcher
    def test_begin_with_exactly_the_values_of_the_user(self, searcher: Searcher) -> None:
        config = searcher.propose(SPACE, 0, 7, History([], ERROR)) or {}
        assert {name: config[name] for name in ("lr", "width", "optimizer")} == {
            "lr": 3e-4, "width": 64, "optimizer": "sgd",
        }  # fmt: skip

    @each_searcher
    def test_are_near_the_values_more_often_than_random_ones_and_others_stay(self, searcher: Searcher) -> None:
        found = [searcher.propose(SPACE, draw, 3, History([], ERROR)) or {} for draw in range(1, 80)]
        near = np.mean([away(config) < 0.6 for config in found])
        assert 0.4 < near < 0.85  # at random 0.3
        assert np.mean([config["optimizer"] == "sgd" for config in found]) > 0.42

    @pytest.mark.parametrize("lr", [3e-4, 3e-2], ids=["right", "wrong"])
    def test_become_rare_soon_if_the_results_speak_against_them(self, lr: float) -> None:
        trials = study(hwt.Random(), 24, lambda config: away(config, lr))
        share, few = expert_share(SPACE, History(trials, ERROR)), expert_share(SPACE, History(trials[:3], ERROR))
        assert few == 0.5
        assert share > 0.22 if lr == 3e-4 else share < 0.06

    @pytest.mark.parametrize("n", [100, 499, 500])
    def test_end_with_many_results(self, n: int) -> None:
        trials = study(hwt.Random(), 20, away) * (n // 20 + 1)
        assert expert_share(SPACE, History(trials[:n], ERROR)) <= (0.1 if n < 500 else 0)

    def test_of_a_wrong_expert_do_not_keep_the_model_away_from_the_optimum(self) -> None:
        trials = study(hwt.TPE(random=0.1, min_points=3), 60, lambda config: away(config, 3e-2))
        assert np.median([away(trial.config, 3e-2) for trial in trials[30:]]) < 0.6

    def test_do_not_count_time_and_money_as_evidence(self) -> None:
        both = Objectives([hwt.Metric("error", "min"), hwt.TrainSeconds()])
        trials = study(hwt.Random(), 24, away)
        for trial in trials:
            trial.measurements = [Measurement(1, {**trial.last.values, "train_s": -away(trial.config)}, 1.0, 1.0)]  # type: ignore[union-attr]
        assert expert_share(SPACE, History(trials, both)) == expert_share(SPACE, History(trials, ERROR))

    def test_without_a_value_do_not_exist(self) -> None:
        plain = SearchSpace(x=hwt.Float(0, 1), devices=hwt.NumDevices(1, 2))
        assert all(expert_draw(plain, draw, 0, History([], ERROR)) is None for draw in range(20))

    def test_keep_the_rule_of_batch_sizes_and_conditions(self) -> None:
        space = SearchSpace(
            batch_size=hwt.Choice([31, 64], prior=31),
            devices=hwt.NumDevices(1, 2),
            optimizer=hwt.Choice(["adam", "sgd"], prior="adam"),
            momentum=hwt.Float(0, 1, when={"optimizer": "sgd"}, prior=0.9),
        )
        found = [config for draw in range(60) if (config := expert_draw(space, draw, 0, History([], ERROR)))]
        assert "momentum" not in found[0]
        for config in found:
            assert space.validate(config) == config
        assert any("momentum" in config for config in found)

    @pytest.mark.parametrize("searcher", [hwt.Sobol(), hwt.Grid()], ids=lambda one: one.name)
    def test_of_other_searchers_are_missing_and_a_note_says_so(self, searcher: Searcher) -> None:
        space = SearchSpace(lr=hwt.Float(0, 1, prior=0.5), width=hwt.Int(1, 4))
        assert "does not use the `prior` of lr" in searcher.remark(space)
        assert not hwt.TPE().remark(space)
        assert not searcher.remark(SearchSpace(lr=hwt.Float(0, 1)))
