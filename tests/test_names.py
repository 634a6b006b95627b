"""Wrong habits get an answer, unknown names a suggestion."""

from __future__ import annotations

import pytest

from lightning_hwtune.errors import ArgumentError, RenamedArgumentError
from lightning_hwtune.names import refuse_unknown, refuse_unknown_keys
from lightning_hwtune.names.keywords import FILE_KEYWORDS, KEYWORDS

KNOWN = ("max_trials", "max_time", "mode")


def test_nothing_unknown_passes():
    refuse_unknown("Study.run", (), KNOWN)
    refuse_unknown_keys("pool.", {"mode": 1}, KNOWN)  # a habit elsewhere, a name here


@pytest.mark.parametrize("name", sorted(KEYWORDS))
def test_habits_in_python(name: str):
    with pytest.raises(RenamedArgumentError) as error:
        refuse_unknown("Study.run", [name])
    assert (error.value.given, error.value.here) == (f"Study.run({name}=...)", KEYWORDS[name])


@pytest.mark.parametrize("name", sorted(FILE_KEYWORDS))
def test_habits_in_files(name: str):
    with pytest.raises(RenamedArgumentError) as error:
        refuse_unknown_keys("scheduler.", {name: 3}, ["max_time"])
    assert (error.value.given, error.value.here) == (f"scheduler.{name}", FILE_KEYWORDS[name])
    assert "Metric(" not in error.value.here
    assert "Pool(" not in error.value.here
    assert "ASHA(" not in error.value.here


def test_unknown_names_get_the_nearest():
    with pytest.raises(RenamedArgumentError, match=r"`Study.run\(max_trails=.*did you mean 'max_trials'\?$"):
        refuse_unknown("Study.run", ["max_trails"], KNOWN)
    with pytest.raises(ArgumentError, match=r"`a\.max_trails` is 3; allowed: the keys .*Did you mean 'max_trials'"):
        refuse_unknown_keys("a.", {"max_trails": 3}, KNOWN)
