from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from table_files import write_table

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.simulation.tables import Table, table_folder


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.load(write_table(tmp_path / "small"))


def test_a_table_says_what_it_holds(table: Table) -> None:
    assert (table.name, table.unit, table.max_resource, table.tasks) == ("small", "epoch", 3, ("a", "b"))
    assert table.hardware == ("flavor",)
    assert table.space == SearchSpace(lr=Choice([0.01, 0.1]), flavor=Choice(["large", "small"]))
    assert table.configs[1] == {"lr": 0.1, "flavor": "small"}
    assert table.objectives == Objectives(
        [Metric("accuracy", "max", "1"), TrainSeconds(0), Metric("usd", "min", "USD")]
    )
    for config in table.configs:
        assert table.space.validate(config) == config


def test_curves_answer_what_the_files_say(table: Table) -> None:
    curves = table.curves("a")
    for row, config in enumerate(table.configs):
        for resource in (1, 2, 3):
            seconds = resource * (row + 1)
            price = 0.02 if config["flavor"] == "large" else 0.01
            assert curves.values(config, resource) == pytest.approx(
                {"accuracy": 0.05 * resource * (row + 1), "usd": seconds * price}
            )
            assert curves.elapsed_s(config, resource, 1) == seconds
            assert curves.usd_per_s(config, 1) == pytest.approx(price)
            expected = [-0.05 * resource * (row + 1), seconds, seconds * price]
            assert curves.losses[row, resource - 1] == pytest.approx(expected)
    assert curves.elapsed_s(table.configs[0], 0, 1) == 0.0


def test_objectives_are_chosen_by_either_name(table: Table) -> None:
    assert table.chosen(["cost_usd", "accuracy"]).names == ("usd", "accuracy")
    assert table.chosen(["usd"]).names == ("usd",)
    assert table.chosen() == table.objectives
    with pytest.raises(ArgumentError, match="accuracy"):
        table.chosen(["acuracy"])


def test_another_configuration_takes_the_nearest_curves(tmp_path: Path) -> None:
    forms = {"lr": {"type": "float", "log": True, "lower": 1e-3, "upper": 1.0}, "flavor": {"type": "choice"}}
    table = Table.load(write_table(tmp_path / "t", about={"hyperparameters": forms}))
    curves = table.curves("a")
    assert table.space["lr"] == Float(1e-3, 1.0, log=True)
    assert curves.row({"lr": 0.09, "flavor": "small"}) == 1
    assert curves.row({"lr": 0.002, "flavor": "large"}) == 2
    assert curves.row({"lr": 0.01, "flavor": "small"}) == 3  # its own


def test_a_column_without_bounds_is_searched_over_what_it_holds(tmp_path: Path) -> None:
    forms = {"lr": {"type": "float"}, "flavor": {"type": "choice"}}
    assert Table.load(write_table(tmp_path / "t", about={"hyperparameters": forms})).space["lr"] == Float(0.01, 0.1)


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "t", about={"hyperparameters": {"n": {"type": "int", "lower": 1, "upper": 4}}})
    frame = pd.DataFrame({"config_id": range(4), "n": [1.0, 2.0, 3.0, 4.0]})
    frame.to_parquet(folder / "configs.parquet")
    table = Table.load(folder)
    assert table.space["n"] == Int(1, 4)
    assert [type(config["n"]) for config in table.configs] == [int] * 4


def test_diverged_curves_are_nan(tmp_path: Path) -> None:
    curves = Table.load(write_table(tmp_path / "t", diverged=(2,))).curves("b")
    assert np.isnan(curves.losses[2, :, 0]).all()
    assert np.isnan(curves.values({"lr": 0.01, "flavor": "large"}, 1)["accuracy"])


def test_a_falling_cumulative_column_is_made_to_rise(tmp_path: Path) -> None:
    def dented(curves: pd.DataFrame) -> pd.DataFrame:
        is_dent = (curves["config_id"] == 0) & (curves["resource"] == 2)
        return curves.assign(train_s=curves["train_s"].where(~is_dent, 0.5))

    curves = Table.load(write_table(tmp_path / "t", curves=dented)).curves("a")
    assert [curves.elapsed_s({"lr": 0.1, "flavor": "large"}, r, 1) for r in (1, 2, 3)] == [1.0, 1.0, 3.0]


def test_without_times_a_unit_is_a_second(tmp_path: Path) -> None:
    objectives = {"accuracy": {"mode": "max"}}
    table = Table.load(write_table(tmp_path / "t", about={"objectives": objectives}))
    curves = table.curves("a")
    assert curves.elapsed_s(table.configs[3], 2, 1) == 2.0
    assert curves.usd_per_s(table.configs[3], 1) == pytest.approx(1 / 3600)


def test_equal_configurations_share_the_first_curves(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "t")
    frame = pd.read_parquet(folder / "configs.parquet")
    frame.loc[3, ["lr", "flavor"]] = frame.loc[1, ["lr", "flavor"]]
    frame.to_parquet(folder / "configs.parquet")
    assert Table.load(folder).curves("a").row({"lr": 0.1, "flavor": "small"}) == 1


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda c: c[c["resource"] < 3][:-1], StorageError, "every configuration"),
        (lambda c: c.drop(columns="accuracy"), StorageError, "accuracy"),
        (lambda c: c.assign(train_s=float("nan")), StorageError, "train_s"),
    ],
)
def test_incomplete_files_are_refused(tmp_path: Path, change: Any, error: type[Exception], words: str) -> None:
    folder = write_table(tmp_path / "t", curves=change)
    with pytest.raises(error, match=words):
        Table.load(folder).curves("a")


def test_a_missing_task_and_a_missing_table_name_what_is_there(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError, match="one of a, b"):
        table.curves("c")
    write_table(tmp_path / "tables" / "small")
    monkeypatch.setenv("HWTUNE_DATA", str(tmp_path))
    assert table_folder("small") == tmp_path / "tables" / "small"
    with pytest.raises(ArgumentError, match="did you mean 'small'"):
        table_folder("smal")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape"), [("trimtuner", (288, 10, 3)), ("taskset", (1000, 50, 1)), ("lcbench-surrogate", (500, 52, 3))]
)
def test_the_real_tables_are_read(name: str, shape: tuple[int, ...]) -> None:
    try:
        folder = table_folder(name)
    except ArgumentError:
        pytest.skip(f"the table {name} is not there: set HWTUNE_DATA")
    table = Table.load(folder)
    for task in table.tasks:
        curves = table.curves(task)
        assert curves.losses.shape == shape
        assert [curves.row(config) for config in table.configs[:20]] == list(range(20))
    for config in table.configs[:50]:
        assert table.space.validate(config) == config


CONDITIONAL = {
    "optimizer": {"type": "choice"},
    "momentum": {"type": "float", "when": {"optimizer": "sgd"}},
    "steps": {"type": "int", "when": {"optimizer": "sgd"}},
    "kind": {"type": "choice", "when": {"steps": [2]}},
}


def conditional(folder: Path, **columns: list[Any]) -> Path:
    rows = {
        "config_id": range(4),
        "optimizer": ["adam", "sgd", "sgd", "adamw"],
        "momentum": [None, 0.5, 0.9, None],
        "steps": [None, 1, 2, None],
        "kind": [None, None, "a", None],
    }
    write_table(folder, about={"hyperparameters": CONDITIONAL})
    pd.DataFrame({**rows, **columns}).to_parquet(folder / "configs.parquet")
    return folder


def test_a_cell_is_empty_where_a_condition_does_not_hold(tmp_path: Path) -> None:
    table = Table.load(conditional(tmp_path / "t"))
    assert table.space == SearchSpace(
        optimizer=Choice(["adam", "adamw", "sgd"]),
        momentum=Float(0.5, 0.9, when={"optimizer": "sgd"}),
        steps=Int(1, 2, when={"optimizer": "sgd"}),
        kind=Choice(["a"], when={"steps": 2}),
    )
    assert table.configs == (
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.5, "steps": 1},
        {"optimizer": "sgd", "momentum": 0.9, "steps": 2, "kind": "a"},
        {"optimizer": "adamw"},
    )
    curves = table.curves("a")
    assert [curves.row(config) for config in table.configs] == [0, 1, 2, 3]
    assert curves.row({"optimizer": "sgd", "momentum": 0.6, "steps": 1}) == 1


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"kind": [None, "b", "a", None]}, "here steps is 1"),
        ({"momentum": [0.1, 0.5, 0.9, None]}, "here optimizer is 'adam'"),
        ({"optimizer": ["adam", "sgd", "sgd", "sgd"]}, "missing: momentum, which exists when optimizer is 'sgd'"),
        ({"momentum": [None] * 4}, "'momentum' has only empty cells"),
        ({"steps": [None, 1.5, 2, None]}, "has fractions"),
        ({"optimizer": ["adam", "rmsprop", "rmsprop", "adamw"]}, "values that optimizer can take"),
        ({"optimizer": [None, "sgd", "sgd", "adamw"]}, "'optimizer' has empty cells"),
    ],
)
def test_a_table_whose_cells_do_not_follow_its_conditions_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], text: str
) -> None:
    with pytest.raises(StorageError, match=text):
        Table.load(conditional(tmp_path / "t", **columns))


def test_bounds_on_columns_become_bounds_of_objectives_or_constraints(table: Table) -> None:
    chosen = table.chosen(["accuracy", "usd"])
    found = table.bounded(chosen, {"cost_usd": 0.1, "train_s": 4.0}, {"accuracy": 0.2})
    assert list(found.bounds) == [("accuracy", None, 0.2), ("usd", 0.1, None), ("train_s", 4.0, None)]
    only_usd = table.bounded(table.chosen(["usd"]), {}, {"accuracy": 0.2})
    assert only_usd.constraints == (Constraint("accuracy", at_least=0.2, changes=True),)
    assert table.bounded(chosen, {}, {}) == chosen
    with pytest.raises(ArgumentError, match="did you mean 'accuracy'"):
        table.bounded(chosen, {"acuracy": 0.1}, {})
    with pytest.raises(ArgumentError, match="only if it is among the objectives"):
        table.bounded(table.chosen(["accuracy"]), {"usd": 0.1}, {})
