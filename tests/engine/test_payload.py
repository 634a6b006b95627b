from __future__ import annotations

import contextlib
import functools
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import segment_functions as functions

from lightning_hwtune.engine.payload import ImportedFunction, drop_older, largest_capture, write_payload
from lightning_hwtune.errors import ArgumentError

TABLE = np.zeros(250_000)  # 2 MB, captured as a global


def read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def test_a_function_of_a_module_travels_by_its_name(tmp_path: Path) -> None:
    payload = write_payload(functions.counting, tmp_path)
    assert payload.n_bytes < 200
    assert payload.largest is None
    assert read(payload.path) is functions.counting


def test_a_local_function_travels_by_value_with_what_it_captures(tmp_path: Path) -> None:
    captured = {"answer": 42}

    def train(trial: Any) -> int:
        return captured["answer"]

    payload = write_payload(train, tmp_path)
    script = f"import pickle; print(pickle.load(open({str(payload.path)!r}, 'rb'))(None))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "42"


def test_the_same_function_is_written_once(tmp_path: Path) -> None:
    first = write_payload(functions.counting, tmp_path)
    stamp = first.path.stat().st_mtime_ns
    assert write_payload(functions.counting, tmp_path) == first
    assert first.path.stat().st_mtime_ns == stamp
    other = write_payload(functions.idle, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    drop_older(other)
    assert list(tmp_path.iterdir()) == [other.path]


@pytest.mark.parametrize(
    ("value", "n_bytes"),
    [
        (np.zeros((300, 1000)), 2_400_000),
        (torch.zeros(300, 1000), 1_200_000),
        (pd.DataFrame({"a": np.zeros(200_000), "b": np.zeros(200_000)}), 3_200_000),
        (b"x" * 3_000_000, 3_000_000),
        (list(range(1_000_000, 1_400_000)), 1_600_000),
    ],
    ids=["array", "tensor", "frame", "bytes", "list"],
)
def test_the_heaviest_capture_is_named(tmp_path: Path, value: object, n_bytes: int) -> None:
    small = [1, 2, 3]

    def train(trial: Any) -> object:
        return value, small

    payload = write_payload(train, tmp_path)
    assert payload.largest is not None
    name, size = payload.largest
    assert name == "value"
    assert size == pytest.approx(n_bytes, rel=0.3)


def test_a_captured_global_is_named(tmp_path: Path) -> None:
    def train(trial: Any) -> Any:
        return TABLE[0]

    def train_deeper(trial: Any) -> Any:
        class Data:
            def first(self) -> Any:
                return TABLE[0]

        return Data().first()

    assert largest_capture(train) == ("TABLE", 2_000_000)
    assert largest_capture(train_deeper) == ("TABLE", 2_000_000)


def test_what_a_nested_function_captures_is_named(tmp_path: Path) -> None:
    table = np.zeros(250_000)

    def load() -> Any:
        return table

    def train(trial: Any) -> Any:
        return load()

    payload = write_payload(train, tmp_path)
    assert payload.largest is not None
    assert payload.largest[0] == "load"
    assert payload.largest[1] > 1_900_000


def test_a_light_function_captures_nothing_worth_telling(tmp_path: Path) -> None:
    def train(trial: Any) -> int:
        return 1

    assert write_payload(train, tmp_path).largest is None
    assert largest_capture(train) is None
    assert largest_capture(len) is None


def test_what_cannot_be_pickled_is_told(tmp_path: Path) -> None:
    lock = threading.Lock()

    def train(trial: Any) -> object:
        return lock

    with pytest.raises(ArgumentError, match=r"captured objects can be pickled.*lock"):
        write_payload(train, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["models:train", None, 3, SimpleNamespace()])
def test_what_is_no_function_is_told(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ArgumentError, match="a function that takes one Trial"):
        write_payload(value, tmp_path)


async def _coroutine(trial: Any) -> None:
    """Trains nothing when it is called."""


def _generator(trial: Any) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("train", [_coroutine, _generator, functools.partial(_generator)])
def test_a_function_that_runs_nothing_when_it_is_called_is_refused(tmp_path: Path, train: Any) -> None:
    with pytest.raises(ArgumentError, match="a call of it does not train"):
        write_payload(train, tmp_path)


# ---------------------------------------------------------------------- functions named by their import path


def test_an_import_path_is_imported_where_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "freshly_made.py").write_text("loaded = True\n\ndef train(trial):\n    return trial + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = ImportedFunction("freshly_made:train")
    assert "freshly_made" not in sys.modules  # looked for, not imported
    copy = read(write_payload(function, tmp_path).path)
    assert copy(1) == 2
    del sys.modules["freshly_made"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("train", "an import path such as"),
        ("models.train", "an import path such as"),
        (":train", "an import path such as"),
        ("no_such_package.study:train", "no_such_package.study"),
        ("lightning_hwtune.no_such_module:train", "no_such_module"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_told_at_once(path: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        ImportedFunction(path)


_MODULES = {
    "plain_names": "import os\nfrom json import loads as train_json\n\nclass Train:\n    inner = 1\n\nother = None\n",
    "star_names": "from os.path import *\n",
    "late_names": "def __getattr__(name):\n    return print\n",
    "made_names": "for name in ('train',):\n    globals()[name] = print\n",
    "broken_names": "def (:\n",
    "odd_names": (
        "number = 3\nasync def later(trial): ...\ndef none(): ...\ndef two(trial, x): ...\n"
        "def needs(trial, *, x): ...\ndef good(trial, x=1, *, y=2): ...\ndef many(*args): ...\n"
        "train = None\nif number:\n    def train(trial): ...\nmade = good\n"
    ),
    "global_names": "global_one = 0\ndef setter():\n    global global_one\n    global_one = print\n",
}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("plain_names:Trian", "did you mean 'Train'"),
        ("plain_names:inner", "a function of plain_names"),
        ("plain_names:print", "a function of plain_names"),
        ("plain_names:Train", None),
        ("plain_names:train_json", None),
        ("star_names:join", None),
        ("late_names:anything", None),
        ("made_names:train", None),
        ("broken_names:train", None),
        ("odd_names:number", "number is a plain value"),
        ("odd_names:later", "later is a coroutine"),
        ("odd_names:none", "none is a function with other arguments"),
        ("odd_names:two", "two is a function with other arguments"),
        ("odd_names:needs", "needs is a function with other arguments"),
        ("odd_names:good", None),
        ("odd_names:many", None),
        ("odd_names:train", None),
        ("odd_names:made", None),
        ("global_names:global_one", None),
    ],
)
def test_a_function_that_the_source_does_not_define_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str | None
) -> None:
    for name, source in _MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArgumentError, match=said) if said else contextlib.nullcontext():
        ImportedFunction(path)
    assert not sys.modules.keys() & _MODULES.keys()


def test_a_misspelt_function_is_told_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden_names.py").write_text("counting = vars()['__name__']\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = ImportedFunction("hidden_names:countin")
    with pytest.raises(ArgumentError, match="did you mean 'counting'"):
        function(None)
