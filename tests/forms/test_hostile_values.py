"""Values whose own code fails or never ends: each is refused by name, and what is read once is read right."""

from __future__ import annotations

import decimal
import io
import itertools
from collections import UserString
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError

TASK = {"name": "t", "values": {"x": [0.1, 0.2]}, "losses": [[1.0], [2.0]]}
ERROR = [{"name": "error", "mode": "min"}]
SPACE = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), n=hwt.Int(1, 8))
ASHA = hwt.ASHA(max_epochs=9)


class FailingText(str):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


class FailingFloat(float):
    def __float__(self) -> float:
        raise RuntimeError("float")

    def __le__(self, other: object) -> bool:
        raise RuntimeError("le")

    __ge__ = __le__


class FailingArray:
    ndim = property(lambda self: 1 / 0)
    item = None


class FailingPath:
    def __fspath__(self) -> str:
        raise RuntimeError("fspath")


class FailingIterator:
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise RuntimeError("next")


class Entries(Mapping[Any, Any]):
    """A mapping that has no end, or fails where it is read."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __getitem__(self, key: Any) -> Any:
        if self.how == "item":
            raise RuntimeError("item")
        return 1

    def __iter__(self) -> Iterator[Any]:
        if self.how == "iter":
            raise RuntimeError("iter")
        return (f"k{i}" for i in itertools.count()) if self.how == "endless" else iter(["x"])

    def __len__(self) -> int:
        return 1


META = torch.empty((), device="meta")
CALLS: dict[str, Callable[[], Any]] = {
    # a text, a number, an array, a path whose own methods fail
    "mode": lambda: hwt.Metric("error", FailingText("min")),
    "accelerator": lambda: hwt.Pool(FailingText("cpu")),
    "devices": lambda: hwt.Pool("cpu", FailingText("auto")),
    "price": lambda: hwt.Pool("cpu", 1, FailingFloat(3)),
    "end of a range": lambda: hwt.Float(FailingFloat(0), 1),
    "option": lambda: hwt.Choice([FailingFloat(0)]),
    "count": lambda: hwt.NumDevices(FailingArray()),
    "meta tensor": lambda: hwt.Int(0, META),
    "meta tensor as option": lambda: hwt.Choice(["a", META]),
    "value of a configuration": lambda: SPACE.validate({"x": FailingArray(), "n": 1}),
    "folder": lambda: hwt.Study.load("s", FailingPath()),
    # masked arrays have a number under the mask
    "masked number": lambda: hwt.Float(np.ma.masked, 1),
    "masked options": lambda: hwt.Choice(np.ma.array([1, 2], mask=[1, 0])),
    "masked share": lambda: hwt.TPE(good=np.ma.masked),
    "masked value": lambda: SPACE.validate({"x": np.ma.masked, "n": 1}),
    # mappings
    **{
        f"{what}, {how}": lambda call=call, how=how: call(Entries(how))
        for how in ("iter", "item", "endless")
        for what, call in {
            "space": hwt.SearchSpace,
            "scheduler": lambda entries: hwt.Study(
                "s", SPACE, [hwt.Metric("error", "min")], scheduler=entries, max_epochs=9
            ),
            "searcher": lambda entries: hwt.Study(
                "s", SPACE, [hwt.Metric("error", "min")], scheduler=ASHA, searcher=entries
            ),
            "allocation": lambda entries: hwt.Study(
                "s", SPACE, [hwt.Metric("error", "min")], scheduler=ASHA, allocation=entries
            ),
            "option": lambda entries: hwt.Choice([entries]),
            "configuration": SPACE.validate,
            "listed configuration": lambda entries: hwt.ParetoPrior([TASK], ERROR, configs=[entries]),
            "task": lambda entries: hwt.ParetoPrior([entries], ERROR),
            "values of a task": lambda entries: hwt.ParetoPrior([{**TASK, "values": entries}], ERROR),
            "objectives of a prior": lambda entries: hwt.ParetoPrior([TASK], [entries]),
        }.items()
    },
    # what has no end, is not a list, or fails on the way
    "endless objectives": lambda: hwt.Study("s", SPACE, itertools.count(), scheduler=ASHA),
    "endless options": lambda: hwt.Choice(itertools.repeat("a")),
    "endless tasks": lambda: hwt.ParetoPrior(itertools.repeat(TASK), ERROR),
    "endless point": lambda: SPACE.decode(itertools.count()),
    "failing options": lambda: hwt.Choice(FailingIterator()),
    "failing objectives": lambda: Objectives(FailingIterator()),
    "file as options": lambda: hwt.Choice(io.StringIO("a\nb")),
    "text object as options": lambda: hwt.Choice(UserString("ab")),
    "class as options": lambda: hwt.Choice(str),
    "data frame as options": lambda: hwt.Choice(pd.DataFrame({"a": [1]})),
    "tensor without dimensions as options": lambda: hwt.Choice(torch.tensor(1)),
    "mapping as objectives": lambda: Objectives({"error": hwt.Metric("error", "min")}),
    "set of objectives": lambda: Objectives({hwt.Metric("error", "min")}),
    # ratios
    "huge ratio": lambda: hwt.ASHA(max_epochs=9, eta="1e999999999"),
    "other digits": lambda: hwt.ASHA(max_epochs=9, eta="٣"),
    "underscore": lambda: hwt.ASHA(max_epochs=9, eta="1_0"),
    "decimal": lambda: hwt.ASHA(max_epochs=9, eta=decimal.Decimal(3)),
    # what only the study makes
    "trial": lambda: hwt.Trial(3),  # type: ignore[arg-type]
    "verdict": lambda: hwt.Pause("enough"),  # type: ignore[arg-type]
    "verdict without a reason": lambda: hwt.Stop(),  # type: ignore[call-arg]
    "result": lambda: hwt.Result(-1, {}, 1, {}, 1, None),
    "result of one value": lambda: hwt.Result(1),  # type: ignore[call-arg]
    # configurations that are encoded
    "encoded NaN": lambda: SPACE.encode({"x": float("nan"), "n": 1}),
    "encoded flag": lambda: SPACE.encode({"x": True, "n": 1}),
    "encoded value outside": lambda: SPACE.encode({"x": 2.0, "n": 1}),
    "encoded list": lambda: SPACE.encode_many([{"x": 0.5}]),
    "allowed?": lambda: SPACE.allows(3),  # type: ignore[arg-type]
    # earlier tasks
    "loss as text": lambda: hwt.ParetoPrior([{**TASK, "losses": [[1.0], ["2"]]}], ERROR),
    "loss as flag": lambda: hwt.ParetoPrior([{**TASK, "losses": [[1.0], [True]]}], ERROR),
    "value NaN": lambda: hwt.ParetoPrior([{**TASK, "values": {"x": [0.1, float("nan")]}}], ERROR),
    "value of no plain kind": lambda: hwt.ParetoPrior([{**TASK, "values": {"x": [0.1, {1, 2}]}}], ERROR),
    "name of a task": lambda: hwt.ParetoPrior([{**TASK, "name": "a\x1b[31m"}], ERROR),
    "objectives that are none": lambda: hwt.ParetoPrior([TASK], 3),  # type: ignore[arg-type]
    "objective without a name": lambda: hwt.ParetoPrior([TASK], [{"mode": "min"}]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_value_that_cannot_be_read_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises((ArgumentError, UnknownArgumentError)):
        call()


@pytest.mark.parametrize(
    "name", ["\u200b", "\ufeffloss", "val\u00a0loss", "lo\u202ess", "a\u2028b", "\u200d"], ids=ascii
)
def test_a_name_that_cannot_be_seen_is_refused(name: str) -> None:
    for call in (lambda: hwt.Metric(name, "min"), lambda: hwt.SearchSpace({name: hwt.Float(0, 1)})):
        with pytest.raises(ArgumentError):
            call()


@pytest.mark.parametrize("name", ["größe", "val loss", "損失", "👩\u200d🔬", "نمی\u200cخواهم"])
def test_a_name_in_any_script_is_taken(name: str) -> None:
    assert hwt.Metric(name, "min").name == name


@pytest.mark.parametrize("folder", [" ", "a\nb", "a\x1b[31m", "\x00"], ids=ascii)
def test_a_folder_that_cannot_be_printed_is_refused(folder: str) -> None:
    with pytest.raises(ArgumentError, match="`dir`"):
        hwt.Study("s", SPACE, [hwt.Metric("error", "min")], scheduler=ASHA, dir=folder)


def test_a_generator_is_read_once_and_whole() -> None:
    metrics = [hwt.Metric("a", "min"), hwt.Metric("b", "max")]
    assert Objectives(item for item in metrics) == Objectives(metrics)
    assert hwt.Choice(letter for letter in "ab") == hwt.Choice(["a", "b"])
    assert hwt.Choice(torch.tensor([2, 1])) == hwt.Choice(np.array([1, 2])) == hwt.Choice(pd.Series([1, 2]))
    configs = [{"x": 0.1}, {"x": 0.2}]
    prior = hwt.ParetoPrior((task for task in [TASK]), (form for form in ERROR), configs=(c for c in configs))
    assert prior == hwt.ParetoPrior([TASK], ERROR, configs=configs)
    assert SPACE.encode_many({"x": 0.5, "n": n} for n in (1, 8)).shape == (2, 2)


def test_values_of_numpy_in_a_task_become_plain() -> None:
    values = {"x": np.array([0.1, 0.2])}
    assert hwt.ParetoPrior([{**TASK, "values": values, "losses": np.array([[1], [2]])}], ERROR) == hwt.ParetoPrior(
        [TASK], ERROR
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda study: study.enqueue(config={"x": 0.5}),
        lambda study: study.enqueue(x=0.5),
        lambda study: study.trials(5),
        lambda study: study.events(1),
        lambda study: study.state(at="full"),
        lambda study: study.close(True),
        lambda _: hwt.SearchSpace({"x": hwt.Float(0, 1)}, {"y": hwt.Float(0, 1)}),  # type: ignore[call-arg]
        lambda _: hwt.ParetoPrior.from_table(),  # type: ignore[call-arg]
    ],
)
def test_a_wrong_number_of_arguments_is_refused(call: Callable[[hwt.Study], Any], tmp_path: Any) -> None:
    study = hwt.Study("s", SPACE, [hwt.Metric("error", "min")], scheduler=ASHA, pool=hwt.Pool("cpu", 1), dir=tmp_path)
    with pytest.raises((ArgumentError, UnknownArgumentError)):
        call(study)
