"""The docstring of each public class has an example, and each example gives what it shows."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import lightning_hwtune as hwt

NEEDS = {"OptunaSampler": "optuna"}
"""Class -> the optional library that its example uses."""
CLASSES = [name for name in hwt.__all__ if name[0].isupper() and not name.endswith("Error")]


def examples(cls: type) -> doctest.DocTest:
    return doctest.DocTestParser().get_doctest(cls.__doc__ or "", {"hwt": hwt}, cls.__name__, None, None)


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_an_example_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    found, report = examples(getattr(hwt, name)), []
    assert found.examples, f"write an `Examples:` section in the docstring of {name}"
    doctest.DocTestRunner().run(found, out=report.append)
    assert not report, "".join(report)


class Undocumented:
    """Has no example."""


class Wrong:
    """Has an example that is not true.

    Examples:
        >>> hwt.Int(1, 4)
        Int(1, 5)
    """


def test_a_missing_example_and_a_wrong_one_are_found() -> None:
    assert not examples(Undocumented).examples
    assert doctest.DocTestRunner().run(examples(Wrong), out=lambda text: None).failed == 1
