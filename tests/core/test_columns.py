"""Tables as columns: every list of JSON values comes back as it was, and a table of numbers becomes smaller."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.columns import packed, unpacked

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


def there_and_back(values: list[object]) -> list[object]:
    return unpacked(json.loads(json.dumps(packed(values))))


def is_same(a: object, b: object) -> bool:
    """Return whether two values are equal, including the types of their numbers and the order of their keys."""
    return repr(a) == repr(b)


@given(st.lists(VALUES, max_size=30))
def test_every_list_comes_back(values: list[object]) -> None:
    assert is_same(there_and_back(values), values)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(), st.sampled_from("ab"), st.booleans()), min_size=8))
def test_every_table_comes_back(rows: list[tuple[object, ...]]) -> None:
    values: list[object] = [list(row) for row in rows]
    assert is_same(there_and_back(values), values)


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 9,
        [1, 1.0, True] * 3,
        [True] * 9,
        [2**70] * 3 + [1] * 9,
        [math.inf, -math.inf, math.nan] * 3,
        [None] * 9,
        [None, [1, {"a": 1.5}]] * 9,
        [{}] * 9,
        [[]] * 9,
        [{"a": 1}] * 9 + [{"b": 1}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}] * 5,
        [[1, "pause"], [1, "pause", 3, "stop"], []] * 4,
        ["a", "b", None] * 9,
    ],
    ids=str,
)
def test_values_of_one_kind_come_back(values: list[object]) -> None:
    assert is_same(there_and_back(values), values)


def test_a_table_of_numbers_becomes_smaller() -> None:
    rows: list[object] = [[i, {"error": i / 7, "train_s": i / 3}, i / 7, "paused"] for i in range(1000)]
    assert len(json.dumps(packed(rows))) < len(json.dumps(rows)) * 0.65


@pytest.mark.parametrize("damaged", [{"floats": "A"}, {"columns": [[1], [1, 2]]}, {"lengths": [1]}, {}, 3])
def test_other_data_is_an_error(damaged: object) -> None:
    with pytest.raises(Exception):  # noqa: B017 - of any kind
        unpacked(damaged)
