"""The command line, and replay tables of learning curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fuzzing.constructors import Input, Refused
from benchmarks.fuzzing.documents import BASE
from benchmarks.fuzzing.values import Random

__all__ = ["GOOD_REPLAYS", "command_line", "table"]

_TEXTS = (
    "",
    "x",
    "-1",
    "0",
    "1",
    "2.5",
    "1e400",
    "nan",
    "inf",
    "true",
    "[1",
    "{",
    "a" * 5000,
    "8h",
    "-5min",
    "ü",
    "\x1b[31m",
    "9" * 500,
    "..",
    "/",
    "--",
    "-",
)
_PARTS = (
    "asha", "asha:eta=4", "asha:eta={", "asha:eta=[1", "asha:", ":", "asha:zz=7", "asha:eta", "asha:=3", "random",
    "random:zz=7", "tpe:good=x",
    "tpe:candidates=0", "table", "table:x=1", "sobol:,", "grid:points_per_float=1", "nothing", "hyperband:type=3",
    "pasha:quota=x", "asha:max_epochs=0",
    "asha:brackets=99", "asha:eta=!!python/name:os.system", "asha:eta=&a [*a]", "asha:eta=" + "9" * 5000,
    "asha:max_steps=3", "run_to_end:max_samples=3", "median_stopping:max_steps=3", "asha:eta=1e999999999",
    "prior:batch=0", "asha:name=pasha", "asha:eta=3,eta=4", "table:configs=[]", "random:seed=1", "asha:max_foo=3",
)  # fmt: skip
_LISTS = ("", ",", "b", "a", "b,", "b,b", "error", "error,error", "train_s,error", "x", "a" * 5000, "\x1b[31m")
GOOD_REPLAYS: dict[str, tuple[str, ...]] = {
    "--scheduler": ("asha", "asha:eta=4"),
    "--searcher": ("random", "table"),
    "--start-s": ("0", "1", "2.5"),
    "--restore-s": ("0", "1", "2.5"),
    "--mean-failure-s": ("1", "2.5"),
    "--prior-tasks": ("b",),
    "--objectives": ("error", "train_s,error"),
    **dict.fromkeys(("--trials", "--seeds", "--workers"), ("1",)),
}


def _run(arguments: list[str]) -> str:
    from typer.testing import CliRunner

    from lightning_hwtune.cli.commands import app

    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        if "Traceback (most recent call last)" in result.output:
            raise RuntimeError(result.output[-300:])
        raise Refused
    return result.output


def command_line(rng: Random, folder: Path) -> Input:
    """A command with unusual options."""
    file = folder / "study.yaml"
    if not file.exists():
        file.write_text(json.dumps(BASE))
    kind, text = rng.choice(["rungs", "read", "replay", "replay"]), rng.choice(_TEXTS)
    if kind == "rungs":
        option = rng.choice(["--max-trials", "--max-time", "--max-cost", "--dir"])
        arguments = ["run", str(file), option, text, "--no-check", "--quiet", "executor=nothing"]
        arguments = rng.choice([["rungs", str(file), f"max_trials={text}"], ["rungs", text], arguments])
    elif kind == "read":
        command = rng.choice(["status", "front", "trials", "best", "why", "logs", "export", "plot"])
        arguments = [
            command,
            *rng.choice([[], [text], [text, text]]),
            *rng.choice([[], ["--dir", text], ["--study", text]]),
        ]
    else:
        option = rng.choice(list(GOOD_REPLAYS))
        words = {"--scheduler": _PARTS, "--searcher": _PARTS, "--prior-tasks": _LISTS, "--objectives": _LISTS}
        given = [option, rng.choice(words.get(option, _TEXTS))]
        arguments = ["replay", str(_good_table(folder)), "--task", "a", "--trials", "2", *given]
    return f"hwtune {' '.join(arguments)[:160]!r}", lambda: _run(arguments), _is_good(kind, arguments)


def _is_good(kind: str, arguments: list[str]) -> bool | None:
    """Whether a command is sensible; None if its last word alone does not decide that."""
    option, last = arguments[-2:] if len(arguments) > 1 else ("", "")
    if kind == "replay":
        return True if last in GOOD_REPLAYS[option] else None if last in ("asha:", "sobol:,") else False
    return arguments[0] == "rungs" and last == "max_trials=1"


# ---------------------------------------------------------------------- tables

_ABOUT: dict[str, Any] = {
    "name": "small",
    "resource_unit": "epoch",
    "hyperparameters": {"lr": {"type": "ordinal", "log": True}, "flavor": {"type": "choice", "hardware": True}},
    "objectives": {
        "error": {"mode": "min", "unit": "1"},
        "train_s": {"mode": "min", "unit": "s", "cumulative": True},
        "cost_usd": {"mode": "min", "unit": "USD", "cumulative": True},
    },
    "source": "made up",
    "licence": "none",
}


def _frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    configs = pd.DataFrame({"config_id": [0, 1, 2, 3], "lr": [0.1, 0.1, 0.01, 0.01], "flavor": ["l", "s", "l", "s"]})
    rows = [
        (task, config, epoch, 1.0 / (config + epoch), float(epoch * (config + 1)), epoch * 0.01)
        for task in ("a", "b")
        for config in range(4)
        for epoch in (1, 2, 3)
    ]
    return configs, pd.DataFrame(rows, columns=["task", "config_id", "resource", "error", "train_s", "cost_usd"])


def _good_table(folder: Path) -> Path:
    found = folder / "table"
    if not found.exists():
        _write(found, json.dumps(_ABOUT), *_frames())
    return found


def _write(folder: Path, about: str, configs: pd.DataFrame, curves: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(about)
    configs.to_parquet(folder / "configs.parquet")
    curves.to_parquet(folder / "curves.parquet")


def _with(column: str, value: Any, row: int | None = None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        cells = list(frame[column])
        cells = [value] * len(cells) if row is None else [value if i == row else cell for i, cell in enumerate(cells)]
        return frame.assign(**{column: cells})

    return change


_CURVES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "an unknown configuration": _with("config_id", 9, 3),
    "a row twice and another missing": lambda f: pd.concat([f.drop(index=5), f.iloc[[6]]]),
    "a row twice": lambda f: pd.concat([f, f.iloc[[6]]]),
    "a row missing": lambda f: f.drop(index=5),
    "a resource of 1.5": _with("resource", 1.5, 2),
    "a resource of 0": _with("resource", 0, 0),
    "no rows": lambda f: f.iloc[:0],
    "errors that are all NaN": _with("error", float("nan")),
    "errors that are all infinite": _with("error", float("inf")),
    "seconds that are all 0": _with("train_s", 0.0),
    "text in a column of numbers": lambda f: f.assign(error="x"),
    "seconds as text": lambda f: f.assign(train_s="1.0"),
    "a column missing": lambda f: f.drop(columns="error"),
    "ids as text": lambda f: f.assign(config_id=f["config_id"].astype(str)),
    "ids with a fraction": _with("config_id", 0.5, 1),
    "lists in a column": lambda f: f.assign(error=[[1.0]] * len(f)),
    "negative seconds": _with("train_s", -1.0),
}
_CONFIGS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "two configurations of one id": _with("config_id", 0, 1),
    "no configurations": lambda f: f.iloc[:0],
    "no ids": lambda f: f.drop(columns="config_id"),
    "a parameter missing": lambda f: f.drop(columns="lr"),
    "a fraction among integers": lambda f: f,
    "a NaN parameter": _with("lr", float("nan"), 1),
}
_JSON: dict[str, str] = {
    "broken": "{",
    "empty": "",
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "no objectives": json.dumps({**_ABOUT, "objectives": {}}),
    "objectives as a list": json.dumps({**_ABOUT, "objectives": ["error"]}),
    "a form that is text": json.dumps({**_ABOUT, "hyperparameters": {"lr": "ordinal", "flavor": {"type": "choice"}}}),
    "an unknown type": json.dumps(
        {**_ABOUT, "hyperparameters": {"lr": {"type": "floot"}, "flavor": {"type": "choice"}}}
    ),
    "an unknown mode": json.dumps({**_ABOUT, "objectives": {**_ABOUT["objectives"], "error": {"mode": "low"}}}),
    "no name": json.dumps({key: value for key, value in _ABOUT.items() if key != "name"}),
    "nested deep": "[" * 5000 + "]" * 5000,
    "not a text": "\x00\x01",
}


def table(rng: Random, folder: Path) -> Input:
    """A replay table with one fault or without a fault."""
    from lightning_hwtune.core.schedulers import ASHA
    from lightning_hwtune.simulation.tables import Table

    place = folder / f"table-{rng.getrandbits(60):x}"
    what = rng.choice([*_CURVES, *_CONFIGS, *_JSON, "whole", "no file", "not a table", "half a file"])
    configs, curves = _frames()
    _write(
        place,
        _JSON.get(what, json.dumps(_ABOUT)),
        _CONFIGS.get(what, lambda f: f)(configs),
        _CURVES.get(what, lambda f: f)(curves),
    )
    file = place / rng.choice(["curves.parquet", "configs.parquet", "table.json"])
    if what == "no file":
        file.unlink()
    elif what == "not a table":
        file.write_bytes(b"\x00" * 40)
    elif what == "half a file":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def call() -> Any:
        found = Table.load(str(place))
        losses = found.curves("a").losses
        return (
            ASHA(found.max_resource),
            np.isfinite(losses).all(),
            [found.curves(task).losses.shape for task in found.tasks],
        )

    return f"table with {what}", call, what in ("whole", "a fraction among integers")
