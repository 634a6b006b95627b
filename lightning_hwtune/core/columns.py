"""Rows of JSON values as columns: a table with many numbers is then several times smaller and faster to read.

A column is coded by what its values have in common: one value for all, numbers as the bytes of an array, dicts with
equal keys and lists of equal length as separate columns, other lists as their lengths and one column of all their
items, repeated texts as places in a list of the distinct ones. `unpacked(packed(values)) == values`, including the
types of the numbers.
"""

from __future__ import annotations

import base64
import itertools
from array import array
from collections.abc import Sequence
from typing import Any

__all__ = ["packed", "unpacked"]

_MANY = 8  # fewer values are kept as they are


def packed(values: Sequence[Any]) -> Any:
    """Returns JSON values from which `unpacked` makes this list again."""
    kinds = set(map(type, values))
    if len(values) < _MANY or not kinds <= {float, int, bool, str, list, dict, type(None)}:
        return list(values)
    if len(kinds) == 1 and kinds <= {int, bool, str, type(None)} and len(set(values)) == 1:
        return {"n": len(values), "each": values[0]}
    if type(None) in kinds:
        there = [int(value is not None) for value in values]
        return {"there": packed(there), "items": packed([value for value in values if value is not None])}
    if kinds == {float}:
        return {"floats": _text(array("d", values))}
    if kinds == {int} and (code := _int_code(min(values), max(values))):
        return {"ints": _text(array(code, values)), "code": code}
    if kinds == {str}:
        distinct = {value: place for place, value in enumerate(dict.fromkeys(values))}
        if len(distinct) <= len(values) // 4:
            return {"texts": list(distinct), "at": packed([distinct[value] for value in values])}
    if kinds == {dict} and len({tuple(value) for value in values}) == 1 and values[0]:
        return {"keys": list(values[0]), "columns": _columns([list(value.values()) for value in values])}
    if kinds == {list}:
        lengths = [len(value) for value in values]
        if len(set(lengths)) == 1 and lengths[0]:
            return {"columns": _columns(values)}
        return {"lengths": packed(lengths), "items": packed(list(itertools.chain.from_iterable(values)))}
    return list(values)


def unpacked(column: Any) -> list[Any]:
    """Returns the list that `packed` described.

    Raises:
        Exception: of any kind, if the data has another form.
    """
    if isinstance(column, list):
        return column
    if "each" in column:
        return [column["each"]] * column["n"]
    if "floats" in column:
        return _numbers("d", column["floats"])
    if "ints" in column:
        return _numbers(column["code"], column["ints"])
    if "texts" in column:
        return list(map(column["texts"].__getitem__, unpacked(column["at"])))
    if "columns" in column:
        rows = zip(*map(unpacked, column["columns"]), strict=True)
        keys = column.get("keys")
        return list(map(list, rows)) if keys is None else [dict(zip(keys, row)) for row in rows]  # noqa: B905
    items = unpacked(column["items"])
    if "there" in column:
        following = iter(items)
        return [next(following) if is_there else None for is_there in unpacked(column["there"])]
    ends = list(itertools.accumulate(unpacked(column["lengths"])))
    return [items[start:end] for start, end in zip([0, *ends], ends)]  # noqa: B905


def _columns(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [packed(column) for column in zip(*rows, strict=True)]


def _int_code(least: int, most: int) -> str:
    """Returns the code of the smallest type of an array for these numbers; "" if they fit into none."""
    sizes = ((code, 2 ** (8 * array(code).itemsize - 1)) for code in "bhiq")
    return next((code for code, size in sizes if -size <= least and most < size), "")


def _text(numbers: array[Any]) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def _numbers(kind: str, text: str) -> list[Any]:
    numbers = array(kind)
    numbers.frombytes(base64.b64decode(text))
    return numbers.tolist()
