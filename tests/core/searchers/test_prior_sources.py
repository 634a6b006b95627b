"""What a prior can be made from: data frames and Optuna's studies. Studies and tables have their own tests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.searchers import History, ParetoPrior
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError, MissingDependencyError

SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), width=Int(8, 64), optimizer=Choice(["adam", "sgd"]))
ACCURACY = Metric("acc", "max")


def results(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame([SPACE.sample(rng) for _ in range(n)])
    frame["acc"] = 1 - abs(np.log10(frame["lr"]) + 3) / 3
    frame["train_s"] = frame["width"] * 2.0
    return frame


class TestFrame:
    def test_gives_the_task_of_its_rows(self) -> None:
        frame = results(3)
        objectives = Objectives([ACCURACY, TrainSeconds()])
        prior = ParetoPrior.from_frame(frame, objectives)
        losses = objectives.losses(frame[["acc", "train_s"]].to_numpy()).tolist()
        assert [row[0] for row in losses] == (-frame["acc"]).tolist()
        values = {name: frame[name].tolist() for name in SPACE}
        assert prior == ParetoPrior([EarlierTask("frame", values, losses)], objectives)

    def test_makes_a_prior_that_draws_where_the_rows_are_good(self) -> None:
        prior = ParetoPrior.from_frame(results(), ACCURACY, uniform=0)
        none = History([], Objectives([ACCURACY]))
        away = [abs(math.log10((prior.propose(SPACE, n, 0, none) or {})["lr"]) + 3) for n in range(16)]
        assert np.median(away) < 0.4  # at random 0.75

    def test_with_a_column_of_tasks_gives_one_task_each(self) -> None:
        frame = pd.concat([results(5).assign(data="a"), results(7, seed=1).assign(data="b")])
        prior = ParetoPrior.from_frame(frame, [{"name": "acc", "mode": "max"}], task="data", parameters=["lr", "width"])
        assert {task.name: len(task) for task in prior.tasks} == {"a": 5, "b": 7}
        assert {name for task in prior.tasks for name in task.values} == {"lr", "width"}

    @pytest.mark.parametrize("missing", [None, float("nan")])
    def test_counts_a_missing_objective_as_diverged(self, missing: float | None) -> None:
        frame = results(4).astype({"acc": object})
        frame.loc[2, "acc"] = missing
        (task,) = ParetoPrior.from_frame(frame, ACCURACY).tasks
        assert [math.isnan(row[0]) for row in task.losses] == [False, False, True, False]

    def test_leaves_out_rows_that_lack_a_parameter(self) -> None:
        frame = results(6).astype({"lr": object, "optimizer": object})
        frame.loc[1, "lr"], frame.loc[2, "lr"], frame.loc[3, "optimizer"] = None, float("nan"), float("nan")
        prior = ParetoPrior.from_frame(frame, ACCURACY)
        assert prior.lesson(SPACE, Objectives([ACCURACY])).n_points == {"frame": 3}

    def test_may_have_columns_that_are_no_parameters(self) -> None:
        frame = results(6).assign(state="completed", trial=range(6))
        assert ParetoPrior.from_frame(frame, ACCURACY).lesson(SPACE, Objectives([ACCURACY])).shared == SPACE.names

    @pytest.mark.parametrize(
        ("frame", "objectives", "options", "text"),
        [
            (results(3), [Metric("loss", "min")], {}, "'loss'; allowed: one of the columns lr, width"),
            (results(3), ["acc"], {}, "needs a direction"),
            (results(3), [], {}, "at least one objective"),
            (results(3), ACCURACY, {"task": "data"}, "'data'; allowed: one of the columns"),
            (results(3), ACCURACY, {"parameters": ["lr", "depth"]}, "'depth'; allowed"),
            (results(3), ACCURACY, {"parameters": []}, "at least one of the parameters"),
            (results(3)[["acc"]], ACCURACY, {}, "columns for the parameters"),
            (results(3).iloc[:0], ACCURACY, {}, "at least one row"),
            (results(3).assign(acc="high"), ACCURACY, {}, "numbers as objectives"),
            ("results.csv", ACCURACY, {}, "a data frame with one row per configuration"),
            (pd.DataFrame, ACCURACY, {}, "a data frame with one row per configuration"),
            (results(3), ACCURACY, {"uniform": 2.0}, "uniform"),
        ],
    )
    def test_is_refused_with_the_reason(self, frame: Any, objectives: Any, options: Any, text: str) -> None:
        with pytest.raises(ArgumentError, match=text):
            ParetoPrior.from_frame(frame, objectives, **options)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"lightning_hwtune\[optuna\]"):
        ParetoPrior.from_optuna("sqlite:///optuna.db", ACCURACY)


class TestOptuna:
    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        """A storage with a study of two objectives, and one with pruned and failed trials."""
        optuna = pytest.importorskip("optuna")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        url = f"sqlite:///{tmp_path / 'optuna.db'}"

        def both(trial: Any) -> tuple[float, float]:
            lr, width = trial.suggest_float("lr", 1e-4, 1e-1, log=True), trial.suggest_int("width", 8, 64)
            return 1 - abs(math.log10(lr) + 3) / 3, 2.0 * width

        def pruned(trial: Any) -> float:
            lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
            if trial.number == 3:
                raise ValueError
            if trial.number % 2:
                trial.suggest_float("momentum", 0, 1)
            for step in range(3):
                trial.report(1 - abs(math.log10(lr) + 3) / (step + 1), step)
                if step == 1 and abs(math.log10(lr) + 3) > 1:
                    raise optuna.TrialPruned
            return 1 - abs(math.log10(lr) + 3) / 3

        two = optuna.create_study(storage=url, study_name="two", directions=["maximize", "minimize"])
        two.optimize(both, n_trials=12)
        one = optuna.create_study(storage=url, study_name="one", direction="maximize")
        one.optimize(pruned, n_trials=20, catch=(ValueError,))
        return url

    def test_gives_a_task_per_study(self, storage: str) -> None:
        prior = ParetoPrior.from_optuna(storage, [ACCURACY, TrainSeconds()], studies=["two"])
        (task,) = prior.tasks
        assert (task.name, len(task), set(task.values)) == ("two", 12, {"lr", "width"})
        best = int(np.argmin([row[0] for row in task.losses]))
        assert abs(math.log10(task.values["lr"][best]) + 3) == min(abs(math.log10(lr) + 3) for lr in task.values["lr"])

    def test_counts_pruned_trials_and_leaves_out_failed_ones(self, storage: str) -> None:
        optuna = pytest.importorskip("optuna")
        study = optuna.load_study(study_name="one", storage=storage)
        states = [trial.state.name for trial in study.trials]
        assert {"PRUNED", "COMPLETE", "FAIL"} <= set(states)
        (task,) = ParetoPrior.from_optuna(study, ACCURACY).tasks
        assert len(task) == 19
        by_loss = sorted(zip([row[0] for row in task.losses], task.values["lr"], strict=True))
        away = [abs(math.log10(lr) + 3) for _, lr in by_loss]
        assert np.mean(away[:9]) < np.mean(away[9:])

    @pytest.mark.parametrize(
        ("objectives", "studies", "text"),
        [
            ([ACCURACY], ["two"], "directions of Optuna's study 'two'"),
            ([Metric("acc", "min"), TrainSeconds()], ["two"], "directions"),
            ([TrainSeconds(), ACCURACY], ["two"], "directions"),
            ([ACCURACY], ["three"], "None for all: "),
            ([ACCURACY], [], "None for all: "),
        ],
    )
    def test_is_refused_with_the_reason(self, storage: str, objectives: Any, studies: Any, text: str) -> None:
        with pytest.raises(ArgumentError, match=text):
            ParetoPrior.from_optuna(storage, objectives, studies=studies)

    def test_without_a_study_is_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("optuna")
        for storage in (7, f"sqlite:///{tmp_path / 'empty.db'}", "nonsense://x"):
            with pytest.raises(ArgumentError, match="Optuna storage"):
                ParetoPrior.from_optuna(storage, ACCURACY)
