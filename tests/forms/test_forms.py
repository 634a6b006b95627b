"""The table of forms: what is converted at the door, and what is refused there."""

from __future__ import annotations

import datetime
import decimal
import fractions
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS
from lightning_hwtune.store.database_url import database_url

NO_INTEGERS = [True, np.True_, "5", 2.5, math.nan, math.inf, decimal.Decimal(5), fractions.Fraction(5), None, [5], b"5",
               10**400, 2**53 + 1, np.array([5]), datetime.timedelta(1), object(), 5j]  # fmt: skip
NO_NUMBERS = [
    True,
    np.False_,
    "5",
    math.nan,
    -math.inf,
    decimal.Decimal("5"),
    None,
    [5.0],
    10**400,
    np.array([1.0]),
    1j,
]
NO_FLAGS = ["no", 0, 1, None, 1.0, [], "true", np.int64(1)]
INTEGERS = [
    (5, 5), (5.0, 5), (1e3, 1000), (np.int64(7), 7), (np.uint8(7), 7), (np.float32(2), 2), (np.array(3), 3),
    (torch.tensor(4), 4),
]  # fmt: skip
NUMBERS = [
    (0.5, 0.5),
    (2, 2.0),
    (np.float32(0.5), 0.5),
    (np.int8(3), 3.0),
    (np.array(0.25), 0.25),
    (torch.tensor(0.5), 0.5),
]


@pytest.mark.parametrize(("value", "plain"), INTEGERS, ids=str)
def test_an_integer_of_any_library_becomes_one_of_python(value: Any, plain: int) -> None:
    for call, name in (("Study.run", "max_trials"), ("Study", "max_failures"), ("ASHA", "first_rung"), ("Int", "low")):
        found = FORMS[call][name].read(name, value)
        assert (found, type(found)) == (plain, int)


@pytest.mark.parametrize(("value", "plain"), NUMBERS, ids=str)
def test_a_number_of_any_library_becomes_a_float(value: Any, plain: float) -> None:
    for call, name in (("Study.run", "max_cost"), ("Float", "low"), ("Pool", "usd_per_device_hour")):
        found = FORMS[call][name].read(name, value)
        assert (found, type(found)) == (plain, float)


@pytest.mark.parametrize("value", NO_INTEGERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("Study.run", "max_trials"), ("Study.run", "max_parallel"), ("Study.run", "finishers"),
        ("Study", "max_retries"),
        ("Study.run", "save_every"), ("ASHA", "first_rung"), ("TPE", "candidates"), ("Pool", "threads_per_device"),
        ("Trial.per_device_batch_size", "global_batch"), ("Trial.report", "resource"),
    ],
)  # fmt: skip
def test_what_is_not_an_integer_is_refused(call: str, name: str, value: Any) -> None:
    if value is None and FORMS[call][name].may_be_none:
        return
    with pytest.raises(ArgumentError, match="integer"):
        FORMS[call][name].read(name, value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    ("call", "name"),
    [("Float", "low"), ("TPE", "good"), ("Study.run", "max_cost"), ("Study.run", "max_time"),
     ("Pool", "usd_per_device_hour")],
)  # fmt: skip
def test_what_is_not_a_number_is_refused(call: str, name: str, value: Any) -> None:
    is_allowed = (value is None and FORMS[call][name].may_be_none) or (name == "max_time" and value in (None, "5"))
    if not is_allowed:
        with pytest.raises(ArgumentError):
            FORMS[call][name].read(name, value)


@pytest.mark.parametrize("value", NO_FLAGS, ids=repr)
@pytest.mark.parametrize(
    ("call", "name"), [("Study.run", "check"), ("Study.run", "progress"), ("ASHA", "strict"), ("Float", "log")]
)
def test_only_true_and_false_are_flags(call: str, name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match="True or False"):
        FORMS[call][name].read(name, value)


def test_a_flag_of_numpy_is_one() -> None:
    assert FORMS["Study.run"]["check"].read("check", np.False_) is False


@pytest.mark.parametrize(
    "value",
    [
        *("torch", b"torch", ["a b"], [""], [3], "x.y", {"torch": 1}, 5, None),
        *(np.array(None), np.array("a"), torch.tensor(1), itertools.count(), itertools.repeat("torch")),
    ],
    ids=repr,
)
def test_modules_are_a_list_of_names(value: Any) -> None:
    with pytest.raises(ArgumentError, match="preload"):
        FORMS["Study.run"]["preload"].read("preload", value)


@pytest.mark.parametrize(
    "value",
    [None, 3, b"studies", "", "a\0b", "x" * 5000, "/".join(["x" * 200] * 30), "\udcff", ["a"], True],
    ids=lambda v: repr(v)[:20],
)
def test_a_folder_is_a_path_that_a_file_system_holds(value: Any) -> None:
    for call in ("Study", "Study.load"):
        with pytest.raises(ArgumentError, match="dir"):
            FORMS[call]["dir"].read("dir", value)
    assert FORMS["Study"]["dir"].read("dir", Path("a/b")) == "a/b"


@pytest.mark.parametrize("given", ["~", "~/studies", Path("~/a/b"), "~/studies/../more"])
def test_a_tilde_is_the_home_folder(given: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    for call, name in (("Study", "dir"), ("Study.load", "dir"), ("Table", "name")):
        assert FORMS[call][name].read(name, given) == str(given).replace("~", str(tmp_path))
    assert database_url("sqlite:///~/studies.db", Path("x")).database == str(tmp_path / "studies.db")
    study = hwt.Study("s", {"x": hwt.Float(0, 1)}, hwt.Metric("loss", "min"), max_epochs=9, dir="~/in/home")
    assert study.dir == tmp_path / "in/home/s"


# what used to be taken without a word -> the argument that the message names
NONSENSE: dict[str, tuple[Callable[[], Any], str]] = {
    "unit": (lambda: hwt.Metric("loss", "min", unit=object()), "Metric.unit"),  # type: ignore[arg-type]
    "a blank unit": (lambda: hwt.Metric("loss", "min", unit=" "), "Metric.unit"),
    "a unit of tabs": (lambda: hwt.Metric("loss", "min", unit="\t"), "Metric.unit"),
    "unit as a number": (lambda: hwt.Metric("loss", "min", unit=3), "Metric.unit"),  # type: ignore[arg-type]
    "price True": (lambda: hwt.Pool("cpu", 1, True), "Pool.usd_per_device_hour"),
    "price beyond floats": (lambda: hwt.Pool("cpu", 1, 10**400), "Pool.usd_per_device_hour"),
    "threads True": (lambda: hwt.Pool("cpu", 1, threads_per_device=True), "Pool.threads_per_device"),
    "a billion devices": (lambda: hwt.Pool("cpu", devices=10**9), "Pool.devices"),
    "a hundred thousand devices": (lambda: hwt.Pool("cpu", devices=100_000), "Pool.devices"),
    "a huge count": (lambda: hwt.NumDevices(10**400), "NumDevices"),
    "another huge count": (lambda: hwt.NumDevices(1, 10**6), "NumDevices"),
    "an array without dimensions": (lambda: hwt.Choice(np.array(1.0)), "Choice.options"),
    "bytes": (lambda: hwt.Choice(bytearray(b"ab")), "Choice.options"),
    "an iterator without an end": (lambda: hwt.Choice(itertools.count()), "Choice.options"),
    "a range that is too long": (lambda: hwt.Choice(range(10**9)), "Choice.options"),
    "a list that holds itself": (lambda: hwt.Choice([_itself()]), "Choice.options"),
    "an option beyond 64 bits": (lambda: hwt.Choice([2**63]), "Choice.options"),
    "a range beyond floats": (lambda: hwt.Float(0, 10**400), "Float.high"),
    "a step that is a float": (lambda: hwt.Int(0, 10, step=2.5), "Int.step"),  # type: ignore[arg-type]
    "eta beyond all bounds": (lambda: hwt.ASHA(9, eta="1e5000"), "eta"),
    "more levels than memory": (lambda: hwt.MedianStopping(2**50), "every"),
    "brackets True": (lambda: hwt.ASHA(9, brackets=True), "brackets"),
    "horizon in text": (lambda: hwt.ASHA("9"), "max_epochs"),  # type: ignore[arg-type]
    "candidates without end": (lambda: hwt.TPE(candidates=10**9), "TPE.candidates"),
    "studies by name": (lambda: hwt.ParetoPrior.from_studies("digits"), "studies"),  # type: ignore[arg-type]
    "a prior of text": (lambda: hwt.ParetoPrior("tasks", []), "ParetoPrior.tasks"),  # type: ignore[arg-type]
    "a name of 5,000 letters": (lambda: hwt.SearchSpace({"x" * 5000: hwt.Float(0, 1)}), "SearchSpace"),
}  # fmt: skip


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_by_name(name: str) -> None:
    call, argument = NONSENSE[name]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.argument == argument


def test_sobol_says_how_many_parameters_it_has_numbers_for() -> None:
    space = hwt.SearchSpace({f"x{i}": hwt.Choice([0]) for i in range(21_202)})
    with pytest.raises(ArgumentError, match="21201"):
        hwt.Sobol().check(space)


def test_ends_of_a_range_may_be_written_as_floats() -> None:
    assert hwt.Int(1e1, 1e3) == hwt.Int(10, 1000)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="an integer"):
        hwt.Int(1e1, 1.5)  # type: ignore[arg-type]


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value", [10**5000, _Unprintable(), "x" * 10**6, [_itself()] * 3, "\x1b[31m\udcff"], ids=lambda v: type(v).__name__
)
def test_a_message_can_be_printed_whatever_was_given(value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        FORMS["Study.run"]["max_trials"].read("max_trials", value)
    text = str(caught.value)
    text.encode()
    assert len(text) < 1000
    assert "\x1b" not in text


def _words(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (word for word in schema.get("enum", ()) if isinstance(word, str))
    if isinstance(schema.get("const"), str):
        yield schema["const"]
    for part in schema.get("anyOf", ()):
        yield from _words(part)


NAMED = [
    (call, argument, word)
    for call, forms in FORMS.items()
    for argument, form in forms.items()
    for word in _words(form.schema)
]


@pytest.mark.parametrize(("call", "argument", "word"), NAMED)
def test_a_misspelt_option_gets_the_nearest_one(call: str, argument: str, word: str) -> None:
    for wrong in (f"{word}x", word.upper(), word[:-1]):
        with pytest.raises(ArgumentError) as refused:
            FORMS[call][argument].read(argument, wrong)
        assert "; did you mean '" in str(refused.value), wrong
    assert "did you mean" not in str(refused_with(FORMS[call][argument], "qqqqqq"))


def refused_with(form: Any, value: object) -> ArgumentError:
    with pytest.raises(ArgumentError) as refused:
        form.read("it", value)
    return refused.value


@pytest.mark.parametrize(
    ("argument", "wrong", "right"),
    [
        ("executor", "locl", "local"),
        ("executor", "Slrum", "slurm"),
        ("executor", {"name": "rey"}, "ray"),
        ("stop_when", "stalld:30", "stalled"),
        ("finishers", "aut", "auto"),
        ("hang_timeout", "atuo", "auto"),
    ],
)
def test_a_misspelt_option_of_a_run_gets_the_nearest_one(argument: str, wrong: object, right: str) -> None:
    error = refused_with(FORMS["Study.run"][argument], wrong)
    assert str(error).endswith(f"; did you mean {right!r}?")


def test_the_beginning_of_a_long_option_is_enough() -> None:
    with pytest.raises(ArgumentError, match=r"; did you mean 'hypervolume_contribution'\?"):
        hwt.ASHA(max_epochs=9, within="hypervolum")
    assert "did you mean" not in str(refused_with(FORMS["Study.plot"]["what"], "p"))
