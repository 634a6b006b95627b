"""A wrong table is refused with the file and what is wrong in it: nothing is paired by order, cut, or left out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("pyarrow")
from table_files import write_table

from lightning_hwtune.cli.commands import app
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.simulation.tables import Table

Frames = Callable[[pd.DataFrame], pd.DataFrame]
SPACE = {"lr": {"type": "ordinal"}, "flavor": {"type": "choice"}}
JUDGED = {"accuracy": {"mode": "max"}}


def column(name: str, cells: object, rows: object = slice(None)) -> Frames:
    """Replaces cells of a column, whatever its type was."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({name: object}) if name in frame else frame
        frame.loc[rows, name] = cells
        return frame.infer_objects()

    return change


CURVES: list[tuple[Frames, str]] = [
    (lambda c: c.assign(config_id=c["config_id"] + 4), r"config_id \[4\] is not in configs.parquet"),
    (lambda c: c.assign(config_id=c["config_id"].astype(str)), "is not in configs.parquet"),
    (lambda c: pd.concat([c[:-1], c[:1]]), "a row occurs twice: .*'task': 'a', 'config_id': 0, 'resource': 1"),
    (lambda c: pd.concat([c, c]), "a row occurs twice"),
    (lambda c: c[:-1], "needs resources 1 to 3"),
    (lambda c: c[c["resource"] != 2], "needs resources 1 to 3"),
    (lambda c: c[c["config_id"] != 1], "needs resources 1 to 3"),
    (lambda c: c.assign(resource=c["resource"] - 1), "'resource' has cells that are not positive integers"),
    (lambda c: c.assign(resource=c["resource"] + 0.5), "'resource' has cells that are not positive integers"),
    (column("resource", 1.5, 0), "'resource' has cells that are not positive integers"),
    (column("resource", None, 0), "'resource' has cells that are not positive integers"),
    (lambda c: c.assign(resource=c["resource"].astype(str)), "'resource' is .* instead of numbers"),
    (lambda c: c.assign(accuracy="good"), "'accuracy' is .* instead of numbers"),
    (lambda c: c.assign(accuracy=True), "'accuracy' is bool instead of numbers"),
    (lambda c: c.assign(accuracy=np.nan), "'accuracy' has no finite number"),
    (lambda c: c.assign(accuracy=np.inf), "'accuracy' has no finite number"),
    (lambda c: c.assign(train_s=0.0), r"'train_s' never rises above 0 for task and config_id \[\('a', 0\)\]"),
    (lambda c: c.assign(train_s=-c["train_s"]), "'train_s' never rises above 0"),
    (lambda c: c.assign(train_s="1 s"), "'train_s' is .* instead of numbers"),
    (lambda c: c.assign(task=1.5), "'task' is floating instead of integers or strings"),
    (lambda c: c.assign(task=[None, *c["task"][1:]]), "'task' has empty cells"),
    (lambda c: c.drop(columns="task"), r"lacks the column \['task'\]"),
    (lambda c: c.drop(columns="config_id"), r"lacks the column \['config_id'\]"),
    (lambda c: c.drop(columns="cost_usd"), r"lacks the column \['cost_usd'\]"),
    (lambda c: c[:0], "it has no rows"),
]
CONFIGS: list[tuple[Frames, str]] = [
    (lambda c: c.assign(config_id=[0, 1, 2, 2]), r"config_id \[2\] occurs more than once"),
    (lambda c: c.assign(config_id=[0, 1, 2, 7]), r"config_id \[3\] is not in configs.parquet"),
    (lambda c: c[:-1], r"config_id \[3\] is not in configs.parquet"),
    (lambda c: c.assign(config_id=[0.5, 1, 2, 3]), "'config_id' is floating instead of integers or strings"),
    (lambda c: c[:0], "it has no rows"),
    (lambda c: c.drop(columns="lr"), r"lacks the column \['lr'\]"),
    (lambda c: c.assign(flavor=["large", None, "large", "small"]), "'flavor' has empty cells"),
]
ABOUT: list[tuple[dict[str, Any], str]] = [
    ({"hyperparameters": {**SPACE, "lr": {"type": "real"}}}, "the type of 'lr' is 'real' instead of one of float, int"),
    ({"hyperparameters": {**SPACE, "lr": {}}}, "the type of 'lr' is None"),
    ({"hyperparameters": {**SPACE, "lr": "float"}}, "'hyperparameters.lr' is 'float' instead of a mapping"),
    ({"hyperparameters": []}, r"'hyperparameters' is \[\] instead of a mapping"),
    ({"hyperparameters": {}}, "'hyperparameters' is {} instead of a mapping"),
    ({"hyperparameters": {**SPACE, "lr": {"type": "int"}}}, "'lr' has fractions, but its type in 'table.json' is int"),
    ({"hyperparameters": {**SPACE, "flavor": {"type": "float"}}}, "'flavor' is .* instead of numbers"),
    ({"hyperparameters": {**SPACE, "lr": {"type": "float", "lower": "0"}}}, "the bounds of 'lr' are"),
    ({"hyperparameters": {**SPACE, "lr": {"type": "float", "lower": 2, "upper": 1}}}, "is above the upper one"),
    ({"hyperparameters": {**SPACE, "lr": {"type": "float", "log": True, "lower": 0}}}, "has wrong contents"),
    ({"hyperparameters": {**SPACE, "lr": {"type": "float", "log": "yes"}}}, "'log' of 'lr' is 'yes'"),
    ({"objectives": {}}, "'objectives' is {} instead of a mapping"),
    ({"objectives": "accuracy"}, "'objectives' is 'accuracy' instead of a mapping"),
    ({"objectives": {"accuracy": {}}}, "the mode of 'accuracy' is None"),
    ({"objectives": {"accuracy": {"mode": "best"}}}, "the mode of 'accuracy' is 'best'"),
    ({"objectives": {"accuracy": {"mode": "max", "cumulative": 1}}}, "'cumulative' of 'accuracy' is 1"),
    ({"objectives": {**JUDGED, "": {"mode": "max"}}}, "lacks the column"),
    ({"name": 7}, "'name' is 7 instead of text"),
]


@pytest.mark.parametrize("number", range(len(CURVES)))
def test_wrong_curves(tmp_path: Path, number: int) -> None:
    change, said = CURVES[number]
    _refused(write_table(tmp_path / "t", curves=change), "curves.parquet", said)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_wrong_configurations(tmp_path: Path, number: int) -> None:
    (change, said), folder = CONFIGS[number], write_table(tmp_path / "t")
    change(pd.read_parquet(folder / "configs.parquet")).to_parquet(folder / "configs.parquet")
    _refused(folder, "curves.parquet" if "not in configs" in said else "configs.parquet", said)


@pytest.mark.parametrize("number", range(len(ABOUT)))
def test_wrong_descriptions(tmp_path: Path, number: int) -> None:
    changes, said = ABOUT[number]
    _refused(write_table(tmp_path / "t", about=changes), "", said)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"name": "x"}'])
def test_a_description_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    folder = write_table(tmp_path / "t")
    (folder / "table.json").write_text(text)
    _refused(folder, "table.json", "cannot be read as JSON|is not a mapping|lacks 'resource_unit'")


@pytest.mark.parametrize("name", ["configs.parquet", "curves.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"no parquet file", b"PAR1" + bytes(100) + b"PAR1"])
def test_files_that_are_no_parquet(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = write_table(tmp_path / "t")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    _refused(folder, name, "cannot be read")


def test_ids_need_not_be_in_order(tmp_path: Path) -> None:
    """Rows are paired by id: the same table in any order is the same table."""
    first = Table.load(write_table(tmp_path / "a"))
    folder = write_table(tmp_path / "b", curves=lambda curves: curves[::-1])
    pd.read_parquet(folder / "configs.parquet")[::-1].to_parquet(folder / "configs.parquet")
    second = Table.load(folder)
    assert first.configs == second.configs
    for task in first.tasks:
        assert np.array_equal(first.curves(task).raw, second.curves(task).raw)


@pytest.mark.parametrize(
    "words",
    [["--searcher", "random:zz=7"], ["--scheduler", "asha:eta={"], ["--scheduler", "asha:zz=3"],
     ["--searcher", "tpe:random=["], ["--scheduler", "asha:eta=x"], ["--searcher", "random:=3"]],
)  # fmt: skip
def test_wrong_options_of_a_replay(tmp_path: Path, words: list[str]) -> None:
    folder = write_table(tmp_path / "t")
    result = CliRunner().invoke(app, ["replay", str(folder), "--task", "a", *words])
    assert result.exit_code == 1
    assert result.stderr.startswith("hwtune: ")
    assert len(result.stderr.splitlines()) == 1


def _refused(folder: Path, file: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        Table.load(folder)
    assert str(folder / file) in str(caught.value) or "has wrong contents" in str(caught.value)
    result = CliRunner().invoke(app, ["replay", str(folder), "--task", "a"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("hwtune: ")


@pytest.mark.parametrize(
    "name", [None, 5, b"t", "", "a" * 300, "x/" * 3000, "a\0b", "\udcff", ["t"]], ids=lambda v: repr(v)[:20]
)
def test_a_name_that_no_folder_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ArgumentError, match="`table`"):
        Table.load(name)
